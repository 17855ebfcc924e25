// Package report tells what a load has shown: as a table, as JSON, and as one
// HTML file that needs nothing else.
package report

import (
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/load"
)

// Report is all that is to be told of one run.
type Report struct {
	Title string `json:"title"`
	// Settings say under what conditions it was, in the order in which they are
	// shown.
	Settings []Setting `json:"settings"`
	// Load is what the load found out.
	Load *load.Result `json:"load"`
	// Faults are what was done to the store meanwhile.
	Faults []Fault `json:"faults"`
	// Checks are what the store was held against.
	Checks []Check `json:"checks"`
}

// Setting is one condition of the run.
type Setting struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Fault is something that was done to the store, and how long that lasted.
type Fault struct {
	Name string    `json:"name"`
	From time.Time `json:"from"`
	To   time.Time `json:"to"`
}

// Check is one thing that the store was held against.
type Check struct {
	Name string `json:"name"`
	// Passed is false also for a check that could not be decided.
	Passed bool `json:"passed"`
	// Detail says what was found.
	Detail string `json:"detail"`
}

// Passed reports whether all checks did, and there is at least one.
func (r *Report) Passed() bool {
	for _, c := range r.Checks {
		if !c.Passed {
			return false
		}
	}
	return len(r.Checks) > 0
}

// Limits are what a load may cost; 0 is no limit.
type Limits struct {
	// P99 bounds the latency that all but one operation of a hundred have.
	P99 time.Duration
	// Unavailable bounds how long no write to some part of the keys succeeds.
	Unavailable time.Duration
	// Failures bounds the share of operations that do not succeed. Unlike the
	// others, 0 is a limit, and a negative share is none.
	Failures float64
}

// ChecksOf returns the checks of a load: its verdict, that the load was what was
// asked for, and the limits.
func ChecksOf(r *load.Result, limits Limits) []Check {
	checks := []Check{{"every acknowledged write is there", r.Verdict() == load.Passed, r.Finding()}}
	if g := r.Generator; g.Asked > 0 {
		detail := fmt.Sprintf("%d operations were sent at up to %.0f/s", g.Sent, g.Asked)
		if g.Limit != "" {
			detail = g.Limit
		}
		checks = append(checks, Check{"the load was the one asked for", !g.Invalid, detail})
	}
	bounded := func(name string, got, most time.Duration) {
		if most > 0 {
			checks = append(checks, Check{fmt.Sprintf("%s at most %v", name, most), got <= most, load.Round(got).String()})
		}
	}
	bounded("99 % of latencies", r.All.Latencies.Quantile(0.99), limits.P99)
	bounded("unavailable", r.Unavailable(), limits.Unavailable)
	if limits.Failures >= 0 {
		failed := r.All.Failed + r.All.Unknown
		share := float64(failed) / max(1, float64(failed+r.All.OK))
		checks = append(checks, Check{fmt.Sprintf("failures at most %g %%", 100*limits.Failures), share <= limits.Failures, fmt.Sprintf("%.3g %%, %d operations", 100*share, failed)})
	}
	return checks
}

// WriteJSON writes the report for programs.
func (r *Report) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
