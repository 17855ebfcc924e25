// Package nemesis hurts a cluster in ways that a [Driver] has the means for, and
// heals it again: processes die or stand still, networks part, disks fill up,
// break, or lose what was not synced.
//
// What happens is a [Plan]: a list with times, or drawn from a seed, and drawn
// again exactly by the same seed. Each [Strike] of a fault leaves a [Window] that
// says when it lasted and what it hit. A fault that the driver has no means for
// leaves one too, which says that it was not run.
//
// The cluster is never asked for more than it promises. A fault begins only when
// all copies are in sync, and takes the data of fewer disks than have every
// acknowledged write.
package nemesis
