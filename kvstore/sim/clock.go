package sim

import "time"

// skew is by how much clocks run fast or slow: rho of the design.
const skew = 0.01

// began is the time of day at which a run begins, in milliseconds.
const began = 1_000_000

// clockRate draws how fast a clock runs.
func (w *world) clockRate() float64 { return 1 + skew*(2*w.rng.Float64()-1) }

// expiryClock is the clock, in milliseconds, that values expire by: it starts
// with the node's time of day, goes on evenly, and is never behind a reading
// that was committed.
type expiryClock struct {
	ms uint64
	at time.Duration // on the node's clock
}

// clock is the node's clock that goes on evenly.
func (n *node) clock() time.Duration { return time.Duration(float64(n.w.now) * n.rate) }

// timeOfDay is the node's time of day when its process starts.
func (n *node) timeOfDay() expiryClock {
	return expiryClock{uint64(began + (n.w.now + n.ahead).Milliseconds()), n.clock()}
}

func (n *node) expiryNow() uint64 {
	return n.expiry.ms + uint64((n.clock() - n.expiry.at).Milliseconds())
}

func (n *node) observe(ms uint64) {
	if ms > n.expiryNow() {
		n.expiry = expiryClock{ms, n.clock()}
	}
}

// expiry returns when a value may have expired, and when it must have, by the
// most extreme clocks: it was written between call and end with that much time
// to live.
func (w *world) expiryWindow(call, end, ttl time.Duration) (may, must time.Duration) {
	const rounded = 3 * time.Millisecond
	apart := 2*w.plan.apart + rounded
	drift := func(at time.Duration) time.Duration { return time.Duration(2 * skew * float64(at+ttl)) }
	return call + ttl - apart - drift(call+ttl), end + ttl + apart + drift(end+ttl)
}
