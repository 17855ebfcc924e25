package clusterkit

import "slices"

// sessionRef names one session.
type sessionRef struct {
	Node        string `json:"node"`
	Incarnation uint64 `json:"incarnation"`
}

func (s sessionRef) openIn(m *Map) bool {
	n := m.Node(s.Node)
	return n != nil && n.Alive && n.Incarnation == s.Incarnation
}

// registerCommand opens a session: of a node that joins, of a process that
// started again, or of one whose session was ended.
type registerCommand struct {
	// Node holds what the node says of itself. Its incarnation must be above
	// every earlier one: each is used by one process, for one session, so that
	// a late duplicate can never end a session that came after it.
	Node Node `json:"node"`
	// DropCopies is set where the application does not replicate by itself. The
	// leader then proposes the command only when it knows who is present.
	DropCopies bool `json:"drop_copies,omitempty"`
}

func (registerCommand) kind() commandKind { return kindRegister }

func (c registerCommand) apply(m *Map, _ uint64) (*Map, result) {
	if m == nil {
		return m, refuse(codeNoCluster, "")
	}
	for _, gone := range m.Removed {
		switch {
		case gone.ID != c.Node.ID:
		case gone.RaftID == c.Node.RaftID:
			return m, refuse(codeRefused, "NodeID %q with this DataDir was removed from the cluster: start it with an empty DataDir to let it join again", c.Node.ID)
		case c.Node.Incarnation <= gone.Incarnation:
			return m, result{Code: codeIncarnation, Incarnation: gone.Incarnation}
		}
	}
	e := newEdit(m)
	node := c.Node
	node.Weight = max(1, node.Weight)
	node.Draining, node.Stopping = false, false
	if old := m.Node(c.Node.ID); old != nil {
		// What operators decide of a node lasts longer than its process, and than
		// its disk, until the node is removed.
		node.Weight, node.Draining = old.Weight, old.Draining
		switch {
		case old.Alive && old.Store == c.Node.Store && old.Incarnation == c.Node.Incarnation:
			return m, result{Incarnation: old.Incarnation}
		case old.Alive && old.RaftID != c.Node.RaftID:
			return m, refuse(codeConflict, "node %q is alive as %s", old.ID, old.RaftID)
		case c.Node.Incarnation <= old.Incarnation:
			return m, result{Code: codeIncarnation, Incarnation: old.Incarnation}
		case old.Store != c.Node.Store:
			// The data directory is locked by the new process, or the session had
			// ended: nobody uses the old store.
			e.loseStore(*old)
		case old.Alive:
			e.endSessions([]Node{*old}, c.DropCopies, c.Node.ID+" restarted")
		}
	}
	node.Alive = true
	e.putNode(node)
	for i := range e.partitions {
		if p := &e.partitions[i]; p.Primary == node.ID {
			e.elect(i, p.wantedPrimary(), node.ID+" restarted")
		}
	}
	e.electMissing(node.ID + " returned")
	if c.DropCopies {
		e.dropAbsentFromNewEpochs()
	}
	e.assignLost()
	return e.result(), result{Incarnation: node.Incarnation}
}

// renewCommand renews sessions. It changes nothing: that it was committed in
// the leader's own term is what lets the leader grant the leases.
type renewCommand struct {
	Term     uint64       `json:"term"`
	Sessions []sessionRef `json:"sessions"`
}

func (renewCommand) kind() commandKind { return kindRenew }

func (c renewCommand) apply(m *Map, term uint64) (*Map, result) {
	if m == nil {
		return m, refuse(codeNoCluster, "")
	}
	if c.Term != term {
		return m, refuse(codeNoLeader, "renewed by the leader of term %d in term %d", c.Term, term)
	}
	r := result{Renewed: make([]bool, len(c.Sessions))}
	for i, s := range c.Sessions {
		r.Renewed[i] = s.openIn(m)
	}
	return m, r
}

// prepareStopCommand marks the node of a session that is about to end in order.
type prepareStopCommand struct {
	Session sessionRef `json:"session"`
}

func (prepareStopCommand) kind() commandKind { return kindPrepareStop }

func (c prepareStopCommand) apply(m *Map, _ uint64) (*Map, result) {
	if m == nil {
		return m, refuse(codeNoCluster, "")
	}
	if !c.Session.openIn(m) {
		return m, refuse(codeStale, "the session of %s has ended", c.Session.Node)
	}
	node := *m.Node(c.Session.Node)
	if node.Stopping {
		return m, result{}
	}
	node.Stopping = true
	e := newEdit(m)
	e.putNode(node)
	return e.result(), result{}
}

// endSessionCommand ends sessions and, in the same entry, elects primaries in
// the nodes' places: nobody is elected who goes in the same moment. A leader of
// an earlier term may not end a session: it does not know of the renewals that
// came after it.
type endSessionCommand struct {
	// Term is the leader's, 0 when the node itself says goodbye.
	Term       uint64       `json:"term,omitempty"`
	Sessions   []sessionRef `json:"sessions"`
	DropCopies bool         `json:"drop_copies,omitempty"`
}

// stoppedReason ends the reason of what changes when nodes stop in order.
const stoppedReason = " stopped"

func (endSessionCommand) kind() commandKind { return kindEndSession }

func (c endSessionCommand) apply(m *Map, term uint64) (*Map, result) {
	if m == nil {
		return m, refuse(codeNoCluster, "")
	}
	if c.Term != 0 && c.Term != term {
		return m, refuse(codeStale, "ended by the leader of term %d in term %d", c.Term, term)
	}
	var nodes []Node
	var names []string
	for i, s := range c.Sessions {
		if s.openIn(m) && !slices.Contains(c.Sessions[:i], s) {
			nodes = append(nodes, *m.Node(s.Node))
			names = append(names, s.Node)
		}
	}
	if len(nodes) == 0 {
		return m, result{}
	}
	reason := someOf(names) + stoppedReason
	if c.Term != 0 {
		reason = "lost " + someOf(names)
	}
	e := newEdit(m)
	e.endSessions(nodes, c.DropCopies, reason)
	e.electMissing(reason)
	if c.DropCopies {
		e.dropAbsentFromNewEpochs()
	}
	return e.result(), result{}
}
