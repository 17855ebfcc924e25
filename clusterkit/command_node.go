package clusterkit

import (
	"slices"
	"strings"
)

// maxRemoved bounds the memory of removed nodes.
const maxRemoved = 1024

// drainCommand begins or ends the draining of a node.
type drainCommand struct {
	Node string `json:"node"`
	// RaftID is that of the node that is meant: another one that has joined
	// under its ID since is left alone. "" is whichever there is.
	RaftID string `json:"raft_id,omitempty"`
	Drain  bool   `json:"drain"`
}

func (drainCommand) kind() commandKind { return kindDrain }

func (c drainCommand) apply(m *Map, _ uint64) (*Map, result) {
	n, bad := nodeMeant(m, c.Node, c.RaftID)
	if n == nil {
		return m, bad
	}
	if n.Draining == c.Drain {
		return m, result{}
	}
	if others := m.placeable(n.ID); c.Drain && others < m.Config.ReplicationFactor {
		return m, refuse(codeRefusedChange, "%d copies of each partition need as many nodes that are up and not drained, without %s there are %d: add a node first, or reduce the replication factor",
			m.Config.ReplicationFactor, n.ID, others)
	}
	changed := *n
	changed.Draining = c.Drain
	e := newEdit(m)
	e.putNode(changed)
	return e.result(), result{}
}

// placeable counts the nodes that are up and not drained, other than this one.
func (m *Map) placeable(except string) int {
	count := 0
	for _, n := range m.Nodes {
		if n.Alive && !n.Draining && n.ID != except {
			count++
		}
	}
	return count
}

// weightCommand changes the weight of a node.
type weightCommand struct {
	Node   string `json:"node"`
	Weight int    `json:"weight"`
}

func (weightCommand) kind() commandKind { return kindWeight }

func (c weightCommand) apply(m *Map, _ uint64) (*Map, result) {
	n, bad := nodeAt(m, c.Node)
	if n == nil {
		return m, bad
	}
	if c.Weight < 1 || c.Weight > maxWeight {
		return m, refuse(codeBadRequest, "a weight of %d is out of range: use 1 to %d, or drain the node", c.Weight, maxWeight)
	}
	if n.Weight == c.Weight {
		return m, result{}
	}
	changed := *n
	changed.Weight = c.Weight
	e := newEdit(m)
	e.putNode(changed)
	return e.result(), result{}
}

// removeCommand removes a node for good. A node that is up must be empty. One
// that is down loses its copies with it, but never the last complete one.
type removeCommand struct {
	Node string `json:"node"`
	// RaftID is as that of a drainCommand.
	RaftID string `json:"raft_id,omitempty"`
}

func (removeCommand) kind() commandKind { return kindRemove }

func (c removeCommand) apply(m *Map, _ uint64) (*Map, result) {
	n, bad := nodeMeant(m, c.Node, c.RaftID)
	if n == nil {
		if m != nil && slices.ContainsFunc(m.Removed, func(gone RemovedNode) bool { return c.did(m, gone) }) {
			return m, result{}
		}
		return m, bad
	}
	var held, last []string
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if _, ok := p.MemberOf(n.ID); !ok {
			continue
		}
		held = append(held, p.ID)
		if !slices.ContainsFunc(p.InSync, func(copied Member) bool { return copied.Node != n.ID }) {
			last = append(last, p.ID)
		}
	}
	switch {
	case n.Alive && len(held) > 0:
		return m, refuse(codeRefusedChange, "%s is up and still holds %d copies (%s): drain it first", n.ID, len(held), someOf(held))
	case len(last) > 0:
		return m, refuse(codeRefusedChange, "%s has the last complete copy of %s: start it again, or accept the loss of their data first", n.ID, someOf(last))
	}
	e := newEdit(m)
	e.removeNode(*n)
	return e.result(), result{}
}

// did reports whether this removal is what was asked for: that of the node that
// is meant, or of any of its ID if there is none now.
func (c removeCommand) did(m *Map, gone RemovedNode) bool {
	return gone.RaftID == c.RaftID || gone.ID == c.Node && m.Node(c.Node) == nil
}

// someOf lists the first few.
func someOf(names []string) string {
	const shown = 3
	if len(names) <= shown {
		return strings.Join(names, ", ")
	}
	return strings.Join(names[:shown], ", ") + ", ..."
}

// forceCommand makes a node the primary of a partition although it has no
// complete copy, because every node that has one is gone.
type forceCommand struct {
	Partition int    `json:"partition"`
	Epoch     uint64 `json:"epoch"`
	Node      string `json:"node"`
}

func (forceCommand) kind() commandKind { return kindForce }

func (c forceCommand) apply(m *Map, _ uint64) (*Map, result) {
	p, bad := partitionAt(m, c.Partition)
	if p == nil {
		return m, bad
	}
	n, bad := nodeAt(m, c.Node)
	if n == nil {
		return m, bad
	}
	switch {
	case p.Epoch != c.Epoch:
		return m, refuse(codeStale, "%s is at epoch %d, not %d", p.ID, p.Epoch, c.Epoch)
	case !n.Alive:
		return m, refuse(codeRefusedChange, "%s is down: choose a node that is up", n.ID)
	case slices.ContainsFunc(p.InSync, m.Present):
		return m, refuse(codeRefusedChange, "%s has a complete copy on a node that is up: nothing needs to be lost", p.ID)
	}
	e := newEdit(m)
	e.force(c.Partition, *n)
	return e.result(), result{}
}

// nodeAt returns the node, or nil and the refusal.
func nodeAt(m *Map, id string) (*Node, result) {
	if m == nil {
		return nil, refuse(codeNoCluster, "")
	}
	n := m.Node(id)
	if n == nil {
		return nil, refuse(codeNoNode, "%q: the nodes are %s", id, someOf(m.nodeIDs()))
	}
	return n, result{}
}

// nodeMeant is nodeAt for a change of the node that has this data directory, ""
// for any.
func nodeMeant(m *Map, id, raftID string) (*Node, result) {
	n, bad := nodeAt(m, id)
	if n != nil && raftID != "" && n.RaftID != raftID {
		return nil, refuse(codeStale, "%s is %s now, not %s", id, n.RaftID, raftID)
	}
	return n, bad
}

func (m *Map) nodeIDs() []string {
	ids := make([]string, len(m.Nodes))
	for i, n := range m.Nodes {
		ids[i] = n.ID
	}
	return ids
}
