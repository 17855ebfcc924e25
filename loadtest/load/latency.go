package load

import (
	"encoding/json"
	"math"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Latencies are recorded in microseconds up to longestLatency, with three
// significant digits.
const (
	longestLatency = 10 * time.Minute
	significant    = 3
)

// Latencies are durations of operations. It is not safe for concurrent use. The
// zero value is empty.
type Latencies struct{ histogram *hdrhistogram.Histogram }

func (l *Latencies) record(d time.Duration) {
	if l.histogram == nil {
		l.histogram = hdrhistogram.New(1, longestLatency.Microseconds(), significant)
	}
	// It fails only for values out of range.
	_ = l.histogram.RecordValue(min(max(d, time.Microsecond), longestLatency).Microseconds())
}

func (l *Latencies) merge(other Latencies) {
	if other.Count() == 0 {
		return
	}
	if l.histogram == nil {
		l.histogram = hdrhistogram.New(1, longestLatency.Microseconds(), significant)
	}
	l.histogram.Merge(other.histogram)
}

func (l *Latencies) reset() {
	if l.histogram != nil {
		l.histogram.Reset()
	}
}

// Count returns the number of operations.
func (l Latencies) Count() int64 {
	if l.histogram == nil {
		return 0
	}
	return l.histogram.TotalCount()
}

// Quantile returns the duration that the share q of the operations, 0 to 1,
// did not exceed.
func (l Latencies) Quantile(q float64) time.Duration {
	if l.Count() == 0 {
		return 0
	}
	return time.Duration(l.histogram.ValueAtQuantile(q*100)) * time.Microsecond
}

// Mean returns the average duration.
func (l Latencies) Mean() time.Duration {
	if l.Count() == 0 {
		return 0
	}
	return time.Duration(l.histogram.Mean() * float64(time.Microsecond))
}

// Max returns the longest duration.
func (l Latencies) Max() time.Duration {
	if l.Count() == 0 {
		return 0
	}
	return time.Duration(l.histogram.Max()) * time.Microsecond
}

// Bar is how many operations took up to so long, and longer than the bar before.
type Bar struct {
	UpTo  time.Duration
	Count int64
}

// barsPerDecade is how many bars there are for each tenfold duration.
const barsPerDecade = 20

// Bars returns the histogram in bars of equal width on a logarithmic scale, from
// the first to the last that is not empty.
func (l Latencies) Bars() []Bar {
	if l.Count() == 0 {
		return nil
	}
	var bars []Bar
	next := func(us int64) int { return int(math.Ceil(barsPerDecade * math.Log10(float64(max(1, us))))) }
	first, n := -1, 0
	for _, b := range l.histogram.Distribution() {
		if b.Count == 0 {
			continue
		}
		at := next(b.To)
		if first < 0 {
			first = at
		}
		for ; n <= at-first; n++ {
			upTo := math.Pow(10, float64(first+n)/barsPerDecade)
			bars = append(bars, Bar{UpTo: time.Duration(upTo * float64(time.Microsecond))})
		}
		bars[at-first].Count += b.Count
	}
	return bars
}

// Summary is what is usually asked of latencies.
type Summary struct {
	Mean, P50, P90, P99, P999, Max time.Duration
}

// Summary returns the usual figures.
func (l Latencies) Summary() Summary {
	return Summary{l.Mean(), l.Quantile(0.5), l.Quantile(0.9), l.Quantile(0.99), l.Quantile(0.999), l.Max()}
}

// MarshalJSON writes the figures in milliseconds.
func (s Summary) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		Mean float64 `json:"mean_ms"`
		P50  float64 `json:"p50_ms"`
		P90  float64 `json:"p90_ms"`
		P99  float64 `json:"p99_ms"`
		P999 float64 `json:"p99_9_ms"`
		Max  float64 `json:"max_ms"`
	}{milliseconds(s.Mean), milliseconds(s.P50), milliseconds(s.P90), milliseconds(s.P99), milliseconds(s.P999), milliseconds(s.Max)})
}

// MarshalJSON writes the bars of the histogram and its usual figures.
func (l Latencies) MarshalJSON() ([]byte, error) {
	type bar struct {
		UpTo  float64 `json:"up_to_ms"`
		Count int64   `json:"count"`
	}
	bars := []bar{}
	for _, b := range l.Bars() {
		bars = append(bars, bar{milliseconds(b.UpTo), b.Count})
	}
	return json.Marshal(struct {
		Count   int64   `json:"count"`
		Summary Summary `json:"summary"`
		Bars    []bar   `json:"histogram"`
	}{l.Count(), l.Summary(), bars})
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// Round returns d with about three digits.
func Round(d time.Duration) time.Duration {
	for unit := time.Second; unit >= time.Microsecond; unit /= 10 {
		if d >= unit {
			return d.Round(unit / 100)
		}
	}
	return d
}

// above returns the share of the durations that are longer than d.
func (l Latencies) above(d time.Duration) float64 {
	if l.Count() == 0 {
		return 0
	}
	n := int64(0)
	for _, b := range l.histogram.Distribution() {
		if b.From > d.Microseconds() {
			n += b.Count
		}
	}
	return float64(n) / float64(l.Count())
}
