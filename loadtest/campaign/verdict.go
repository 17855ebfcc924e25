package campaign

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/check"
	"github.com/skshohagmiah/clusterkit/loadtest/load"
	"github.com/skshohagmiah/clusterkit/loadtest/report"
)

// settled is how long after its recovery an outage is still put down to a fault.
const settled = time.Second

// attribute puts every outage down to the faults during which it was. While a
// cluster is down in any case, nothing else can be expected: then the time counts
// from when it was healed.
func (r *Result) attribute() {
	r.Calm = 0
	for _, o := range r.Load.Outages {
		from, to := r.Load.Start.Add(o.From), r.Load.Start.Add(o.To)
		blamed := false
		for i := range r.Windows {
			w := &r.Windows[i]
			if w.NotRun != "" || !from.Before(w.Recovered.Add(settled)) || !to.After(w.Began) {
				continue
			}
			blamed = true
			begin := from
			if w.Down && begin.Before(w.Healed) {
				begin = w.Healed
			}
			w.Unavailable = max(w.Unavailable, to.Sub(begin))
		}
		if !blamed {
			r.Calm = max(r.Calm, o.Duration())
		}
	}
}

// Checks returns what the store was held against, and how that ended.
func (r *Result) Checks() []report.Check {
	var checks []report.Check
	add := func(name string, passed bool, format string, args ...any) {
		checks = append(checks, report.Check{Name: name, Passed: passed, Detail: fmt.Sprintf(format, args...)})
	}
	complete := r.Load != nil && r.Verdict != nil && r.ran() > 0
	add("the campaign was completed", complete && r.Failure == "" && !r.Interrupted, "%s", r.completion())
	if r.Load != nil {
		add("every acknowledged write is there", r.Load.Verdict() == load.Passed, "%s", r.Load.Finding())
	}
	if v := r.Verdict; v != nil {
		count := func(kinds ...check.Kind) (n int) {
			for _, k := range kinds {
				n += v.Counts[k]
			}
			return n
		}
		add("the recorded history is linearizable", v.Outcome() == check.Passed, "%s: %s", v.Outcome(), r.Figures())
		wrong := count(check.Diverged, check.Corrupt)
		add("all copies are equal", r.Partitions > 0 && wrong == 0, "%d partitions, %d differences", r.Partitions, wrong)
		add("no node ended but for its disk", count(check.Crashed) == 0, "%d did", count(check.Crashed))
		add("each epoch has one primary", r.Epochs > 0 && count(check.TwoPrimaries) == 0, "%d epochs, %d with two", r.Epochs, count(check.TwoPrimaries))
	}
	if r.Budget > 0 && r.Load != nil {
		worst, which := r.Calm, "between faults"
		for _, w := range r.Windows {
			if w.Unavailable > worst {
				worst, which = w.Unavailable, w.Fault
			}
		}
		if r.Load.Generator.Invalid {
			which += "; but " + r.Load.Generator.Limit + ", so this is not the store's alone"
		}
		add(fmt.Sprintf("unavailable for at most %v because of a fault", r.Budget), worst <= r.Budget, "%v, %s", load.Round(worst), which)
	}
	return checks
}

func (r *Result) completion() string {
	text := fmt.Sprintf("%d faults", r.ran())
	if skipped := r.skipped(); len(skipped) > 0 {
		text += "; NOT RUN: " + strings.Join(skipped, ", ")
	}
	if r.Interrupted {
		return text + "; interrupted"
	}
	if r.Failure != "" {
		return text + "; " + r.Failure
	}
	return text
}

// skipped returns the faults that were not run at all.
func (r *Result) skipped() []string {
	ran := map[string]bool{}
	for _, w := range r.Windows {
		if w.NotRun == "" {
			ran[strings.Join(w.Names, "+")] = true
		}
	}
	var names []string
	for _, w := range r.Windows {
		if name := strings.Join(w.Names, "+"); !ran[name] && !slices.Contains(names, name) {
			names = append(names, name)
		}
	}
	return names
}

// Figures says in a line what was recorded, and what was wrong in it.
func (r *Result) Figures() string {
	v := r.Verdict
	var wrong []string
	for _, k := range []check.Kind{check.Lost, check.Duplicated, check.Stale, check.Torn, check.Phantom, check.Undecided} {
		wrong = append(wrong, fmt.Sprintf("%d %s", v.Counts[k], k))
	}
	return fmt.Sprintf("%d operations: %d ok, %d failed for certain, %d unknown; %s", v.OK+v.Failed+v.Unknown, v.OK, v.Failed, v.Unknown, strings.Join(wrong, ", "))
}

// Passed reports whether all checks did.
func (r *Result) Passed() bool { return r.Report("").Passed() }

// Report returns all of it in the form in which loads are told of.
func (r *Result) Report(title string) *report.Report {
	rep := &report.Report{Title: title, Load: r.Load, Checks: r.Checks()}
	for _, w := range r.Windows {
		if w.NotRun == "" {
			rep.Faults = append(rep.Faults, report.Fault{Name: w.Fault, From: w.Began, To: w.Healed})
		}
	}
	return rep
}
