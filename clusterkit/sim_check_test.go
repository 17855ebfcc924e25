package clusterkit

import (
	"slices"
	"strings"
	"time"
)

const (
	// simLongestDelay bounds how long a message or a step may be under way.
	simLongestDelay = 3 * time.Second
	// simLivenessBound is how long a healed cluster may take until everything
	// serves and rests.
	simLivenessBound = 20 * time.Second
)

// check holds the nodes, at this instant of true time, to what they promise:
// where IsPrimary would be true, that node is the primary in the committed map,
// in the same epoch, and has all that was acknowledged.
func (w *simWorld) check() {
	for _, n := range w.nodes {
		if !n.mayAct() {
			continue
		}
		for i := range n.m.Partitions {
			if n.leads(i) {
				w.checkPrimary(n, i)
			}
		}
	}
}

// checkPrimary: the committed map has one primary, so no other node can be one.
func (w *simWorld) checkPrimary(n *simNode, i int) {
	p, committed, writes := &n.m.Partitions[i], &w.raft.state.Partitions[i], &w.writes[i]
	if committed.Primary != n.name || committed.Epoch != p.Epoch {
		w.violate("%s is the primary of %s in epoch %d, but that is %s, in epoch %d", n.name, p.ID, p.Epoch, committed.Primary, committed.Epoch)
	}
	if writes.checked < p.Epoch {
		writes.checked = p.Epoch
		if id, lost := n.data[i].missing(writes.acked); lost {
			w.violate("%s is the primary of %s in epoch %d, and has not got write %d that was acknowledged", n.name, p.ID, p.Epoch, id)
		}
	}
}

// committed holds a change of the map to what the state machine promises.
func (w *simWorld) committed(prev, next *Map, c command) {
	if next.Version != prev.Version+1 {
		w.violate("%T: version %d of the map follows %d", c, next.Version, prev.Version)
	}
	for i := range next.Partitions {
		was, is := &prev.Partitions[i], &next.Partitions[i]
		if is.Epoch < was.Epoch || is.Version < was.Version {
			w.violate("%T: %s goes from epoch %d version %d to %d and %d", c, is.ID, was.Epoch, was.Version, is.Epoch, is.Version)
		}
		if is.Version != was.Version {
			w.say("%s epoch %d version %d primary %s in sync %s, members %s: %s", is.ID, is.Epoch, is.Version, is.Primary, simMembers(is.InSync), simMembers(is.Members), is.Reason)
		}
		if !w.opt.managed && w.opt.broken == "" {
			w.complete(is, next)
		}
		if is.Began != was.Began {
			w.beginsEmpty(was, is)
		} else if is.Epoch != was.Epoch && is.Primary != "" {
			w.elected(was, is, next, c)
		}
	}
	w.orderedFor(prev, next, c)
	switch c := c.(type) {
	case endSessionCommand:
		w.result.endings++
		w.mix(uint64(len(c.Sessions)))
	case registerCommand:
		w.mix(c.Node.Incarnation)
	}
}

// orderedFor: a node is drained by an order, and by none for another node.
func (w *simWorld) orderedFor(prev, next *Map, c command) {
	order, _ := c.(drainCommand)
	for _, is := range next.Nodes {
		was := prev.Node(is.ID)
		before := was != nil && was.Draining
		if is.Draining && !before && (order.Node != is.ID || order.RaftID != "" && order.RaftID != is.RaftID) {
			w.violate("%T: %s is drained, which nobody has ordered", c, is.RaftID)
		}
	}
}

// complete: where copies are dropped, none is in sync that misses what a
// primary writes.
func (w *simWorld) complete(p *Partition, m *Map) {
	if n := m.Node(p.Primary); n == nil || !n.Alive {
		return
	}
	for _, c := range p.InSync {
		if !m.Present(c) {
			w.violate("%s has primary %s, and counts %s as in sync, which is away", p.ID, p.Primary, c.Node)
		}
	}
}

// elected: a primary is there, and was in sync before or has come to be with
// this very entry.
func (w *simWorld) elected(was, is *Partition, m *Map, c command) {
	w.result.epochs++
	added := false
	switch c.(type) {
	case acknowledgeCommand, inSyncCommand:
		added = true
	}
	copied, ok := m.CurrentMember(is, is.Primary)
	if !ok || !m.Present(copied) || !is.IsInSync(copied) || !was.IsInSync(copied) && !added {
		w.violate("%T: %s is elected for %s in epoch %d, in sync were %s", c, is.Primary, is.ID, is.Epoch, simMembers(was.InSync))
	}
}

// beginsEmpty: a partition begins anew only when everything of it is gone.
func (w *simWorld) beginsEmpty(was, is *Partition) {
	for _, c := range was.InSync {
		if n := w.named(c.Node); n.up && n.store == c.Store {
			w.violate("%s begins empty, but %s runs with all its data", is.ID, n.name)
		}
	}
	w.writes[is.Index].acked = nil
}

// heal ends all faults: everybody runs, and reaches everybody.
func (w *simWorld) heal() {
	w.say("healed")
	w.healing = true
	clear(w.cuts)
	w.raft.slow = 0
	for _, n := range w.nodes {
		n.paused, n.lag = min(n.paused, w.now), 0
		if !n.up {
			n.start()
		}
	}
	w.resume()
}

// settled reports whether everything serves and rests.
func (w *simWorld) settled() bool { return w.unsettled() == "" }

func (w *simWorld) checkSettled() {
	if reason := w.unsettled(); reason != "" {
		w.violate("healed, but %s", reason)
	}
	for i := range w.raft.state.Partitions {
		if p := &w.raft.state.Partitions[i]; !slices.ContainsFunc(p.InSync, w.raft.state.Present) {
			w.result.lost++
		}
	}
}

func (w *simWorld) unsettled() string {
	m := w.raft.state
	for _, n := range w.nodes {
		if ref := (sessionRef{Node: n.name, Incarnation: n.session}); !ref.openIn(m) || m.Node(n.name).Store != n.store {
			return n.name + " has no session"
		}
	}
	if m.Paused {
		return "moves are paused"
	}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if p.assigned() && !slices.ContainsFunc(p.InSync, m.Present) {
			continue // every disk with its data is gone
		}
		primary := w.named(p.Primary)
		switch {
		case primary == nil || !primary.isPrimary(i):
			return p.ID + " has no primary that holds its lease"
		case !p.settled(m):
			return strings.Join([]string{p.ID, "does not rest: primary", p.Primary, "in sync", simMembers(p.InSync), "members", simMembers(p.Members), "wanted"}, " ") + " " + strings.Join(p.Desired, " ")
		}
	}
	if steps := nextMoves(m); len(steps) > 0 {
		return m.Partitions[steps[0].Partition].ID + " has a move left"
	}
	return ""
}
