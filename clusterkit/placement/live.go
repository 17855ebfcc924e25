package placement

import (
	"cmp"
	"slices"
)

// span is a half-open range of positions.
type span struct{ from, to int32 }

// liveNodes divides the nodes into classes that a cell treats alike and
// visits those of a class that have not been removed: in nearly constant time
// per visit, however many were removed (union-find over successors).
type liveNodes struct {
	order   []int32 // nodes, one class after the other
	classes map[classKey]span
	next    []int32 // position -> itself, or a position closer to the next live one
}

type classKey struct{ group, potential, level int32 }

// reset makes all nodes live. Their levels tell classes apart only if
// byLevel; else the level of every class is 0.
func (l *liveNodes) reset(f *flow, byLevel bool) {
	key := func(i int32) classKey {
		k := classKey{group: f.group[i], potential: f.potential[f.firstNode+i]}
		if byLevel {
			k.level = f.search.level[f.firstNode+i]
		}
		return k
	}
	if l.order == nil {
		l.order = make([]int32, len(f.nodes))
		l.next = make([]int32, len(f.nodes)+1)
	}
	for i := range l.order {
		l.order[i] = int32(i)
	}
	slices.SortFunc(l.order, func(a, b int32) int {
		ka, kb := key(a), key(b)
		return cmp.Or(
			cmp.Compare(ka.group, kb.group),
			cmp.Compare(ka.potential, kb.potential),
			cmp.Compare(ka.level, kb.level),
			cmp.Compare(a, b),
		)
	})
	for at := range l.next {
		l.next[at] = int32(at)
	}
	l.classes = make(map[classKey]span)
	for at, i := range l.order {
		k := key(i)
		c, ok := l.classes[k]
		if !ok {
			c.from = int32(at)
		}
		c.to = int32(at) + 1
		l.classes[k] = c
	}
}

func (l *liveNodes) class(group, potential, level int32) span {
	return l.classes[classKey{group, potential, level}]
}

// find returns the first live position from at on; it may lie in another
// class, or behind the last node.
func (l *liveNodes) find(at int32) int32 {
	for l.next[at] != at {
		l.next[at] = l.next[l.next[at]]
		at = l.next[at]
	}
	return at
}

func (l *liveNodes) remove(at int32) { l.next[at] = at + 1 }
