package migration

import (
	"math/bits"
	"slices"
	"time"
)

// Requests are what clients have been answered in a window, by how long it
// took: four buckets for each doubling from a microsecond on.
type Requests [96]uint64

// Bucket returns the index of a duration.
func Bucket(d time.Duration) int {
	us := uint64(max(d, 0) / time.Microsecond)
	if us < 4 {
		return int(us)
	}
	octave := bits.Len64(us) - 3 // us>>octave is 4 to 7
	return min(4*(octave+1)+int(us>>octave)-4, len(Requests{})-1)
}

// bucketEnd returns a duration that is above all of a bucket.
func bucketEnd(i int) time.Duration {
	next := i + 1
	if next < 4 {
		return time.Duration(next) * time.Microsecond
	}
	return time.Duration(4+next%4) << (next/4 - 1) * time.Microsecond
}

// Since returns what was added to an earlier count.
func (r Requests) Since(before Requests) Requests {
	for i := range r {
		r[i] -= before[i]
	}
	return r
}

// minRequests are too few for a percentile.
const minRequests = 100

// P99 returns a time within which 99 of 100 requests were answered, at most a
// quarter too long, and false if there were too few to say.
func (r Requests) P99() (time.Duration, bool) {
	var all, sum uint64
	for _, n := range r {
		all += n
	}
	if all < minRequests {
		return 0, false
	}
	for i, n := range r {
		if sum += n; sum*100 >= all*99 {
			return bucketEnd(i), true
		}
	}
	return bucketEnd(len(r) - 1), true
}

// baselineWindows is how many windows a baseline remembers.
const baselineWindows = 61

// Baseline is the P99 of windows in which nothing was copied: their median, so
// that a few that were disturbed do not matter.
type Baseline struct {
	windows [baselineWindows]time.Duration
	n       int
}

// Observe returns the baseline after another window.
func (b Baseline) Observe(p99 time.Duration) Baseline {
	b.windows[b.n%baselineWindows] = p99
	b.n++
	return b
}

// P99 returns 0 while nothing is known.
func (b Baseline) P99() time.Duration {
	if b.n == 0 {
		return 0
	}
	known := slices.Clone(b.windows[:min(b.n, baselineWindows)])
	slices.Sort(known)
	return known[(len(known)-1)/2]
}

const (
	// A rate is cut to slower, and raised to faster, of what it was.
	slower = 0.6
	faster = 1.15
	// unbounded is what a rate without a bound is cut from: more than most disks
	// take, and not so much more that it takes long until a cut is felt.
	unbounded = 256 << 20
	// leastPart is which part of its bound a rate is never cut below, or of the
	// usual one if it has none.
	leastPart = 32
)

// Adapt returns the rate after a window, in bytes per second: lower if the
// requests took more than the multiple of the baseline, else higher, up to the
// bound, 0 for none. It never stops, so that whatever the reason is why
// requests are slow, a copy comes to an end. A window without enough
// requests, or without a baseline, raises it: there is nobody in the way.
func (s Settings) Adapt(rate float64, p99, baseline time.Duration) float64 {
	bound, least := float64(s.BytesPerSecond), float64(s.BytesPerSecond)/leastPart
	if bound == 0 {
		bound, least = unbounded, DefaultBytesPerSecond/leastPart
	}
	if rate <= 0 || rate > bound {
		rate = bound
	}
	if s.P99Multiple == 0 {
		return bound
	}
	if p99 > 0 && baseline > 0 && float64(p99) > s.P99Multiple*float64(baseline) {
		rate *= slower
	} else {
		rate *= faster
	}
	return min(max(rate, least, min(MinBytesPerSecond, bound)), bound)
}
