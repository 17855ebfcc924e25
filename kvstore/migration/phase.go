package migration

import (
	"fmt"
	"time"
)

// Phase is how far a copy is.
type Phase string

// The phases. A copy that the log suffices for begins with CatchingUp; one
// that falls behind again returns to Waiting.
const (
	// Waiting: a snapshot is needed, and it is not being copied.
	Waiting Phase = "waiting"
	// Copying: a snapshot is being copied.
	Copying Phase = "copying snapshot"
	// CatchingUp: the copy follows the log of the primary.
	CatchingUp Phase = "catching up by log"
	// Comparing: it has nearly everything, and is compared with the primary.
	Comparing Phase = "comparing digests"
	// InSync: it counts.
	InSync Phase = "in sync"
)

// Phases are all of them, in order.
var Phases = []Phase{Waiting, Copying, CatchingUp, Comparing, InSync}

// Facts are what is known of a copy.
type Facts struct {
	// InSync: the map shows it in sync.
	InSync bool
	// Needed: the primary has asked to fetch a snapshot, and there is none yet.
	Needed bool
	// Slot: the copy is among those that this node makes at a time. Ahead are
	// those before it, Limit is how many are made.
	Slot         bool
	Ahead, Limit int
	// Paused: moves are, and the partition has enough copies without this one.
	Paused bool
	// Source is the node that has the data, Busy says that it gives to as many
	// as it may.
	Source string
	Busy   bool
	// Stalled says why nothing arrives, and Unwritten why what has arrived
	// cannot be written, "" if all is well.
	Stalled, Unwritten string
	// Silent is for how long the source has owed an answer and sent nothing.
	Silent time.Duration
	// Primary is the node that leads the partition, "" if there is none.
	Primary string
	// Comparing: the copy is being compared.
	Comparing bool
}

// silentAfter is for how long a source may send nothing before it is said that
// the copy waits for it.
const silentAfter = 3 * time.Second

// Phase returns the phase, and why the copy waits, "" if it does not.
func (f Facts) Phase() (phase Phase, waiting string) {
	switch {
	case f.InSync:
		return InSync, ""
	case !f.Needed && f.Primary == "":
		return CatchingUp, "the partition has no primary"
	case !f.Needed && f.Comparing:
		return Comparing, f.Unwritten
	case !f.Needed:
		return CatchingUp, f.Unwritten
	case f.Paused:
		return Waiting, "moves are paused"
	case f.Busy:
		return Waiting, fmt.Sprintf("the source %s gives to as many copies as it may at a time", f.Source)
	case f.Unwritten != "":
		return Copying, f.Unwritten
	case f.Stalled != "" && f.Slot:
		return Copying, f.Stalled
	case f.Stalled != "":
		return Waiting, f.Stalled
	case !f.Slot:
		return Waiting, fmt.Sprintf("this node makes %d copies at a time, %d are before this one", f.Limit, f.Ahead)
	case f.Silent >= silentAfter:
		return Copying, fmt.Sprintf("the source %s has sent nothing for %v", f.Source, f.Silent.Truncate(time.Second))
	default:
		return Copying, ""
	}
}

// Request is a copy that wants one of the slots.
type Request struct {
	// Paused copies take none. Urgent ones, without which a partition has too
	// few to take writes, come first, and need not wait for the others.
	Paused, Urgent bool
}

// Admit returns the indexes of the requests, in the order in which they came,
// that are given a slot while there are so many and so many of them are taken.
func Admit(requests []Request, limit, taken int) []int {
	var admitted []int
	for i, r := range requests {
		if r.Urgent {
			admitted = append(admitted, i)
		}
	}
	for i, r := range requests {
		if !r.Urgent && !r.Paused && taken+len(admitted) < limit {
			admitted = append(admitted, i)
		}
	}
	return admitted
}
