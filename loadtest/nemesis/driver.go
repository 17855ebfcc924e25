package nemesis

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// Driver has a cluster in its hands. For each of the means that it has, it also
// implements the interface that is named beside it.
type Driver interface {
	// Nodes returns the IDs of the nodes that belong to the cluster.
	Nodes() []string
	// Status returns the cluster as a living node sees it.
	Status(ctx context.Context) (*client.Status, error)
	// AwaitInSync waits until all nodes run and every partition has all its
	// copies in sync.
	AwaitInSync(ctx context.Context) error
	// Diagnose says of each node how it is and what it waits for, for people who
	// want to know why a cluster does not recover.
	Diagnose(ctx context.Context) string
	// Lacks says why something cannot be done here, "" if it can.
	Lacks(Means) string
}

// Means are what a fault needs of a driver.
type Means string

// The means.
const (
	// Killing is of a [Killer].
	Killing Means = "killing"
	// Pausing is of a [Pauser].
	Pausing Means = "pausing"
	// Cutting and Shaping are of a [Network].
	Cutting Means = "cutting"
	Shaping Means = "shaping"
	// Isolating is of an [Isolator].
	Isolating Means = "isolating"
	// Joining is of [Members].
	Joining Means = "joining"
	// PowerCuts is of a [Power].
	PowerCuts Means = "power cuts"
	// Filling is of a [Space].
	Filling Means = "filling"
	// Breaking is of a [Breaker].
	Breaking Means = "breaking"
	// Erasing is of [Data].
	Erasing Means = "erasing"
	// Damaging is of [Data].
	Damaging Means = "damaging"
	// SettingClocks is of [Clocks].
	SettingClocks Means = "setting clocks"
)

// Killer ends and starts nodes.
type Killer interface {
	// Kill ends the nodes at the same time and without notice, and returns when
	// they have gone.
	Kill(ctx context.Context, nodes ...string) error
	// Stop asks a node to stop, and returns when it has.
	Stop(ctx context.Context, node string) error
	// Start starts nodes again, on the data that they have, and returns when
	// they live.
	Start(ctx context.Context, nodes ...string) error
	// Running reports whether a node's process runs.
	Running(node string) bool
}

// Pauser has nodes stand still and go on.
type Pauser interface {
	Pause(nodes ...string) error
	Resume(nodes ...string) error
}

// Link is one direction between two nodes.
type Link struct{ From, To string }

// Shape is how badly packets travel on a link.
type Shape struct {
	// Delay is what each packet takes longer.
	Delay time.Duration
	// Loss and Reorder are shares, from 0 to 1. A packet that is reordered
	// overtakes those that are delayed.
	Loss, Reorder float64
}

// Network is what is between the nodes. Clients reach them in any case.
type Network interface {
	// Cut drops every packet on the links.
	Cut(links ...Link) error
	// Shape worsens the links.
	Shape(s Shape, links ...Link) error
	// Mend undoes Cut and Shape, and returns how many packets they met.
	Mend() (met int64, err error)
}

// Isolator takes nodes from their network.
type Isolator interface {
	// Isolate lets nobody reach a node, clients included.
	Isolate(ctx context.Context, node string) error
	// Unite undoes it.
	Unite(ctx context.Context, node string) error
}

// Members adds and removes nodes.
type Members interface {
	// Join starts a node that has never been part of the cluster, or is so no
	// more, and returns its ID.
	Join(ctx context.Context) (node string, err error)
	// Drain has a node's copies moved to others, and returns when it is empty.
	Drain(ctx context.Context, node string) error
	// Undrain lets a node have copies again.
	Undrain(ctx context.Context, node string) error
	// Leave drains a node, removes it from the cluster and ends it.
	Leave(ctx context.Context, node string) error
}

// Power belongs to nodes whose disks forget what was not synced.
type Power interface {
	// CutPower ends the nodes at the same time. Whatever they have written and
	// not synced may be lost; Start finds the rest.
	CutPower(ctx context.Context, nodes ...string) error
}

// Space belongs to nodes whose disks are small.
type Space interface {
	// Fill takes the free space of a node's disk but for so many bytes.
	Fill(node string, but int64) error
	// Free gives it back.
	Free(node string) error
}

// Breaker breaks disks.
type Breaker interface {
	// Break has every write to a node's disk, and every sync, fail from now on,
	// and returns when the node has ended.
	Break(ctx context.Context, node string) error
	// Repair gives the disk back, with what had been synced.
	Repair(ctx context.Context, node string) error
}

// Data is what nodes keep. They must not be running.
type Data interface {
	// Wipe removes all of it.
	Wipe(node string) error
	// Damage flips bits in a place that was written, and says where, or returns
	// [ErrNoPlace].
	Damage(node string, part Part, random *rand.Rand) (where string, err error)
}

// Part is one of the things that a node keeps.
type Part string

// The parts.
const (
	// Log is the log of entries.
	Log Part = "log"
	// Table is where the data are when they have left the log.
	Table Part = "table"
)

// Clocks sets the time of day of nodes.
type Clocks interface {
	// Jump has a node's clock go on from so much later, or earlier.
	Jump(node string, by time.Duration) error
}
