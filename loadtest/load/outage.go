package load

import (
	"slices"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

const (
	// shards is into how many groups keys are divided by their slots. A partition
	// of a cluster with that many, or fewer, is made up of whole groups.
	shards = 16
	// slots is the number of slots.
	slots = clusterkit.MaxPartitions
	// notable is how long an outage lasts at least that is kept.
	notable = 100 * time.Millisecond
	// maxOutages is how many are kept at most, the longest.
	maxOutages = 1000
)

// Outage is a time in which no write succeeded to any key of a sixteenth of the
// slots, though at least one was tried: what a partition of the cluster is, by
// default.
type Outage struct {
	// Shard is which sixteenth, from 0.
	Shard int `json:"shard"`
	// From and To are since the start of the load.
	From time.Duration `json:"from_ns"`
	To   time.Duration `json:"to_ns"`
}

// Duration returns how long it lasted.
func (o Outage) Duration() time.Duration { return o.To - o.From }

// shardOf returns the sixteenth of the slots that a key is in.
func shardOf(key string) int { return clusterkit.Slot(key) * shards / slots }

// availability watches how long writes do not succeed. It is safe for concurrent
// use.
type availability struct {
	start  time.Time
	shards [shards]struct {
		sync.Mutex
		// good is when a write last succeeded, or when the first one began after
		// a time without any.
		good time.Duration
		// waiting is how many writes are under way, and failing is true if one has
		// failed since the last success.
		waiting int
		failing bool
		outages []Outage
	}
}

func newAvailability(start time.Time) *availability { return &availability{start: start} }

// begin notes that a write begins.
func (a *availability) begin(shard int) {
	now := time.Since(a.start)
	s := &a.shards[shard]
	s.Lock()
	defer s.Unlock()
	if s.waiting == 0 && !s.failing {
		s.good = now
	}
	s.waiting++
}

// end notes that a write has ended.
func (a *availability) end(shard int, ok bool) {
	now := time.Since(a.start)
	s := &a.shards[shard]
	s.Lock()
	defer s.Unlock()
	s.waiting--
	s.failing = !ok
	if !ok {
		return
	}
	if now-s.good >= notable && len(s.outages) < maxOutages {
		s.outages = append(s.outages, Outage{shard, s.good, now})
	}
	s.good = now
}

// outages returns those that ended, and those that last until now, the longest
// first.
func (a *availability) outages() []Outage {
	now := time.Since(a.start)
	var all []Outage
	for i := range a.shards {
		s := &a.shards[i]
		s.Lock()
		all = append(all, s.outages...)
		if (s.failing || s.waiting > 0) && now-s.good >= notable {
			all = append(all, Outage{i, s.good, now})
		}
		s.Unlock()
	}
	slices.SortFunc(all, func(a, b Outage) int { return int(b.Duration() - a.Duration()) })
	return all[:min(len(all), maxOutages)]
}
