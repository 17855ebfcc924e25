package placement

import (
	"cmp"
	"slices"
)

// bounds are inclusive.
type bounds struct{ min, max int32 }

// rounded returns the bounds of a/b rounded down and up.
func rounded(a, b int64) bounds {
	return bounds{int32(a / b), int32((a + b - 1) / b)}
}

// fill is the division of the replicas by weight. A node can hold no more
// than one replica of each partition; those whose weight asks for as much or
// more are full, and the others divide the rest.
type fill struct {
	full []bool
	// rest replicas of each partition are divided in proportion to weight
	// among the nodes that are not full, whose weights sum up to weight.
	rest, weight int64
}

func (c *cluster) fill() fill {
	f := fill{full: make([]bool, len(c.nodes)), rest: int64(c.copies)}
	heaviest := make([]int, len(c.nodes))
	for i, n := range c.nodes {
		heaviest[i] = i
		f.weight += int64(n.Weight)
	}
	slices.SortStableFunc(heaviest, func(a, b int) int {
		return cmp.Compare(c.nodes[b].Weight, c.nodes[a].Weight)
	})
	for _, i := range heaviest {
		w := int64(c.nodes[i].Weight)
		if w*f.rest < f.weight {
			break
		}
		f.full[i] = true
		f.rest--
		f.weight -= w
	}
	return f
}

// replicaLevels returns how many replicas each node may hold.
func (c *cluster) replicaLevels() []bounds {
	f := c.fill()
	levels := make([]bounds, len(c.nodes))
	for i, n := range c.nodes {
		if f.full[i] {
			levels[i] = bounds{int32(c.partitions), int32(c.partitions)}
			continue
		}
		levels[i] = rounded(int64(c.partitions)*f.rest*int64(n.Weight), f.weight)
	}
	return levels
}

// primaryLevels returns how many partitions each node may lead: its share by
// weight, rounded, and slack more.
func (c *cluster) primaryLevels(slack int32) []bounds {
	total := int64(0)
	for _, n := range c.nodes {
		total += int64(n.Weight)
	}
	levels := make([]bounds, len(c.nodes))
	for i, n := range c.nodes {
		levels[i] = rounded(int64(c.partitions)*int64(n.Weight), total)
		levels[i].max += slack
	}
	return levels
}

// primarySlacks returns the slacks to try, in order.
//
// If no node is full, giving each replica of a partition an equal part of the
// primary role gives each node its share of it, rounded like its replicas;
// flows being integral, whole roles can then be given within the rounding. If
// every node is full, every node can lead everything. Between the two, the
// full nodes lead more than an equal part, and the rounding of the others'
// replicas can cost them one partition beyond their share, but not two.
func (c *cluster) primarySlacks() []int32 {
	full := 0
	for _, yes := range c.fill().full {
		if yes {
			full++
		}
	}
	if full == 0 || full == len(c.nodes) {
		return []int32{0}
	}
	return []int32{0, 1}
}

// zoneGroups returns the group of each node and how many replicas of one
// partition each group may hold. A group is a zone; zones that constrain
// nothing, such as those of a single node, are one group.
//
// The plan in which every partition has the same fraction of a replica on a
// node keeps the bounds of all groups and nodes; flows being integral, a plan
// in whole replicas does too.
func (c *cluster) zoneGroups() (group []int32, groups []bounds) {
	type zone struct {
		size, full int
		weight     int64 // of the nodes that are not full
	}
	f := c.fill()
	zones := make(map[string]*zone)
	for i, n := range c.nodes {
		z := zones[n.Zone]
		if z == nil {
			z = &zone{}
			zones[n.Zone] = z
		}
		z.size++
		if f.full[i] {
			z.full++
		} else {
			z.weight += int64(n.Weight)
		}
	}
	groups = []bounds{{0, int32(c.copies)}}
	groupOf := make(map[string]int32)
	group = make([]int32, len(c.nodes))
	for i, n := range c.nodes {
		g, ok := groupOf[n.Zone]
		if !ok {
			z := zones[n.Zone]
			b := rounded(f.rest*z.weight, max(f.weight, 1))
			b.min += int32(z.full)
			b.max += int32(z.full)
			if z.size > 1 && (b.min != 0 || int(b.max) < min(z.size, c.copies)) {
				g = int32(len(groups))
				groups = append(groups, b)
			}
			groupOf[n.Zone] = g
		}
		group[i] = g
	}
	return group, groups
}
