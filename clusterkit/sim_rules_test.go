package clusterkit

import (
	"slices"
	"time"
)

// simRule names a rule that a run breaks on purpose, "" for none. The rules are
// broken around the code that keeps them, so no build of the package can.
type simRule string

const (
	breakWait        simRule = "the leader does not wait W"
	breakBarrier     simRule = "a new leader counts no session from its barrier"
	breakAsked       simRule = "the lease counts from the answer"
	breakRate        simRule = "W ignores the error of clocks"
	breakDeposed     simRule = "a deposed session is renewed"
	breakMap         simRule = "the lease counts in any map"
	breakTerm        simRule = "a session is ended by the leader of an earlier term"
	breakGiveUp      simRule = "handed over without giving up first"
	breakInSync      simRule = "elected outside the in-sync set"
	breakIncarnation simRule = "an incarnation is used for two sessions"
	breakKeep        simRule = "copies that miss writes stay in sync"
	breakAssignment  simRule = "the acknowledgement of an earlier assignment counts"
	breakSelf        simRule = "a node that joins says itself whether it is drained"
	breakOrder       simRule = "an order for a node counts for the next of its ID"
)

// begun breaks what the leader knows at the beginning of its term.
func (r simRule) begun(t *sessionTable) {
	switch r {
	case breakWait:
		t.wait = t.lease / 2
	case breakRate:
		t.wait = t.lease
	case breakBarrier:
		for s := range t.granted {
			t.granted[s] -= t.wait
		}
	}
}

// asked returns from when the node counts its lease.
func (r simRule) asked(asked, answered time.Duration) time.Duration {
	if r == breakAsked {
		return answered
	}
	return asked
}

// renewed breaks the verdict on a renewal.
func (r simRule) renewed(verdict result) result {
	if r == breakDeposed {
		verdict.Renewed = slices.Clone(verdict.Renewed)
		for i := range verdict.Renewed {
			verdict.Renewed[i] = true
		}
	}
	return verdict
}

// ended returns what a node whose session was ended goes on with.
func (r simRule) ended(t tenure, was sessionRef) tenure {
	if r == breakIncarnation {
		t.session = was
	}
	return t
}

// holds reports whether the node takes its lease to hold.
func (r simRule) holds(n *simNode, l lease) bool {
	if r == breakMap {
		return n.clock() < l.until
	}
	return l.holdsIn(n.m, n.clock())
}

// apply is the state machine.
func (r simRule) apply(c command, m *Map, term uint64) (*Map, result) {
	switch c := c.(type) {
	case endSessionCommand:
		if r == breakTerm && c.Term != 0 {
			c.Term = term
		}
		c.DropCopies = c.DropCopies && r != breakKeep
		return r.elect(m)(c.apply(m, term))
	case acknowledgeCommand:
		if now, ok := m.CurrentMember(&m.Partitions[c.Partition], c.Member.Node); ok && r == breakAssignment {
			c.Member = now
		}
		return c.apply(m, term)
	case drainCommand:
		if r == breakOrder {
			c.RaftID = ""
		}
		return c.apply(m, term)
	case registerCommand:
		c.DropCopies = c.DropCopies && r != breakKeep
		if r == breakSelf && m.Node(c.Node.ID) == nil {
			next, verdict := c.apply(m, term)
			if next != m {
				next.Node(c.Node.ID).Draining = c.Node.Draining
			}
			return next, verdict
		}
		if r == breakIncarnation {
			if n := m.Node(c.Node.ID); n != nil && !n.Alive && n.Incarnation == c.Node.Incarnation {
				forgot := *m
				forgot.Nodes = slices.Clone(m.Nodes)
				forgot.Node(c.Node.ID).Incarnation--
				return c.apply(&forgot, term)
			}
		}
		return c.apply(m, term)
	}
	return c.apply(m, term)
}

// elect prefers members that are not in sync.
func (r simRule) elect(prev *Map) func(*Map, result) (*Map, result) {
	return func(next *Map, verdict result) (*Map, result) {
		if r != breakInSync || next == prev {
			return next, verdict
		}
		e := newEdit(next)
		for i := range next.Partitions {
			p := &next.Partitions[i]
			if p.Epoch == prev.Partitions[i].Epoch {
				continue
			}
			for _, c := range p.Members {
				if next.Present(c) && !p.IsInSync(c) {
					changed := e.partition(i)
					changed.Primary, changed.InSync = c.Node, append(slices.Clone(p.InSync), c)
				}
			}
		}
		next.Partitions = e.partitions
		return next, verdict
	}
}
