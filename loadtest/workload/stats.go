package workload

import (
	"sync"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are recorded in microseconds up to longestLatency, with three
// significant digits.
const (
	longestLatency = 10 * time.Minute
	significant    = 3
)

// Latencies counts operations by their duration, retries included. It is not
// safe for concurrent use.
type Latencies struct{ histogram *hdrhistogram.Histogram }

func newLatencies() Latencies {
	return Latencies{hdrhistogram.New(1, longestLatency.Microseconds(), significant)}
}

func (l Latencies) record(d time.Duration) {
	// It fails only for values out of range.
	_ = l.histogram.RecordValue(min(max(d, time.Microsecond), longestLatency).Microseconds())
}

func (l Latencies) merge(other Latencies) { l.histogram.Merge(other.histogram) }

// Count returns the number of operations.
func (l Latencies) Count() int64 { return l.histogram.TotalCount() }

// Quantile returns the duration that the share q of the operations, 0 to 1,
// did not exceed.
func (l Latencies) Quantile(q float64) time.Duration {
	return time.Duration(l.histogram.ValueAtQuantile(q*100)) * time.Microsecond
}

// Max returns the longest duration.
func (l Latencies) Max() time.Duration {
	return time.Duration(l.histogram.Max()) * time.Microsecond
}

// gap finds the longest time between two successes. It is safe for concurrent
// use.
type gap struct {
	mu      sync.Mutex
	last    time.Time
	longest time.Duration
}

func newGap(start time.Time) *gap { return &gap{last: start} }

// tick marks a success, or the end.
func (g *gap) tick() {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := time.Now()
	g.longest = max(g.longest, now.Sub(g.last))
	g.last = now
}

// value returns the longest time up to the last tick.
func (g *gap) value() time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.longest
}
