package clusterkit

import (
	"slices"
	"strings"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

// maxCopiesPerNode bounds the copies that are made on one node at a time.
const maxCopiesPerNode = 8

// placeable returns the nodes that copies may be placed on, sorted by ID: the
// live ones that are not drained, and dead ones that keep their place. A dead
// node keeps it for the delay, unless it is drained or a partition on it has
// too few copies left, and for longer where no other node could take its
// copies; a drained one keeps its copies where that is so. deadSince has the
// dead nodes.
func placeable(m *Map, deadSince map[string]time.Duration, now, delay time.Duration) []placement.Node {
	var nodes, drained, lost []placement.Node
	urgent := underReplicated(m)
	for i := range m.Nodes {
		n := &m.Nodes[i]
		place := placement.Node{ID: n.ID, Weight: n.Weight, Zone: n.Zone}
		since, dead := deadSince[n.ID]
		switch {
		case !dead && n.Draining:
			drained = append(drained, place)
		case !dead, !n.Draining && now < since+delay && !urgent[n.ID]:
			nodes = append(nodes, place)
		default:
			lost = append(lost, place)
		}
	}
	spare := append(drained, lost...)
	if missing := m.Config.ReplicationFactor - len(nodes); missing > 0 {
		nodes = append(nodes, spare[:min(missing, len(spare))]...)
	}
	slices.SortFunc(nodes, func(a, b placement.Node) int { return strings.Compare(a.ID, b.ID) })
	return nodes
}

// underReplicated returns the dead nodes that hold a copy of a partition with
// fewer than min-in-sync live copies in sync.
func underReplicated(m *Map) map[string]bool {
	nodes := make(map[string]bool)
	for i := range m.Partitions {
		p := &m.Partitions[i]
		present := 0
		for _, c := range p.InSync {
			if m.Present(c) {
				present++
			}
		}
		if present >= m.Config.MinInSync {
			continue
		}
		for _, c := range p.Members {
			if !m.Present(c) {
				nodes[c.Node] = true
			}
		}
	}
	return nodes
}

// desires returns the partitions whose wanted nodes change when copies may be
// placed on the given nodes. While moves are paused, only those change that
// have lost a node or were never planned.
func desires(m *Map, nodes []placement.Node) ([]desire, error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	req := placement.Request{
		Partitions:        len(m.Partitions),
		ReplicationFactor: m.Config.ReplicationFactor,
		Nodes:             nodes,
		Current:           make([][]string, len(m.Partitions)),
	}
	ids := make([]string, len(nodes))
	for i, n := range nodes {
		ids[i] = n.ID
	}
	for i := range m.Partitions {
		req.Current[i] = standing(&m.Partitions[i], ids)
	}
	plan, err := placement.Plan(req)
	if err != nil {
		return nil, err
	}
	var out []desire
	for i, wanted := range plan {
		before := m.Partitions[i].Desired
		if slices.Equal(wanted, before) || m.Paused && len(before) > 0 && !lacksNode(m, before, ids) {
			continue
		}
		out = append(out, desire{Partition: i, Nodes: wanted})
	}
	return out, nil
}

// lacksNode reports whether one of the wanted nodes cannot have a copy any
// more, other than by being drained.
func lacksNode(m *Map, wanted, placeable []string) bool {
	return slices.ContainsFunc(wanted, func(id string) bool {
		n := m.Node(id)
		return !slices.Contains(placeable, id) && (n == nil || !n.Alive || !n.Draining)
	})
}

// standing is what a new plan starts from: the plan before, so that moves go
// on to where they were going, and where that plan has lost a node, any other
// copy in sync as well.
func standing(p *Partition, nodes []string) []string {
	var out []string
	add := func(id string) {
		if slices.Contains(nodes, id) && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	complete := len(p.Desired) > 0
	for _, id := range p.Desired {
		complete = complete && slices.Contains(nodes, id)
	}
	if !complete {
		add(p.Primary)
	}
	for _, id := range p.Desired {
		add(id)
	}
	if !complete {
		for _, c := range p.InSync {
			add(c.Node)
		}
	}
	return out
}

// nextMoves returns the steps that the controller can take now: it assigns and
// releases copies. Primaries are handed over by their own nodes. Where no
// complete copy would be present nothing is released.
func nextMoves(m *Map) []move {
	var out []move
	for _, step := range placement.Next(situation(m)) {
		p := &m.Partitions[step.Partition]
		next := move{Partition: step.Partition, Epoch: p.Epoch, Version: p.Version}
		switch step.Kind {
		case placement.StepCopy:
			next.Learner = step.Node
		case placement.StepRelease:
			next.Release = p.Members[slices.IndexFunc(p.Members, func(c Member) bool { return m.copyName(c) == step.Node })]
			if !slices.ContainsFunc(withoutMember(p.InSync, next.Release), m.Present) {
				continue
			}
		case placement.StepHandOver:
			continue
		}
		out = append(out, next)
	}
	return out
}

// situation is the map as the planner sees it.
func situation(m *Map) placement.Situation {
	s := placement.Situation{
		Partitions:    make([]placement.Progress, len(m.Partitions)),
		Present:       make(map[string]bool, len(m.Nodes)),
		CopiesPerNode: maxCopiesPerNode,
		Paused:        m.Paused,
	}
	for _, n := range m.Nodes {
		s.Present[n.ID] = n.Alive
	}
	for i := range m.Partitions {
		s.Partitions[i] = m.progress(&m.Partitions[i])
	}
	return s
}

func (m *Map) progress(p *Partition) placement.Progress {
	out := placement.Progress{Primary: -1}
	if !p.assigned() {
		return out
	}
	out.Wanted = p.Desired
	for i, c := range p.Members {
		if c.Node == p.Primary && p.IsInSync(c) {
			out.Primary = i
		}
		out.Copies = append(out.Copies, placement.Copy{Node: m.copyName(c), Ready: p.IsInSync(c), Present: m.Present(c)})
	}
	return out
}

// copyName is the node's ID, or a name that no node has if the copy is on a
// disk that the node has lost.
func (m *Map) copyName(c Member) string {
	if n := m.Node(c.Node); n != nil && n.Store != c.Store {
		return c.Node + "/" + c.Store
	}
	return c.Node
}
