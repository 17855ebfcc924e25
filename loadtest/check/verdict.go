// Package check decides what a history proves: whether it is linearizable, what
// was lost, duplicated, stale, torn or made up, and for how long nothing was
// served.
package check

import (
	"fmt"
	"io"
	"slices"
	"time"
)

// Kind is the way in which something contradicts what was promised.
type Kind string

// The kinds. All but the last two are violations.
const (
	// Lost is an acknowledged write that is missing for good.
	Lost Kind = "lost"
	// Duplicated is a write that was executed more than once.
	Duplicated Kind = "duplicated"
	// Stale is a read that shows less than was acknowledged before it began.
	Stale Kind = "stale"
	// Torn is a part of a batch.
	Torn Kind = "torn"
	// Corrupt is a value that nobody wrote.
	Corrupt Kind = "corrupt"
	// Phantom is a write that was reported as certainly not executed, and shows.
	Phantom Kind = "phantom"
	// NotLinearizable is a history that no order of its operations explains.
	NotLinearizable Kind = "not linearizable"
	// TwoPrimaries is an epoch of a partition that was served twice.
	TwoPrimaries Kind = "two primaries"
	// Crashed is a node that has ended by itself.
	Crashed Kind = "crashed"
	// Diverged is a copy that differs from another one.
	Diverged Kind = "diverged"

	// Undecided is a history that could not be checked within its time.
	Undecided Kind = "undecided"
	// Unread is something that was written and could not be read back.
	Unread Kind = "unread"
)

// Finding is one contradiction, or one gap in what is known.
type Finding struct {
	Kind Kind `json:"kind"`
	// Unit is the key, the tag or the partition.
	Unit   string `json:"unit"`
	Detail string `json:"detail"`
	// File is where the history of the unit was saved, without the extension.
	File string `json:"file,omitempty"`
}

func (f Finding) String() string {
	s := fmt.Sprintf("%s: %q: %s", f.Kind, f.Unit, f.Detail)
	if f.File != "" {
		s += fmt.Sprintf(" (%s.jsonl, .html)", f.File)
	}
	return s
}

// Outcome is a verdict in a word.
type Outcome string

// The outcomes. Only Passed is a success.
const (
	Passed   Outcome = "passed"
	Violated Outcome = "violated"
	// Unproved is a check that was not completed.
	Unproved Outcome = "undecided"
	// NotRun is one that had nothing to check.
	NotRun Outcome = "not run"
)

// Verdict is what all checks have found. The zero value is that of nothing.
type Verdict struct {
	// OK, Failed and Unknown are how many operations ended so, Units how many
	// independent histories they make up.
	OK      int `json:"ok"`
	Failed  int `json:"failed"`
	Unknown int `json:"unknown"`
	Units   int `json:"units"`
	// Counts has how often each kind was found.
	Counts   map[Kind]int  `json:"counts"`
	Findings []Finding     `json:"findings,omitempty"`
	Took     time.Duration `json:"took"`
}

// Add takes findings in.
func (v *Verdict) Add(found ...Finding) {
	if v.Counts == nil {
		v.Counts = map[Kind]int{}
	}
	for _, f := range found {
		v.Counts[f.Kind]++
	}
	v.Findings = append(v.Findings, found...)
}

// AddUnread takes in that so much could not be read back.
func (v *Verdict) AddUnread(units int) {
	if units > 0 {
		v.Add(Finding{Kind: Unread, Unit: fmt.Sprint(units), Detail: "so many keys could not be read back"})
	}
}

// Outcome returns the verdict in a word.
func (v *Verdict) Outcome() Outcome {
	proved := true
	for kind, n := range v.Counts {
		switch {
		case n == 0:
		case kind == Undecided || kind == Unread:
			proved = false
		default:
			return Violated
		}
	}
	switch {
	case !proved:
		return Unproved
	case v.OK == 0:
		return NotRun
	default:
		return Passed
	}
}

const printedFindings = 10

// WriteTo prints the verdict for people.
func (v *Verdict) WriteTo(w io.Writer) (int64, error) {
	var b []byte
	b = fmt.Appendf(b, "history     %d operations: %d ok, %d not executed, %d of unknown outcome; %d units, checked in %s\n",
		v.OK+v.Failed+v.Unknown, v.OK, v.Failed, v.Unknown, v.Units, v.Took.Round(time.Millisecond))
	b = fmt.Appendf(b, "found      ")
	for _, k := range []Kind{Lost, Duplicated, Stale, Torn, Corrupt, Phantom, NotLinearizable, TwoPrimaries, Crashed, Diverged, Undecided, Unread} {
		b = fmt.Appendf(b, " %d %s,", v.Counts[k], k)
	}
	b[len(b)-1] = '\n'
	for i, f := range v.sorted() {
		if i == printedFindings {
			b = fmt.Appendf(b, "            and %d more\n", len(v.Findings)-i)
			break
		}
		b = fmt.Appendf(b, "            %s\n", f)
	}
	b = fmt.Appendf(b, "verdict     %s\n", v.Outcome())
	n, err := w.Write(b)
	return int64(n), err
}

// sorted returns the findings with the rarest kinds first.
func (v *Verdict) sorted() []Finding {
	return slices.SortedStableFunc(slices.Values(v.Findings), func(a, b Finding) int { return v.Counts[a.Kind] - v.Counts[b.Kind] })
}
