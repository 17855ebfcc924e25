package load

import (
	"fmt"
	"strings"
)

// Kind is the way in which a store contradicts what it acknowledged.
type Kind string

const (
	// Lost is an acknowledged write that is missing at the end.
	Lost Kind = "lost write"
	// Stale is a read under load that did not return what had been acknowledged
	// before it began. Whether that was lost, the end shows.
	Stale Kind = "stale read"
	// Phantom is a write that was executed but reported as not executed, or
	// was never sent.
	Phantom Kind = "phantom write"
	// Corrupt is a value that nobody wrote, or that was written to another key.
	Corrupt Kind = "corrupt value"
)

// kindsOfViolations are all kinds, the gravest first.
var kindsOfViolations = []Kind{Lost, Corrupt, Phantom, Stale}

// Violation is one answer that contradicts what was acknowledged.
type Violation struct {
	Kind   Kind   `json:"kind"`
	Key    string `json:"key"`
	Detail string `json:"detail"`
}

func (v Violation) String() string { return fmt.Sprintf("%s: key %q: %s", v.Kind, v.Key, v.Detail) }

// keptViolations bounds how many of each kind are kept.
const keptViolations = 200

// Violations are all that was found.
type Violations struct {
	// Counts are how many there are of each kind.
	Counts map[Kind]int `json:"counts"`
	// First are the first of each kind, the gravest first.
	First []Violation `json:"first"`
}

// Total returns how many there are.
func (v Violations) Total() (n int) {
	for _, count := range v.Counts {
		n += count
	}
	return n
}

func (v Violations) String() string {
	var all []string
	for _, kind := range kindsOfViolations {
		if n := v.Counts[kind]; n > 0 {
			all = append(all, fmt.Sprintf("%s: %d", kind, n))
		}
	}
	return strings.Join(all, ", ")
}

func (v *Violations) add(one Violation) {
	if v.Counts == nil {
		v.Counts = map[Kind]int{}
	}
	v.Counts[one.Kind]++
	if v.Counts[one.Kind] > keptViolations {
		return
	}
	at := 0
	for at < len(v.First) && rank(v.First[at].Kind) <= rank(one.Kind) {
		at++
	}
	v.First = append(v.First[:at:at], append([]Violation{one}, v.First[at:]...)...)
}

func rank(k Kind) int {
	for i, kind := range kindsOfViolations {
		if kind == k {
			return i
		}
	}
	return len(kindsOfViolations)
}
