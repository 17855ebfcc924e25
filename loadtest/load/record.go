package load

import (
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// Counts are operations by their outcome.
type Counts struct {
	OK int64 `json:"ok"`
	// Failed were certainly not executed; reads without an answer are among them.
	Failed int64 `json:"failed"`
	// Unknown may have been executed, or may yet be.
	Unknown int64 `json:"unknown"`
}

func (c *Counts) add(other Counts) {
	c.OK += other.OK
	c.Failed += other.Failed
	c.Unknown += other.Unknown
}

// Statistics are the figures of some operations. Latencies are of those that
// succeeded.
type Statistics struct {
	Counts
	Latencies Latencies `json:"latencies"`
}

func (s *Statistics) merge(other *Statistics) {
	s.add(other.Counts)
	s.Latencies.merge(other.Latencies)
}

// Interval is what ended within about a second.
type Interval struct {
	// From and To are since the start of the load.
	From time.Duration `json:"from_ns"`
	To   time.Duration `json:"to_ns"`
	// Measured is false during the ramp and the warm-up.
	Measured bool `json:"measured"`
	Counts
	Operations map[Operation]Counts `json:"operations"`
	Latency    Summary              `json:"latency"`
}

// Rate returns how many operations succeeded in a second.
func (i Interval) Rate() float64 { return float64(i.OK) / max(1e-9, (i.To-i.From).Seconds()) }

// recorders is how many parts the figures of the running interval are kept in, so
// that clients seldom wait for each other.
const recorders = 8

// recorder collects the figures of all clients. It is safe for concurrent use.
type recorder struct {
	start time.Time
	parts [recorders]struct {
		sync.Mutex
		current map[Operation]*Statistics
	}

	mu        sync.Mutex
	last      time.Duration
	measured  map[Operation]*Statistics
	intervals []Interval
	failures  Failures
	found     Violations
}

// Failures are the last errors of each kind, nil if there were none.
type Failures struct {
	Failed, Unknown error
}

func newRecorder(start time.Time) *recorder {
	r := &recorder{start: start, measured: map[Operation]*Statistics{}}
	for i := range r.parts {
		r.parts[i].current = map[Operation]*Statistics{}
	}
	return r
}

func of(all map[Operation]*Statistics, o Operation) *Statistics {
	s, ok := all[o]
	if !ok {
		s = &Statistics{}
		all[o] = s
	}
	return s
}

// record counts an operation that has ended, for a client.
func (r *recorder) record(client int, o Operation, latency time.Duration, err error) target.Outcome {
	outcome := target.OutcomeOf(err)
	part := &r.parts[client%recorders]
	part.Lock()
	s := of(part.current, o)
	switch outcome {
	case target.OK:
		s.OK++
		s.Latencies.record(latency)
	case target.Failed:
		s.Failed++
	default:
		s.Unknown++
	}
	part.Unlock()
	if err != nil {
		r.fail(outcome, err)
	}
	return outcome
}

func (r *recorder) fail(outcome target.Outcome, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if outcome == target.Failed {
		r.failures.Failed = err
	} else {
		r.failures.Unknown = err
	}
}

// lastFailed is the last error by which nothing was executed.
func (r *recorder) lastFailed() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.failures.Failed
}

// convict notes a violation, if there is one.
func (r *recorder) convict(v *Violation) {
	if v == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.found.add(*v)
}

// cut ends the running interval and returns it.
func (r *recorder) cut(measured bool) Interval {
	now := time.Since(r.start)
	r.mu.Lock()
	defer r.mu.Unlock()
	i := Interval{From: r.last, To: now, Measured: measured, Operations: map[Operation]Counts{}}
	r.last = now
	var latencies Latencies
	for p := range r.parts {
		part := &r.parts[p]
		part.Lock()
		for o, s := range part.current {
			latencies.merge(s.Latencies)
			if measured {
				of(r.measured, o).merge(s)
			}
			counts := i.Operations[o]
			counts.add(s.Counts)
			i.Operations[o] = counts
			i.add(s.Counts)
			s.Counts = Counts{}
			s.Latencies.reset()
		}
		part.Unlock()
	}
	i.Latency = latencies.Summary()
	r.intervals = append(r.intervals, i)
	return i
}
