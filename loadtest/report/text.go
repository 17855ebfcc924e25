package report

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/skshohagmiah/clusterkit/loadtest/load"
)

// shownViolations is how many contradictions are listed.
const shownViolations = 10

// WriteText writes the report for people at a terminal.
func (r *Report) WriteText(w io.Writer) error {
	if err := r.writeTable(w); err != nil {
		return err
	}
	l := r.Load
	line := func(subject, format string, args ...any) {
		fmt.Fprintf(w, "%-11s %s\n", subject, fmt.Sprintf(format, args...))
	}
	for _, note := range l.Notes {
		line("note", "%s", note)
	}
	if l.Generator.Limit != "" {
		line("limit", "%s", l.Generator.Limit)
	}
	if l.Generator.Unsent > 0 {
		line("not sent", "%d operations that were due", l.Generator.Unsent)
	}
	if n := len(l.Outages); n > 0 {
		line("outages", "no write to some part of the keys succeeded for %v at most", load.Round(l.Unavailable()))
	}
	if l.Failures.Failed != nil {
		line("failed", "last: %v", l.Failures.Failed)
	}
	if l.Failures.Unknown != nil {
		line("unknown", "last: %v", l.Failures.Unknown)
	}
	for _, f := range r.Faults {
		line("fault", "%s, %v after the start, for %v", f.Name, load.Round(f.From.Sub(l.Start)), load.Round(f.To.Sub(f.From)))
	}
	line("read back", "%s", l.Finding())
	for i, v := range l.Violations.First {
		if i == shownViolations {
			line("", "and %d more", l.Violations.Total()-i)
			break
		}
		line("", "%s", v)
	}
	for _, c := range r.Checks[min(1, len(r.Checks)):] {
		result := "passed"
		if !c.Passed {
			result = "FAILED"
		}
		line("check", "%s: %s, %s", c.Name, result, c.Detail)
	}
	return nil
}

// writeTable writes the figures of each operation.
func (r *Report) writeTable(w io.Writer) error {
	l := r.Load
	fmt.Fprintf(w, "%-11s %v", "measured", load.Round(l.Measured))
	if l.Fill.Elapsed > 0 {
		fmt.Fprintf(w, ", after %d keys were written in %v", l.Fill.Keys, load.Round(l.Fill.Elapsed))
	}
	fmt.Fprintln(w)
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "\tops/s\tok\tfailed\tunknown\tmean\tp50\tp90\tp99\tp99.9\tmax\t")
	row := func(name string, s *load.Statistics) {
		f := s.Latencies.Summary()
		fmt.Fprintf(t, "%s\t%.0f\t%d\t%d\t%d\t%v\t%v\t%v\t%v\t%v\t%v\t\n", name, l.Rate(s.OK), s.OK, s.Failed, s.Unknown,
			load.Round(f.Mean), load.Round(f.P50), load.Round(f.P90), load.Round(f.P99), load.Round(f.P999), load.Round(f.Max))
	}
	for _, o := range load.Operations {
		if s := l.Operations[o]; s != nil {
			row(string(o), s)
		}
	}
	if len(l.Operations) > 1 {
		row("all", &l.All)
	}
	return t.Flush()
}
