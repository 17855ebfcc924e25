package campaign

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/load"
	"github.com/skshohagmiah/clusterkit/loadtest/report"
)

// row is what one kind of fault has done, over all its strikes.
type row struct {
	fault                       string
	times                       int
	unavailable, recovery, down time.Duration
	notRun                      string
}

// rows returns one row for each fault and variant, in alphabetical order.
func (r *Result) rows() []row {
	var rows []row
	for _, w := range r.Windows {
		i := slices.IndexFunc(rows, func(row row) bool { return row.fault == w.Fault })
		if i < 0 {
			i = len(rows)
			rows = append(rows, row{fault: w.Fault})
		}
		row := &rows[i]
		if w.NotRun != "" {
			row.notRun = w.NotRun
			continue
		}
		row.times++
		row.unavailable = max(row.unavailable, w.Unavailable)
		row.recovery = max(row.recovery, w.Recovered.Sub(w.Healed))
		if w.Down {
			row.down = max(row.down, w.Healed.Sub(w.Began))
		}
	}
	slices.SortFunc(rows, func(a, b row) int { return strings.Compare(a.fault, b.fault) })
	return rows
}

// WriteMarkdown writes the table of a campaign.
func (r *Result) WriteMarkdown(w io.Writer, driver, command string) error {
	verdict := "passed"
	if !r.Passed() {
		verdict = "FAILED"
	}
	fmt.Fprintf(w, "# Faults\n\nWritten by `%s` on %s: %d faults in %v on %s, seed %d. Verdict: **%s**.\n\n",
		command, r.Began.UTC().Format("2006-01-02"), r.ran(), r.Elapsed.Round(time.Second), driver, r.Seed, verdict)
	fmt.Fprintf(w, "| fault | times | longest unavailability | in sync again after | |\n|---|---|---|---|---|\n")
	for _, row := range r.rows() {
		if row.times == 0 {
			fmt.Fprintf(w, "| %s | NOT RUN | | | %s |\n", row.fault, row.notRun)
			continue
		}
		var remark string
		if row.down > 0 {
			remark = fmt.Sprintf("no service for up to %v until it was healed; counted from there", load.Round(row.down))
		}
		fmt.Fprintf(w, "| %s | %d | %v | %v | %s |\n", row.fault, row.times, shown(row.unavailable), load.Round(row.recovery), remark)
	}
	fmt.Fprintf(w, "| none | | %v | | between faults |\n\n", shown(r.Calm))
	fmt.Fprintf(w, "Unavailability is the longest time in which no write to some sixteenth of the keys succeeded; %v are allowed.\n\n", r.Budget)
	fmt.Fprintf(w, "| check | | |\n|---|---|---|\n")
	for _, c := range r.Checks() {
		passed := "passed"
		if !c.Passed {
			passed = "**FAILED**"
		}
		fmt.Fprintf(w, "| %s | %s | %s |\n", c.Name, passed, strings.ReplaceAll(c.Detail, "|", "\\|"))
	}
	return nil
}

func (r *Result) ran() (n int) {
	for _, row := range r.rows() {
		n += row.times
	}
	return n
}

// shown says that there was no outage worth speaking of, if so.
func shown(d time.Duration) string {
	if d == 0 {
		return "less than 100ms"
	}
	return load.Round(d).String()
}

// WriteText writes the table for people at a terminal.
func (r *Result) WriteText(w io.Writer) error {
	fmt.Fprintf(w, "\n%-34s %5s  %-12s  %-12s\n", "fault", "times", "unavailable", "recovery")
	for _, row := range r.rows() {
		if row.times == 0 {
			fmt.Fprintf(w, "%-34s NOT RUN: %s\n", row.fault, row.notRun)
			continue
		}
		fmt.Fprintf(w, "%-34s %5d  %-12v  %-12v\n", row.fault, row.times, load.Round(row.unavailable), load.Round(row.recovery))
	}
	fmt.Fprintln(w)
	for _, c := range r.Checks() {
		passed := "passed"
		if !c.Passed {
			passed = "FAILED"
		}
		fmt.Fprintf(w, "%s  %s: %s\n", passed, c.Name, c.Detail)
	}
	if r.Verdict != nil {
		for i, f := range r.Verdict.Findings {
			if i == shownFindings {
				fmt.Fprintf(w, "        and %d more\n", len(r.Verdict.Findings)-i)
				break
			}
			fmt.Fprintf(w, "        %s\n", f)
		}
	}
	return nil
}

const shownFindings = 10

// WriteJSON writes everything for programs.
func (r *Result) WriteJSON(w io.Writer) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(struct {
		*Result
		Checks []report.Check `json:"checks"`
		Passed bool           `json:"passed"`
	}{r, r.Checks(), r.Passed()})
}
