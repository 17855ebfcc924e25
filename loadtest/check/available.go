package check

import (
	"cmp"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/history"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// Window is a span of time in which something was done to the store.
type Window struct {
	Name     string        `json:"name"`
	From, To time.Duration `json:"-"`
}

// Gap is a span in which operations were asked for and none succeeded.
type Gap struct {
	// Group is which of the parts of the store it is about.
	Group    string        `json:"group"`
	From, To time.Duration `json:"-"`
}

// Length returns how long the gap is.
func (g Gap) Length() time.Duration { return g.To - g.From }

// Unavailability returns the longest gap that reaches into each of the windows.
// Operations on different parts of the store do not make up for one another:
// group names the part that a key belongs to, such as its partition. A gap
// begins when the first operation is asked for that does not end before it, and
// one that is open at the end of the history lasts to that end.
func Unavailability(ops []history.Operation, group func(key string) string, windows []Window) []Gap {
	groups := map[string][]*history.Operation{}
	end := time.Duration(0)
	for i := range ops {
		o := &ops[i]
		if len(o.Steps()) == 0 {
			continue
		}
		name := group(o.Steps()[0].Key)
		groups[name] = append(groups[name], o)
		end = max(end, o.Call)
		if o.Return != history.Forever {
			end = max(end, o.Return)
		}
	}
	longest := make([]Gap, len(windows))
	for name, ops := range groups {
		for _, g := range gaps(name, ops, end) {
			for i, w := range windows {
				if g.From < w.To && g.To > w.From && (g.Length() > longest[i].Length() || g.Length() == longest[i].Length() && g.Group < longest[i].Group) {
					longest[i] = g
				}
			}
		}
	}
	return longest
}

// gaps returns all gaps of a group, each from the first operation in it to the
// next success.
func gaps(group string, ops []*history.Operation, end time.Duration) []Gap {
	slices.SortFunc(ops, func(a, b *history.Operation) int { return cmp.Compare(a.Call, b.Call) })
	var successes []time.Duration
	for _, o := range ops {
		if o.Outcome == target.OK {
			successes = append(successes, o.Return)
		}
	}
	slices.Sort(successes)
	var all []Gap
	next := 0                       // the first operation that was not called by then
	var begin, latest time.Duration // of the gap; the last answer to what was called by then
	for _, success := range append(successes, end) {
		from := success
		if latest > begin {
			from = begin
		} else if next < len(ops) {
			from = min(from, ops[next].Call)
		}
		if from < success {
			all = append(all, Gap{group, from, success})
		}
		for ; next < len(ops) && ops[next].Call <= success; next++ {
			if ops[next].Outcome != target.Unknown {
				latest = max(latest, ops[next].Return)
			}
		}
		begin = success
	}
	return all
}
