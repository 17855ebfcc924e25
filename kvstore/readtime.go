package kvstore

import (
	"sync/atomic"
	"time"
)

const (
	// quickRead is how long reads of the storage may take on average for one who
	// serves others too: what is in the system's memory takes 5 microseconds, a fast
	// disk 100, and to give the read to a goroutine costs as much as a few of the
	// former.
	quickRead = 50 * time.Microsecond
	// readsWeighed is over how many reads the average goes, and slowestRead what
	// one counts for at most, since it may have been the processor that was away.
	readsWeighed = 64
	slowestRead  = time.Millisecond
)

// readTime follows how long reads of the storage take.
type readTime struct{ average atomic.Int64 }

// took takes that a read has taken so long. Of several at the same time the
// average may lose one.
func (t *readTime) took(d time.Duration) {
	t.average.Add((int64(min(d, slowestRead)) - t.average.Load()) / readsWeighed)
}

// quick reports whether the next one will probably be quick.
func (t *readTime) quick() bool { return t.average.Load() < int64(quickRead) }
