package clusterkit

import "slices"

// desireCommand records where the planner wants the copies. A partition that
// was never assigned is assigned in the same entry.
type desireCommand struct {
	Term    uint64   `json:"term"`
	Desired []desire `json:"desired"`
}

type desire struct {
	Partition int      `json:"partition"`
	Nodes     []string `json:"nodes"`
}

func (desireCommand) kind() commandKind { return kindDesire }

func (c desireCommand) apply(m *Map, term uint64) (*Map, result) {
	if refused := refusePlan(m, c.Term, term); refused.Code != codeOK {
		return m, refused
	}
	e := newEdit(m)
	for _, d := range c.Desired {
		if d.Partition < 0 || d.Partition >= len(m.Partitions) {
			continue
		}
		if !slices.Equal(e.partitions[d.Partition].Desired, d.Nodes) {
			e.partition(d.Partition).Desired = slices.Clone(d.Nodes)
		}
		if !e.partitions[d.Partition].assigned() {
			e.assign(d.Partition, "first assignment")
		}
	}
	e.assignLost()
	return e.result(), result{}
}

// movesCommand takes steps of the way from the copies there are to those that
// are desired. A step whose partition has changed since it was decided is left
// out.
type movesCommand struct {
	Term  uint64 `json:"term"`
	Steps []move `json:"steps"`
}

// move assigns a copy to a node, as a learner, or releases a copy.
type move struct {
	Partition int    `json:"partition"`
	Epoch     uint64 `json:"epoch"`
	Version   uint64 `json:"version"`
	// Learner is the node to assign to, "" in a release.
	Learner string `json:"learner,omitempty"`
	// Release is the copy to release.
	Release Member `json:"release,omitzero"`
}

func (movesCommand) kind() commandKind { return kindMoves }

func (c movesCommand) apply(m *Map, term uint64) (*Map, result) {
	if refused := refusePlan(m, c.Term, term); refused.Code != codeOK {
		return m, refused
	}
	e := newEdit(m)
	for _, step := range c.Steps {
		p, _ := partitionAt(m, step.Partition)
		if p == nil || p.Epoch != step.Epoch || p.Version != step.Version {
			continue
		}
		if step.Learner != "" {
			e.addLearner(step.Partition, step.Learner)
		} else {
			e.release(step.Partition, step.Release)
		}
	}
	return e.result(), result{}
}

func (e *edit) addLearner(i int, nodeID string) {
	n := e.node(nodeID)
	if n == nil || !n.Alive {
		return
	}
	if _, ok := e.partitions[i].member(nodeID, n.Store); ok {
		return
	}
	p := e.partition(i)
	touch(p, "copy assigned to "+nodeID)
	p.Members = append(slices.Clone(p.Members), Member{Node: nodeID, Store: n.Store, Incarnation: p.Version})
}

// release never takes the primary's copy, nor the last present one in sync.
func (e *edit) release(i int, released Member) {
	p := &e.partitions[i]
	rest := withoutMember(p.InSync, released)
	if released.Node == p.Primary || !p.IsMember(released) || !slices.ContainsFunc(rest, e.present) {
		return
	}
	p = e.partition(i)
	touch(p, "copy on "+released.Node+" released")
	p.Members = withoutMember(p.Members, released)
	p.InSync = rest
}

// refusePlan keeps out what the controller of an earlier term decided.
func refusePlan(m *Map, decided, term uint64) result {
	switch {
	case m == nil:
		return refuse(codeNoCluster, "")
	case decided != term:
		return refuse(codeStale, "decided in term %d, not %d", decided, term)
	default:
		return result{}
	}
}
