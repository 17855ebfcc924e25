package placement

import "slices"

// unseen is the level of a vertex that no cheapest way leads to, or leads on
// from.
const unseen = int32(-1)

type outcome int

const (
	balanced    outcome = iota // nothing is left to send
	reachable                  // a cheapest way leads to a vertex that lacks units
	unreachable                // none does at the present potentials
)

// search finds cheapest ways with room left, shortest first (Dinic 1970), in
// a network whose arcs from cells to nodes are too many to be visited one by
// one.
type search struct {
	level []int32 // distance from the vertices with an excess
	last  int32   // level of the nearest vertices that lack units
	queue []int32

	// holders lists the partitions that each node was chosen for when the
	// levels were computed: those of node i start at holdersFrom[i].
	holders     []int32
	holdersFrom []int32
	// tried is how far the ways out of each node, and last of the sink, have
	// been tried at these levels.
	tried []int32
	live  liveNodes
}

func (s *search) init(f *flow) {
	s.level = make([]int32, f.sink+1)
	s.holdersFrom = make([]int32, len(f.nodes)+1)
	s.tried = make([]int32, len(f.nodes)+1)
}

// tight reports whether a way of that cost is a cheapest one.
func (f *flow) tight(from, to, cost int32) bool {
	return f.potential[from]+cost == f.potential[to]
}

// label computes the levels of all vertices up to the nearest that lack
// units.
func (f *flow) label() outcome {
	s := &f.search
	s.queue = s.queue[:0]
	for v := range s.level {
		s.level[v] = unseen
		if f.excess(int32(v)) > 0 {
			s.level[v] = 0
			s.queue = append(s.queue, int32(v))
		}
	}
	if len(s.queue) == 0 {
		return balanced
	}
	f.listHolders()
	if f.others == nil {
		s.live.reset(f, false)
	}
	s.last = int32(len(s.level))
	for at := 0; at < len(s.queue); at++ {
		u := s.queue[at]
		if s.level[u] >= s.last {
			break
		}
		f.labelNext(u)
	}
	if s.last == int32(len(s.level)) {
		return unreachable
	}
	return reachable
}

// reach labels v as a neighbour of u over a way of the given cost.
func (f *flow) reach(u, v, cost int32) {
	s := &f.search
	if s.level[v] != unseen || !f.tight(u, v, cost) {
		return
	}
	s.level[v] = s.level[u] + 1
	s.queue = append(s.queue, v)
	if f.excess(v) < 0 {
		s.last = min(s.last, s.level[v])
	}
}

func (f *flow) labelNext(u int32) {
	switch {
	case u < f.firstCell:
		p := int(u)
		for g, b := range f.groups {
			if v := f.cell(p, int32(g)); f.inCell[v-f.firstCell] < b.max {
				f.reach(u, v, 0)
			}
		}
	case u < f.firstNode:
		f.labelFromCell(u)
	case u < f.sink:
		i := u - f.firstNode
		if f.fromNode[i] < f.nodes[i].max {
			f.reach(u, f.sink, 0)
		}
		s := &f.search
		for _, p := range s.holders[s.holdersFrom[i]:s.holdersFrom[i+1]] {
			f.reach(u, f.cell(int(p), f.group[i]), -f.cost(int(p), i))
		}
	default:
		for i, b := range f.nodes {
			if f.fromNode[i] > b.min {
				f.reach(u, f.firstNode+int32(i), 0)
			}
		}
	}
}

func (f *flow) labelFromCell(u int32) {
	p, g := f.locate(u)
	if f.inCell[u-f.firstCell] > f.groups[g].min {
		f.reach(u, int32(p), 0)
	}
	for _, i := range f.keep[p] {
		if f.group[i] == g && !slices.Contains(f.chosen[p], i) {
			f.reach(u, f.firstNode+i, 0)
		}
	}
	if f.others != nil {
		for _, i := range f.others[p] {
			if !slices.Contains(f.chosen[p], i) && !slices.Contains(f.keep[p], i) {
				f.reach(u, f.firstNode+i, 1)
			}
		}
		return
	}
	live := &f.search.live
	class := live.class(g, f.potential[u]+1, 0)
	for at := live.find(class.from); at < class.to; at = live.find(at + 1) {
		i := live.order[at]
		if f.search.level[f.firstNode+i] != unseen {
			live.remove(at)
		} else if !slices.Contains(f.chosen[p], i) {
			f.reach(u, f.firstNode+i, 1)
			live.remove(at)
		}
	}
}

// listHolders puts the partitions that keep a node at the front of their list,
// their primary, behind the others, so that they are the last to be dropped.
func (f *flow) listHolders() {
	s := &f.search
	total := int32(0)
	for i, n := range f.inNode {
		s.holdersFrom[i] = total
		s.tried[i] = total
		total += n
	}
	s.holdersFrom[len(f.nodes)] = total
	if int(total) > cap(s.holders) {
		s.holders = make([]int32, total)
	}
	s.holders = s.holders[:total]
	for _, first := range []bool{false, true} {
		for p, set := range f.chosen {
			keep := f.keep[p]
			for _, i := range set {
				if (len(keep) > 0 && keep[0] == i) == first {
					s.holders[s.tried[i]] = int32(p)
					s.tried[i]++
				}
			}
		}
	}
}
