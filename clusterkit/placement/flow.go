package placement

import (
	"errors"
	"slices"
)

// errInfeasible is returned by solve when no choice keeps all bounds.
var errInfeasible = errors.New("no choice keeps the levels")

// network is a choice of nodes for partitions, as a flow of minimum cost:
//
//	partition -> cell -> node -> sink
//
// Every partition sends need units. A cell is the part of a partition within
// one group of nodes. A node receives at most one unit of a partition, at no
// cost if it is in keep and at cost one otherwise.
type network struct {
	need   int32
	group  []int32  // of each node
	groups []bounds // of the flow into a cell of that group
	nodes  []bounds // of the flow from each node to the sink
	keep   [][]int32
	// others limits the choice to these nodes and those in keep, and takes a
	// network of one group; nil allows all nodes.
	others [][]int32
}

// flow solves a network by the primal-dual method (Ford and Fulkerson 1962):
// it starts at what is there, which breaks bounds but costs nothing, and
// sends units from where there is too much to where there is too little,
// always along the cheapest way. What it ends with is of minimum cost.
//
// Vertices are numbered partitions first, then cells, nodes, and the sink.
type flow struct {
	network
	partitions int
	firstCell  int32
	firstNode  int32
	sink       int32

	chosen   [][]int32 // nodes of each partition: the flow from cells to nodes
	inCell   []int32   // flow into each cell
	fromCell []int32   // flow out of each cell
	fromRow  []int32   // flow out of each partition
	inNode   []int32   // flow into each node
	fromNode []int32   // flow out of each node
	inSink   int32

	// potential is the cost of reaching a vertex, as far as it is known. No
	// way with room left costs less than the difference of its ends.
	potential []int32
	search    search
}

func newFlow(n network) *flow {
	partitions := len(n.keep)
	cells := partitions * len(n.groups)
	f := &flow{
		network:    n,
		partitions: partitions,
		firstCell:  int32(partitions),
		firstNode:  int32(partitions + cells),
		sink:       int32(partitions + cells + len(n.nodes)),
		chosen:     make([][]int32, partitions),
		inCell:     make([]int32, cells),
		fromCell:   make([]int32, cells),
		fromRow:    make([]int32, partitions),
		inNode:     make([]int32, len(n.nodes)),
		fromNode:   make([]int32, len(n.nodes)),
	}
	f.potential = make([]int32, f.sink+1)
	f.search.init(f)
	for p, keep := range n.keep {
		f.chosen[p] = append(make([]int32, 0, max(len(keep), int(n.need))+1), keep...)
		for _, i := range keep {
			f.fromCell[f.cell(p, n.group[i])-f.firstCell]++
			f.inNode[i]++
		}
		for g, b := range n.groups {
			c := f.cell(p, int32(g)) - f.firstCell
			f.inCell[c] = min(max(f.fromCell[c], b.min), b.max)
			f.fromRow[p] += f.inCell[c]
		}
	}
	for i, b := range n.nodes {
		f.fromNode[i] = min(max(f.inNode[i], b.min), b.max)
		f.inSink += f.fromNode[i]
	}
	return f
}

// solve makes chosen a choice of minimum cost within the bounds.
func (f *flow) solve() error {
	for raised := 0; ; {
		switch f.label() {
		case balanced:
			return nil
		case reachable:
			f.augment()
		case unreachable:
			// A way enters each node once and pays one at most for it.
			if raised++; raised > len(f.nodes) {
				return errInfeasible
			}
			for v, level := range f.search.level {
				if level == unseen {
					f.potential[v]++
				}
			}
		}
	}
}

func (f *flow) cell(p int, g int32) int32 {
	return f.firstCell + int32(p*len(f.groups)) + g
}

// locate returns partition and group of a cell.
func (f *flow) locate(cell int32) (p int, g int32) {
	c := int(cell - f.firstCell)
	return c / len(f.groups), int32(c % len(f.groups))
}

// excess returns how many more units enter v than leave it.
func (f *flow) excess(v int32) int32 {
	switch {
	case v < f.firstCell:
		return f.need - f.fromRow[v]
	case v < f.firstNode:
		c := v - f.firstCell
		return f.inCell[c] - f.fromCell[c]
	case v < f.sink:
		i := v - f.firstNode
		return f.inNode[i] - f.fromNode[i]
	default:
		return f.inSink - f.need*int32(f.partitions)
	}
}

// cost returns what it costs to choose node i for partition p.
func (f *flow) cost(p int, i int32) int32 {
	if slices.Contains(f.keep[p], i) {
		return 0
	}
	return 1
}

// enter sends units from a partition into one of its cells; units may be -1.
func (f *flow) enter(p int, cell, units int32) {
	f.fromRow[p] += units
	f.inCell[cell-f.firstCell] += units
}

// leave sends units from node i to the sink; units may be -1.
func (f *flow) leave(i, units int32) {
	f.fromNode[i] += units
	f.inSink += units
}

func (f *flow) choose(p int, cell, i int32) {
	f.chosen[p] = append(f.chosen[p], i)
	f.fromCell[cell-f.firstCell]++
	f.inNode[i]++
}

func (f *flow) drop(p int, cell, i int32) {
	set := f.chosen[p]
	last := len(set) - 1
	for s, j := range set {
		if i == j {
			set[s] = set[last]
		}
	}
	f.chosen[p] = set[:last]
	f.fromCell[cell-f.firstCell]--
	f.inNode[i]--
}
