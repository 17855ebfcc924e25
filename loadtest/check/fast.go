package check

import (
	"fmt"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// figures are what the checks of single properties find in a unit. They prove
// nothing by being empty, but say what is wrong where the search for an order
// only says that there is none.
func figures(u *unit) []Finding {
	var found []Finding
	report := func(kind Kind, format string, args ...any) {
		found = append(found, Finding{Kind: kind, Unit: u.name, Detail: fmt.Sprintf(format, args...)})
	}
	for _, key := range u.keys {
		all := u.accesses(key)
		switch {
		case only(all, target.Get, target.Set, target.Delete, target.Create, target.CompareAndSet):
			register(all, report)
		case only(all, target.Get, target.Increment):
			counter(all, report)
		case only(all, target.Get, target.Append):
			list(all, report)
		}
	}
	torn(u, report)
	return found
}

// report takes one finding.
type report func(kind Kind, format string, args ...any)

// only reports whether there are no other operations.
func only(all []access, kinds ...target.Kind) bool {
	for _, a := range all {
		ok := false
		for _, k := range kinds {
			ok = ok || a.step.Kind == k
		}
		if !ok {
			return false
		}
	}
	return true
}

// reads reports whether an access shows the value.
func (a access) reads() bool { return a.step.Kind == target.Get && a.Outcome == target.OK }

// sets reports whether an access gave the key its value, for certain.
func (a access) sets() bool {
	if a.Outcome != target.OK {
		return false
	}
	switch a.step.Kind {
	case target.Set:
		return true
	case target.Create, target.CompareAndSet:
		return a.answer.Met
	default:
		return false
	}
}

// torn finds reads that show a part of a batch, in units that are only ever
// written as a whole, and scans that show what nobody writes.
func torn(u *unit, report report) {
	if len(u.keys) < 2 {
		return
	}
	for _, o := range u.ops {
		if n := beside(o); n > 0 {
			report(Corrupt, "the scan at %v shows %d values of keys that nobody writes, or twice", o.Call, n)
		}
	}
	for _, o := range u.ops {
		for _, step := range o.Steps() {
			if step.Kind == target.Get {
				continue
			}
			same := o.Steps()[0]
			if len(o.Steps()) != len(u.keys) || step.Kind != same.Kind || string(step.Value) != string(same.Value) || step.Kind != target.Set && step.Kind != target.Delete {
				return
			}
		}
	}
	for _, o := range u.ops {
		steps := o.Steps()
		if o.Outcome != target.OK || len(steps) != len(u.keys) || steps[0].Kind != target.Get {
			continue
		}
		for i, r := range o.Result.Results[:len(steps)] {
			if first := o.Result.Results[0]; r.Found != first.Found || string(r.Value) != string(first.Value) {
				report(Torn, "the read at %v shows %v of %s and %v of %s", o.Call,
					cell{first.Found, string(first.Value)}, o.Op.Ops[0].Key, cell{r.Found, string(r.Value)}, o.Op.Ops[i].Key)
				break
			}
		}
	}
}
