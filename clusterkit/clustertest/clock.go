package clustertest

import (
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// Clock is the clock by which one node measures leases. It goes with Go's own
// clock until it is changed. Its methods may be called concurrently.
//
// Leases follow it, and nothing else: when a node wakes up, and all of Raft,
// goes by Go's clock. clusterkit promises a single primary as long as the clocks
// of all nodes go at the same rate, give or take one percent. A clock that is
// wrong by more, or is advanced on the node that leads, is a fault that this
// promise does not cover.
type Clock struct {
	mu sync.Mutex
	// shown is what the clock read at a moment, and rate how fast it goes since.
	shown time.Duration
	at    time.Time
	rate  float64
}

var _ clusterkit.Clock = (*Clock)(nil)

func newClock() *Clock { return &Clock{at: time.Now(), rate: 1} }

// Now returns what the clock reads.
func (c *Clock) Now() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now()
}

func (c *Clock) now() time.Duration {
	passed := time.Since(c.at)
	if c.rate != 1 {
		passed = time.Duration(float64(passed) * c.rate)
	}
	return c.shown + passed
}

// Advance sets the clock forward, as if the machine had been suspended for so
// long. A node that is set forward by its lease or more has no lease until it
// has renewed its session.
func (c *Clock) Advance(d time.Duration) {
	if d < 0 {
		panic("clustertest: a clock does not go back")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown += d
}

// SetRate lets the clock go at that rate from now on: 1.01 is one percent too
// fast, 0 stands still.
func (c *Clock) SetRate(rate float64) {
	if rate < 0 {
		panic("clustertest: a clock does not go back")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown, c.at, c.rate = c.now(), time.Now(), rate
}
