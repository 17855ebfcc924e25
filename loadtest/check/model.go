package check

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/anishathalye/porcupine"

	"github.com/skshohagmiah/clusterkit/loadtest/history"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// cell is what a key holds, by the model.
type cell struct {
	found bool
	value string
}

// state has a cell for each key of a unit. It is never changed.
type state []cell

// model is what a store does with the keys of a unit. An operation of unknown
// outcome takes effect if it can; if it cannot, it is as if it had never been
// executed, which is always possible after everything else.
func model(keys []string) porcupine.Model {
	at := make(map[string]int, len(keys))
	for i, k := range keys {
		at[k] = i
	}
	seed := maphash.MakeSeed()
	return porcupine.Model{
		Init: func() any { return make(state, len(keys)) },
		Step: func(s, input, _ any) (bool, any) {
			after, ok := apply(s.(state), input.(*history.Operation), at)
			return ok, after
		},
		Equal:             func(a, b any) bool { return slices.Equal(a.(state), b.(state)) },
		Hash:              func(s any) uint64 { return hash(seed, s.(state)) },
		DescribeOperation: func(input, _ any) string { return describe(input.(*history.Operation)) },
		DescribeState:     func(s any) string { return describeState(keys, s.(state)) },
	}
}

func hash(seed maphash.Seed, s state) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, c := range s {
		maphash.WriteComparable(&h, c)
	}
	return h.Sum64()
}

// apply returns the state in which an operation leaves a state, and whether it
// can have been answered as it was.
func apply(before state, o *history.Operation, at map[string]int) (after state, ok bool) {
	if o.Outcome == target.Failed {
		return before, true
	}
	if beside(o) > 0 {
		return before, false
	}
	after = before
	for i, step := range o.Steps() {
		where := at[step.Key]
		c := after[where]
		if o.Outcome == target.OK && !answers(c, step, o.Expect, o.Answer(i)) {
			return before, false
		}
		next, possible := effect(c, step, o.Expect)
		if !possible {
			return before, o.Outcome != target.OK
		}
		if next == c {
			continue
		}
		if &after[0] == &before[0] {
			after = slices.Clone(before)
		}
		after[where] = next
	}
	return after, true
}

// beside counts what a scan has shown beside the keys that may be there.
func beside(o *history.Operation) int {
	if o.Op.Kind != target.ScanPrefix || o.Outcome != target.OK {
		return 0
	}
	return max(0, len(o.Result.Results)-len(o.Op.Ops))
}

// met reports whether the condition of an operation, if it has one, is met.
func met(c cell, op target.Op, expect []byte) bool {
	switch op.Kind {
	case target.Create:
		return !c.found
	case target.CompareAndSet:
		return c.found && c.value == string(expect)
	default:
		return true
	}
}

// answers reports whether an operation on a cell can have had the result.
func answers(c cell, op target.Op, expect []byte, r target.Result) bool {
	switch op.Kind {
	case target.Get:
		return r.Found == c.found && string(r.Value) == c.value
	case target.Create, target.CompareAndSet:
		return r.Met == met(c, op, expect)
	case target.Increment:
		n, ok := sum(c, op.Delta)
		return ok && r.Number == n
	case target.Append:
		return r.Number == int64(len(c.value)+len(op.Value))
	default:
		return true
	}
}

// effect returns what an operation makes of a cell, and false if it cannot be
// executed on it.
func effect(c cell, op target.Op, expect []byte) (cell, bool) {
	switch op.Kind {
	case target.Set, target.Create, target.CompareAndSet:
		if met(c, op, expect) {
			return cell{true, string(op.Value)}, true
		}
		return c, true
	case target.Delete:
		return cell{}, true
	case target.Increment:
		n, ok := sum(c, op.Delta)
		return cell{true, strconv.FormatInt(n, 10)}, ok
	case target.Append:
		return cell{true, c.value + string(op.Value)}, true
	case target.Get:
		return c, true
	default:
		return c, false
	}
}

// sum returns what an increment makes of a cell, and false if that is no number,
// or would be none.
func sum(c cell, delta int64) (int64, bool) {
	if !c.found {
		return delta, true
	}
	n, err := strconv.ParseInt(c.value, 10, 64)
	if err != nil || delta > 0 && n > math.MaxInt64-delta || delta < 0 && n < math.MinInt64-delta {
		return 0, false
	}
	return n + delta, true
}

// describe says in a few words what was asked and answered.
func describe(o *history.Operation) string {
	var b bytes.Buffer
	if o.Op.Kind == target.ScanPrefix {
		b.WriteString("scan: ")
	}
	for i, step := range o.Steps() {
		if i > 0 {
			b.WriteString("; ")
		}
		describeStep(&b, o, step, o.Answer(i))
	}
	if o.Outcome != target.OK {
		fmt.Fprintf(&b, " (%s)", o.Outcome)
	}
	return b.String()
}

func describeStep(b *bytes.Buffer, o *history.Operation, step target.Op, r target.Result) {
	b.WriteString(string(step.Kind))
	if len(o.Steps()) > 1 {
		fmt.Fprintf(b, " %s", step.Key)
	}
	switch step.Kind {
	case target.CompareAndSet:
		fmt.Fprintf(b, " %q to %q", o.Expect, step.Value)
	case target.Set, target.Create, target.Append:
		fmt.Fprintf(b, " %q", step.Value)
	case target.Increment:
		fmt.Fprintf(b, " %d", step.Delta)
	}
	if o.Outcome != target.OK {
		return
	}
	switch step.Kind {
	case target.Get:
		fmt.Fprintf(b, " = %s", cell{r.Found, string(r.Value)})
	case target.Increment, target.Append:
		fmt.Fprintf(b, " = %d", r.Number)
	case target.Create, target.CompareAndSet:
		fmt.Fprintf(b, " = %v", r.Met)
	}
}

func (c cell) String() string {
	if !c.found {
		return "nothing"
	}
	return strconv.Quote(c.value)
}

func describeState(keys []string, s state) string {
	if len(s) == 1 {
		return s[0].String()
	}
	var b strings.Builder
	for i, c := range s {
		fmt.Fprintf(&b, "%s: %s\n", keys[i], c)
	}
	return b.String()
}
