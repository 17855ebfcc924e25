package load

import (
	"fmt"
	"time"
)

// Result is what a run found out.
type Result struct {
	// Load describes the load, Workload is the name of its mix.
	Load     string `json:"load"`
	Workload string `json:"workload"`
	// Notes are what else is to be known about it.
	Notes []string  `json:"notes"`
	Start time.Time `json:"start"`
	Fill  Fill      `json:"fill"`
	// Elapsed is the time under load, Measured that part of it in the figures.
	Elapsed  time.Duration `json:"elapsed_ns"`
	Measured time.Duration `json:"measured_ns"`
	// Operations are the figures by operation, All of all of them, and Writes of
	// those that write.
	Operations map[Operation]*Statistics `json:"operations"`
	All        Statistics                `json:"all"`
	Writes     Counts                    `json:"writes"`
	Intervals  []Interval                `json:"intervals"`
	Generator  Generator                 `json:"generator"`
	// Outages are the longest ones first.
	Outages []Outage `json:"outages"`
	// ClientGap is the longest time in which no write of some one client
	// succeeded. It is of closed loops only.
	ClientGap time.Duration `json:"client_gap_ns"`
	// Failures are the last errors.
	Failures Failures `json:"-"`
	// Verified is the number of keys read back, Unreadable of those that could
	// not be read.
	Verified   int `json:"verified"`
	Unreadable int `json:"unreadable"`
	// Violations are the answers that contradict what was acknowledged.
	Violations Violations `json:"violations"`
	// Interrupted is true if the caller ended the run before its verdict.
	Interrupted bool `json:"interrupted"`
}

// collect takes over the figures of a load that has ended.
func (r *Result) collect(l *load, o offer, processor time.Duration) {
	r.Start, r.Elapsed = l.start, time.Since(l.start)
	r.Operations, r.Intervals = l.recorder.measured, l.recorder.intervals
	for _, i := range r.Intervals {
		if i.Measured {
			r.Measured += i.To - i.From
		}
	}
	for operation, s := range r.Operations {
		r.All.merge(s)
		if operation.writes() {
			r.Writes.add(s.Counts)
		}
	}
	r.Outages = l.availability.outages()
	r.ClientGap = o.gap
	r.Generator = l.generator(o, r.Elapsed, processor)
}

// Rate returns how many of so many operations there were in a second.
func (r *Result) Rate(operations int64) float64 {
	return float64(operations) / max(1e-9, r.Measured.Seconds())
}

// Unavailable returns the longest time in which no write to some part of the
// keys succeeded.
func (r *Result) Unavailable() time.Duration {
	if len(r.Outages) == 0 {
		return 0
	}
	return r.Outages[0].Duration()
}

// Verdict is what the store is found to be.
type Verdict int

const (
	// Passed means that every acknowledged write was there.
	Passed Verdict = iota
	// Violated means that at least one read contradicts what was acknowledged.
	Violated
	// Undecided means that a key could not be read back, or that nothing
	// succeeded.
	Undecided
	// Interrupted means that the caller ended the run before its verdict.
	Interrupted
)

// Verdict returns what the store is found to be.
func (r *Result) Verdict() Verdict {
	switch {
	case r.Violations.Total() > 0:
		return Violated
	case r.Interrupted:
		return Interrupted
	case r.Verified == 0 || r.Unreadable > 0 || r.All.OK == 0:
		return Undecided
	default:
		return Passed
	}
}

// Finding says what the reading back found.
func (r *Result) Finding() string {
	switch r.Verdict() {
	case Violated:
		return fmt.Sprintf("FAILED: %d answers contradict what was acknowledged (%v); %d keys were read back", r.Violations.Total(), r.Violations, r.Verified)
	case Interrupted:
		return "interrupted, nothing is proved"
	case Undecided:
		return fmt.Sprintf("UNDECIDED: %d keys were read back, %d could not be; %d operations succeeded", r.Verified, r.Unreadable, r.All.OK)
	default:
		return fmt.Sprintf("%d keys, every acknowledged write is there", r.Verified)
	}
}
