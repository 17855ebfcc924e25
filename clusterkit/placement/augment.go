package placement

import "slices"

// augment sends units along shortest cheapest ways until each is cut.
func (f *flow) augment() {
	s := &f.search
	copy(s.tried, s.holdersFrom)
	s.tried[len(f.nodes)] = 0
	if f.others == nil {
		s.live.reset(f, true)
	}
	for v := range s.level {
		for s.level[v] == 0 && f.excess(int32(v)) > 0 {
			f.send(int32(v))
		}
	}
}

// advance sends one unit from u over a way of the given cost to v and on, if
// that is a shortest cheapest way.
func (f *flow) advance(u, v, cost int32) bool {
	s := &f.search
	return s.level[v] == s.level[u]+1 && f.tight(u, v, cost) && f.send(v)
}

// send sends one unit from u to a vertex that lacks one. If there is no way,
// u is not tried again at these levels.
func (f *flow) send(u int32) bool {
	s := &f.search
	if s.level[u] == s.last {
		if f.excess(u) < 0 {
			return true
		}
	} else if f.sendNext(u) {
		return true
	}
	s.level[u] = unseen
	return false
}

func (f *flow) sendNext(u int32) bool {
	s := &f.search
	switch {
	case u < f.firstCell:
		p := int(u)
		for g, b := range f.groups {
			v := f.cell(p, int32(g))
			if f.inCell[v-f.firstCell] < b.max && f.advance(u, v, 0) {
				f.enter(p, v, 1)
				return true
			}
		}
	case u < f.firstNode:
		return f.sendFromCell(u)
	case u < f.sink:
		i := u - f.firstNode
		if f.fromNode[i] < f.nodes[i].max && f.advance(u, f.sink, 0) {
			f.leave(i, 1)
			return true
		}
		for ; s.tried[i] < s.holdersFrom[i+1]; s.tried[i]++ {
			p := int(s.holders[s.tried[i]])
			v := f.cell(p, f.group[i])
			if slices.Contains(f.chosen[p], i) && f.advance(u, v, -f.cost(p, i)) {
				f.drop(p, v, i)
				return true
			}
		}
	default:
		tried := &s.tried[len(f.nodes)]
		for ; int(*tried) < len(f.nodes); *tried++ {
			i := *tried
			if f.fromNode[i] > f.nodes[i].min && f.advance(u, f.firstNode+i, 0) {
				f.leave(i, -1)
				return true
			}
		}
	}
	return false
}

func (f *flow) sendFromCell(u int32) bool {
	p, g := f.locate(u)
	if f.inCell[u-f.firstCell] > f.groups[g].min && f.advance(u, int32(p), 0) {
		f.enter(p, u, -1)
		return true
	}
	for _, i := range f.keep[p] {
		if f.group[i] == g && !slices.Contains(f.chosen[p], i) && f.advance(u, f.firstNode+i, 0) {
			f.choose(p, u, i)
			return true
		}
	}
	if f.others == nil {
		return f.sendAnywhere(u, p, g)
	}
	for _, i := range f.others[p] {
		if !slices.Contains(f.chosen[p], i) && !slices.Contains(f.keep[p], i) && f.advance(u, f.firstNode+i, 1) {
			f.choose(p, u, i)
			return true
		}
	}
	return false
}

// sendAnywhere tries all nodes of the group. It starts at another node for
// each replica, so that the partitions of a node share it with many others,
// and many take over when it fails.
func (f *flow) sendAnywhere(u int32, p int, g int32) bool {
	s := &f.search
	class := s.live.class(g, f.potential[u]+1, s.level[u]+1)
	if class.from == class.to {
		return false
	}
	start := class.from + int32(scatter(p, len(f.chosen[p]))%uint64(class.to-class.from))
	for _, part := range [2]span{{start, class.to}, {class.from, start}} {
		for at := s.live.find(part.from); at < part.to; at = s.live.find(at + 1) {
			i := s.live.order[at]
			if slices.Contains(f.chosen[p], i) {
				continue
			}
			if f.advance(u, f.firstNode+i, 1) {
				f.choose(p, u, i)
				return true
			}
			s.live.remove(at)
		}
	}
	return false
}

// scatter mixes partition and slot (the finalizer of SplitMix64).
func scatter(p, slot int) uint64 {
	x := uint64(p)<<32 + uint64(slot) + 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
