package check

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	"github.com/skshohagmiah/clusterkit/loadtest/history"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// unit is the history of a key, or of keys that share a tag.
type unit struct {
	name string
	keys []string
	// ops are in the order of their calls.
	ops []*history.Operation
}

// access is what an operation does to one key.
type access struct {
	*history.Operation
	step   target.Op
	answer target.Result
}

// split takes a history apart into units, by name.
func split(ops []history.Operation) ([]*unit, error) {
	units := map[string]*unit{}
	add := func(o *history.Operation) error {
		name := o.Unit()
		u := units[name]
		if u == nil {
			u = &unit{name: name}
			units[name] = u
		}
		for _, step := range o.Steps() {
			if _, ok := effect(cell{}, step, nil); !ok {
				return fmt.Errorf("operation %s at %v cannot be checked", step.Kind, o.Call)
			}
			if history.UnitOf(step.Key) != name {
				return fmt.Errorf("the batch at %v has keys of different tags", o.Call)
			}
			if !slices.Contains(u.keys, step.Key) {
				u.keys = append(u.keys, step.Key)
			}
		}
		u.ops = append(u.ops, o)
		return nil
	}
	for i := range ops {
		for _, o := range singles(&ops[i]) {
			if err := add(o); err != nil {
				return nil, err
			}
		}
	}
	sorted := slices.SortedFunc(maps.Values(units), func(a, b *unit) int { return cmp.Compare(a.name, b.name) })
	for _, u := range sorted {
		slices.Sort(u.keys)
		slices.SortStableFunc(u.ops, func(a, b *history.Operation) int { return cmp.Compare(a.Call, b.Call) })
	}
	return sorted, nil
}

// singles takes a read of many keys, which is not atomic, apart into reads of
// one. An empty batch is nothing.
func singles(o *history.Operation) []*history.Operation {
	switch {
	case o.Op.Kind == target.Batch && len(o.Op.Ops) == 0:
		return nil
	case o.Op.Kind != target.MGet:
		return []*history.Operation{o}
	}
	reads := make([]*history.Operation, len(o.Op.Ops))
	for i, op := range o.Op.Ops {
		read := *o
		read.Op, read.Result = op, target.Result{}
		if i < len(o.Result.Results) {
			read.Result = o.Result.Results[i]
		}
		reads[i] = &read
	}
	return reads
}

// accesses returns what happened to one of the keys.
func (u *unit) accesses(key string) []access {
	var all []access
	for _, o := range u.ops {
		for i, step := range o.Steps() {
			if step.Key == key {
				all = append(all, access{o, step, o.Answer(i)})
			}
		}
	}
	return all
}

// gone returns what to call a write that a read does not show.
func (a access) gone() Kind {
	if a.Final {
		return Lost
	}
	return Stale
}
