package check

import (
	"cmp"
	"slices"
	"sort"
	"strconv"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// counter checks a key that is only incremented: what is seen of it is no less
// than what was acknowledged before, and no more than what was begun.
func counter(all []access, report report) {
	var acked, begun []access
	for _, a := range all {
		if a.step.Kind != target.Increment || a.Outcome == target.Failed {
			continue
		}
		if a.step.Delta <= 0 {
			return // it may come back to what it was
		}
		if begun = append(begun, a); a.Outcome == target.OK {
			acked = append(acked, a)
		}
	}
	ackedBy := newSums(acked, func(a access) time.Duration { return a.Return })
	begunBy := newSums(begun, func(a access) time.Duration { return a.Call })
	shown := map[int64]access{}
	for _, a := range all {
		n, seen := a.shows()
		if !seen {
			if a.reads() {
				report(Corrupt, "the read at %v shows %q, which is no number", a.Call, a.answer.Value)
			}
			continue
		}
		least, most := ackedBy.before(a.Call), begunBy.before(a.Return+1)
		if a.step.Kind == target.Increment {
			least += a.step.Delta
			if other, ok := shown[n]; ok {
				report(Lost, "the increments at %v and %v were both answered %d", other.Call, a.Call, n)
			}
			shown[n] = a
		}
		if n < least {
			report(a.gone(), "the %s at %v shows %d, but %d were acknowledged", a.step.Kind, a.Call, n, least)
		} else if n > most {
			report(Duplicated, "the %s at %v shows %d, but no more than %d were begun", a.step.Kind, a.Call, n, most)
		}
	}
}

// shows returns the number that the answer shows.
func (a access) shows() (int64, bool) {
	switch {
	case a.Outcome != target.OK:
		return 0, false
	case a.step.Kind == target.Increment:
		return a.answer.Number, true
	case !a.answer.Found:
		return 0, true
	}
	n, err := strconv.ParseInt(string(a.answer.Value), 10, 64)
	return n, err == nil
}

// sums are what increments add up to by a time.
type sums struct {
	at    []time.Duration
	total []int64
}

func newSums(all []access, at func(access) time.Duration) sums {
	var s sums
	total := int64(0)
	for _, a := range slices.SortedFunc(slices.Values(all), func(a, b access) int { return cmp.Compare(at(a), at(b)) }) {
		total += a.step.Delta
		s.at, s.total = append(s.at, at(a)), append(s.total, total)
	}
	return s
}

// before returns the sum of what lies before a time.
func (s sums) before(t time.Duration) int64 {
	if i := sort.Search(len(s.at), func(i int) bool { return s.at[i] >= t }); i > 0 {
		return s.total[i-1]
	}
	return 0
}
