package check

import (
	"maps"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/loadtest/history"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// store is what brute force takes a store for: one map, and no cleverness.
type store map[string]string

// explains tries every order in which the operations can have been executed.
func (s store) explains(left []history.Operation) bool {
	done := true
	for _, o := range left {
		done = done && o.Outcome == target.Unknown // which may never be executed
	}
	if done {
		return true
	}
	for i := range left {
		o := left[i]
		first := true
		for j := range left {
			first = first && (i == j || left[j].Outcome == target.Unknown || left[j].Return >= o.Call)
		}
		if !first {
			continue
		}
		next := maps.Clone(s)
		if !next.execute(&o) {
			continue
		}
		rest := append(append([]history.Operation{}, left[:i]...), left[i+1:]...)
		if next.explains(rest) {
			return true
		}
	}
	return false
}

// execute reports whether the operation can have been answered as it was.
func (s store) execute(o *history.Operation) bool {
	known := o.Outcome == target.OK
	if known && o.Op.Kind == target.ScanPrefix && len(o.Result.Results) != len(o.Op.Ops) {
		return false
	}
	for i, step := range o.Steps() {
		value, found := s[step.Key]
		r := o.Answer(i)
		switch step.Kind {
		case target.Get:
			if known && (r.Found != found || string(r.Value) != value) {
				return false
			}
		case target.Set:
			s[step.Key] = string(step.Value)
		case target.Delete:
			delete(s, step.Key)
		case target.Create:
			if known && r.Met == found {
				return false
			}
			if !found {
				s[step.Key] = string(step.Value)
			}
		case target.CompareAndSet:
			equal := found && value == string(o.Expect)
			if known && r.Met != equal {
				return false
			}
			if equal {
				s[step.Key] = string(step.Value)
			}
		case target.Append:
			s[step.Key] = value + string(step.Value)
			if known && int(r.Number) != len(s[step.Key]) {
				return false
			}
		case target.Increment: // of what is a single digit at most here
			n := int64(0)
			for _, digit := range value {
				n = n*10 + int64(digit-'0')
			}
			n += step.Delta
			if known && r.Number != n {
				return false
			}
			s[step.Key] = string(rune('0' + n))
		}
	}
	return true
}

// drawHistory draws a few operations of one workload with whatever answers.
func drawHistory(t *rapid.T) []history.Operation {
	kinds := rapid.SampledFrom([][]target.Kind{
		{target.Get, target.Set, target.Delete},
		{target.Get, target.Set, target.CompareAndSet},
		{target.Get, target.Create, target.Delete},
		{target.Get, target.Set, target.Create, target.CompareAndSet, target.Delete},
		{target.Get, target.Increment},
		{target.Get, target.Append},
		{target.Batch, target.Get, target.ScanPrefix},
	}).Draw(t, "kinds")
	values := []string{"", "1", "2", "3"}
	switch kinds[1] {
	case target.Append:
		values = []string{"", "a,", "a,b,", "b,a,", "b,", "a,a,"}
	case target.Get:
		values = values[:3]
	}
	shown := rapid.SampledFrom(values)
	n := rapid.IntRange(1, 6).Draw(t, "operations")
	ops := make([]history.Operation, n)
	for i := range ops {
		call := time.Duration(rapid.IntRange(0, 8).Draw(t, "call"))
		o := history.Operation{
			Client: i, Call: call, Return: call + time.Duration(rapid.IntRange(0, 5).Draw(t, "duration")),
			Outcome: target.OK, Final: i == n-1,
		}
		kind := rapid.SampledFrom(kinds).Draw(t, "kind")
		key, keys := "k", []string{"k"}
		if kinds[0] == target.Batch {
			keys = []string{"{t}a", "{t}b"}
			key = rapid.SampledFrom(keys).Draw(t, "key")
		}
		step := func(kind target.Kind, key, written string) target.Op {
			op := target.Op{Kind: kind, Key: key}
			switch kind {
			case target.Set, target.Create, target.CompareAndSet, target.Append:
				op.Value = []byte(written)
			case target.Increment:
				op.Delta = 1
			}
			return op
		}
		written := string(rune('1' + i%3)) // now and then twice the same
		if kind == target.Append {
			written = string(rune('a'+i%3)) + ","
		}
		answer := func(kind target.Kind) (r target.Result) {
			switch kind {
			case target.Get:
				v := shown.Draw(t, "shown")
				r = target.Result{Found: v != "", Value: []byte(v)}
			case target.Create, target.CompareAndSet:
				r.Met = rapid.Bool().Draw(t, "met")
			case target.Increment:
				r.Number = int64(rapid.IntRange(1, 3).Draw(t, "number"))
			case target.Append:
				r.Number = int64(2 * rapid.IntRange(1, 3).Draw(t, "length"))
			}
			return r
		}
		o.Op = step(kind, key, written)
		if kind == target.CompareAndSet {
			o.Expect = []byte(shown.Draw(t, "expected"))
		}
		switch kind {
		case target.ScanPrefix:
			for _, key := range keys {
				o.Op.Ops = append(o.Op.Ops, step(target.Get, key, ""))
				o.Result.Results = append(o.Result.Results, answer(target.Get))
			}
			if rapid.IntRange(0, 9).Draw(t, "beside") == 0 {
				o.Result.Results = append(o.Result.Results, answer(target.Get))
			}
			o.Op.Key = "{t}"
		case target.Batch:
			part := rapid.SampledFrom([]target.Kind{target.Get, target.Set, target.Delete}).Draw(t, "part")
			for _, key := range keys {
				o.Op.Ops = append(o.Op.Ops, step(part, key, written))
				o.Result.Results = append(o.Result.Results, answer(part))
			}
			o.Op.Key = ""
		default:
			o.Result = answer(kind)
		}
		switch rapid.IntRange(0, 7).Draw(t, "outcome") {
		case 0:
			if !kind.IsRead() {
				o.Outcome, o.Return, o.Result = target.Unknown, history.Forever, target.Result{}
			}
		case 1:
			o.Outcome, o.Result = target.Failed, target.Result{}
		}
		ops[i] = o
	}
	return ops
}

// The search finds an order exactly when trying all of them does, and what the
// figures find is never in a history that has one.
func TestAgainstBruteForce(t *testing.T) {
	good, bad := 0, 0
	rapid.Check(t, func(t *rapid.T) {
		ops := drawHistory(t)
		var executed []history.Operation
		for _, o := range ops {
			if o.Outcome != target.Failed {
				executed = append(executed, o)
			}
		}
		want := store{}.explains(executed)
		v, err := History(ops, Options{})
		if err != nil {
			t.Fatal(err)
		}
		if got := v.Counts[NotLinearizable] == 0; got != want {
			t.Fatalf("an order was found: %v, by brute force: %v\n%+v", got, want, ops)
		}
		if want && len(v.Findings) > 0 {
			t.Fatalf("found %v in a history that an order explains\n%+v", v.Findings, ops)
		}
		if want {
			good++
		} else {
			bad++
		}
	})
	if good < 5 || bad < 5 {
		t.Errorf("%d histories were good and %d bad: too few of one to tell anything", good, bad)
	}
}
