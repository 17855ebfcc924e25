package load

import (
	"math"
	"time"
)

// schedule says when the operations of an open loop are to be sent: at a rate
// that grows evenly during the ramp, and is the same ever after.
type schedule struct {
	rate float64
	ramp time.Duration
}

// at returns when the i-th operation, from 0, is to be sent, since the start.
func (s schedule) at(i uint64) time.Duration {
	n, ramp := float64(i), s.ramp.Seconds()
	if inRamp := s.rate * ramp / 2; n >= inRamp {
		return seconds(ramp + (n-inRamp)/s.rate)
	}
	return seconds(math.Sqrt(2 * n * ramp / s.rate))
}

// before returns how many operations are to be sent in the time d since the
// start.
func (s schedule) before(d time.Duration) uint64 {
	t, ramp := d.Seconds(), s.ramp.Seconds()
	if t <= 0 {
		return 0
	}
	if t < ramp {
		return uint64(math.Ceil(s.rate * t * t / (2 * ramp)))
	}
	return uint64(math.Ceil(s.rate * (t - ramp/2)))
}

func seconds(s float64) time.Duration {
	return time.Duration(min(s*float64(time.Second), float64(forever)))
}
