package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// register checks a key that is set and deleted: every value that is read was
// written, and not overwritten for certain before the read began.
func register(all []access, report report) {
	writers := map[string]*access{}
	repeated := map[string]bool{}
	var over, deletes []access
	for i := range all {
		a := &all[i]
		switch a.step.Kind {
		case target.Set, target.Create, target.CompareAndSet:
			if a.Outcome == target.OK && !a.sets() {
				break // its condition was not met
			}
			value := string(a.step.Value)
			if repeated[value] = writers[value] != nil; !repeated[value] {
				writers[value] = a
			}
		case target.Delete:
			if a.Outcome != target.Failed {
				deletes = append(deletes, *a)
			}
		}
		if a.sets() || a.step.Kind == target.Delete && a.Outcome == target.OK {
			over = append(over, *a)
		}
	}
	overwritten := newOverwrites(over)
	sets := newOverwrites(slices.DeleteFunc(slices.Clone(over), func(a access) bool { return !a.sets() }))
	for _, read := range all {
		if !read.reads() {
			continue
		}
		value := string(read.answer.Value)
		w := writers[value]
		switch {
		case !read.answer.Found:
			if x := sets.between(lastDelete(deletes, read.Return), read.Call); x != nil {
				report(read.gone(), "the read at %v shows nothing, but %q was acknowledged at %v", read.Call, x.step.Value, x.Return)
			}
		case w == nil || w.Call > read.Return:
			report(Corrupt, "the read at %v shows %q, which nobody had written", read.Call, value)
		case repeated[value]:
		case w.Outcome == target.Failed:
			report(Phantom, "the read at %v shows %q, whose write at %v was reported as not executed: %s", read.Call, value, w.Call, w.Err)
		default:
			if x := overwritten.between(w.Return, read.Call); x != nil {
				report(read.gone(), "the read at %v shows %q, but a %s %q after it was acknowledged at %v", read.Call, value, x.step.Kind, x.step.Value, x.Return)
			}
		}
	}
	versions(all, report)
}

// lastDelete returns when the last of the deletes may have been executed that a
// read can have seen, or -1.
func lastDelete(deletes []access, returned time.Duration) time.Duration {
	last := time.Duration(-1)
	for _, d := range deletes {
		if d.Call <= returned {
			last = max(last, d.Return)
		}
	}
	return last
}

// overwrites are acknowledged writes by their call, with the earliest to return
// of each and all after it.
type overwrites struct{ byCall, earliest []access }

func newOverwrites(all []access) overwrites {
	o := overwrites{byCall: slices.SortedFunc(slices.Values(all), func(a, b access) int { return cmp.Compare(a.Call, b.Call) })}
	o.earliest = slices.Clone(o.byCall)
	for i := len(all) - 2; i >= 0; i-- {
		if o.earliest[i+1].Return < o.earliest[i].Return {
			o.earliest[i] = o.earliest[i+1]
		}
	}
	return o
}

// between returns a write that was called after one time and had returned before
// another, nil if there is none.
func (o overwrites) between(after, before time.Duration) *access {
	i, _ := slices.BinarySearchFunc(o.byCall, after, func(a access, t time.Duration) int {
		if a.Call <= t {
			return -1
		}
		return 1
	})
	if i == len(o.byCall) || o.earliest[i].Return >= before {
		return nil
	}
	return &o.earliest[i]
}

// versions makes sure that no version was told with two values.
func versions(all []access, report report) {
	values := map[string]string{}
	for _, a := range all {
		version, value := a.answer.Version, string(a.answer.Value)
		if a.sets() {
			value = string(a.step.Value)
		}
		if shown := a.sets() || a.reads() && a.answer.Found; !shown || version == "" {
			continue
		}
		if before, ok := values[version]; ok && before != value {
			report(Corrupt, "version %s is that of %q and of %q", version, before, value)
		}
		values[version] = value
	}
}
