package kvstore

import (
	"sync/atomic"
	"time"
)

// expiryClock is the clock, in milliseconds, that values expire by. It starts
// with the time of day and goes on evenly from there, whatever happens to the
// time of day; and it is never behind a reading that it has seen in the log.
// What it says of a value counts only when the value's deletion is committed,
// so clocks that differ make values expire early or late, but never come back.
type expiryClock struct{ last atomic.Pointer[clockReading] }

type clockReading struct {
	ms uint64
	at time.Time
}

func newExpiryClock() *expiryClock {
	c := &expiryClock{}
	now := time.Now()
	c.last.Store(&clockReading{uint64(now.UnixMilli()), now})
	return c
}

func (r *clockReading) reads(now time.Time) uint64 {
	return r.ms + uint64(now.Sub(r.at).Milliseconds())
}

func (c *expiryClock) now() uint64 { return c.last.Load().reads(time.Now()) }

// observe takes a reading of another node's clock.
func (c *expiryClock) observe(ms uint64) {
	for {
		last, now := c.last.Load(), time.Now()
		if ms <= last.reads(now) || c.last.CompareAndSwap(last, &clockReading{ms, now}) {
			return
		}
	}
}
