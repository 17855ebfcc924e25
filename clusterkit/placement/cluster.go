package placement

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
)

var (
	// ErrInvalidRequest is returned when a field of a [Request] cannot be
	// what it says.
	ErrInvalidRequest = errors.New("invalid placement request")
	// ErrNoNodes is returned when there is no node, or every node is drained.
	ErrNoNodes = errors.New("no node can hold a replica: add a node or end a drain")
)

// none stands for no node.
const none = int32(-1)

// cluster is a valid request in terms of indices.
type cluster struct {
	partitions int
	// copies is the number of replicas that each partition can have.
	copies int
	// nodes are the eligible ones, sorted by ID. Everything below names a
	// node by its index here.
	nodes []Node
	// current holds what stands on eligible nodes, per partition and in the
	// request's order.
	current [][]int32
	// primary is the current primary of each partition, or none.
	primary []int32
}

func newCluster(req Request) (*cluster, error) {
	switch {
	case req.Partitions < 1 || req.Partitions > MaxPartitions:
		return nil, fmt.Errorf("%w: Partitions is %d, want 1 to %d", ErrInvalidRequest, req.Partitions, MaxPartitions)
	case req.ReplicationFactor < 1:
		return nil, fmt.Errorf("%w: ReplicationFactor is %d, want at least 1", ErrInvalidRequest, req.ReplicationFactor)
	case len(req.Current) > req.Partitions:
		return nil, fmt.Errorf("%w: Current has %d partitions, Partitions is %d", ErrInvalidRequest, len(req.Current), req.Partitions)
	}
	nodes, err := eligible(req.Nodes)
	if err != nil {
		return nil, err
	}
	c := &cluster{
		partitions: req.Partitions,
		copies:     min(req.ReplicationFactor, len(nodes)),
		nodes:      nodes,
	}
	c.readCurrent(req.Current)
	return c, nil
}

// eligible returns the nodes that may hold replicas, sorted by ID and with
// their weights made explicit.
func eligible(all []Node) ([]Node, error) {
	if len(all) > MaxNodes {
		return nil, fmt.Errorf("%w: Nodes has %d entries, want at most %d", ErrInvalidRequest, len(all), MaxNodes)
	}
	nodes := slices.Clone(all)
	slices.SortFunc(nodes, func(a, b Node) int { return cmp.Compare(a.ID, b.ID) })
	for i := range nodes {
		n := &nodes[i]
		switch {
		case n.ID == "":
			return nil, fmt.Errorf("%w: a node has an empty ID", ErrInvalidRequest)
		case i > 0 && n.ID == nodes[i-1].ID:
			return nil, fmt.Errorf("%w: node ID %q occurs twice", ErrInvalidRequest, n.ID)
		case n.Weight < 0 || n.Weight > MaxWeight:
			return nil, fmt.Errorf("%w: Weight of node %q is %d, want 0 to %d", ErrInvalidRequest, n.ID, n.Weight, MaxWeight)
		}
		n.Weight = max(n.Weight, 1)
	}
	nodes = slices.DeleteFunc(nodes, func(n Node) bool { return n.Drained })
	if len(nodes) == 0 {
		return nil, ErrNoNodes
	}
	return nodes, nil
}

func (c *cluster) readCurrent(current [][]string) {
	index := make(map[string]int32, len(c.nodes))
	for i, n := range c.nodes {
		index[n.ID] = int32(i)
	}
	c.current = make([][]int32, c.partitions)
	c.primary = make([]int32, c.partitions)
	for p := range c.partitions {
		c.primary[p] = none
		if p >= len(current) {
			continue
		}
		row := make([]int32, 0, len(current[p]))
		for slot, id := range current[p] {
			i, ok := index[id]
			if !ok || slices.Contains(row, i) {
				continue
			}
			if slot == 0 {
				c.primary[p] = i
			}
			row = append(row, i)
		}
		c.current[p] = row
	}
}

// chooseReplicas returns the nodes of each partition, in no particular order.
func (c *cluster) chooseReplicas() ([][]int32, error) {
	group, groups := c.zoneGroups()
	f := newFlow(network{
		need:   int32(c.copies),
		group:  group,
		groups: groups,
		nodes:  c.replicaLevels(),
		keep:   c.current,
	})
	if err := f.solve(); err != nil {
		return nil, fmt.Errorf("choose replicas: %w", err)
	}
	return f.chosen, nil
}

// choosePrimaries returns one of the given replicas for each partition.
func (c *cluster) choosePrimaries(replicas [][]int32) ([]int32, error) {
	keep := make([][]int32, c.partitions)
	others := make([][]int32, c.partitions)
	for p, set := range replicas {
		others[p] = c.keptFirst(p, set)
		if c.primary[p] != none && slices.Contains(set, c.primary[p]) {
			keep[p] = []int32{c.primary[p]}
		}
	}
	for _, slack := range c.primarySlacks() {
		f := newFlow(network{
			need:   1,
			group:  make([]int32, len(c.nodes)),
			groups: []bounds{{1, 1}},
			nodes:  c.primaryLevels(slack),
			keep:   keep,
			others: others,
		})
		err := f.solve()
		if errors.Is(err, errInfeasible) {
			continue
		}
		primaries := make([]int32, c.partitions)
		for p, set := range f.chosen {
			primaries[p] = set[0]
		}
		return primaries, err
	}
	return nil, fmt.Errorf("choose primaries: %w", errInfeasible)
}

// keptFirst returns the set with those that are there already in front, in
// their current order.
func (c *cluster) keptFirst(p int, set []int32) []int32 {
	ordered := make([]int32, 0, len(set))
	for _, i := range c.current[p] {
		if slices.Contains(set, i) {
			ordered = append(ordered, i)
		}
	}
	for _, i := range set {
		if !slices.Contains(c.current[p], i) {
			ordered = append(ordered, i)
		}
	}
	return ordered
}

func (c *cluster) arrange(replicas [][]int32, primaries []int32) [][]string {
	plan := make([][]string, c.partitions)
	for p, set := range replicas {
		row := make([]string, 0, len(set))
		row = append(row, c.nodes[primaries[p]].ID)
		for _, i := range c.keptFirst(p, set) {
			if i != primaries[p] {
				row = append(row, c.nodes[i].ID)
			}
		}
		plan[p] = row
	}
	return plan
}
