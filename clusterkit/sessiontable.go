package clusterkit

import (
	"cmp"
	"slices"
	"time"
)

// Sessions are what the leader knows of when a node may still hold a lease.
// The lease inequality: a node counts its lease of length L from before it
// asked for it, the leader counts from after it was granted, and waits
//
//	W >= L * (1+rho)/(1-rho) + delta
//
// where rho bounds the error of each clock's rate, and delta is a margin. So
// the node's lease has run out, in the node's own eyes, before the leader
// gives its partitions to another.
const (
	clockRateErrorPercent = 1
	leaseMargin           = 50 * time.Millisecond
)

// deposeAfter returns W.
func deposeAfter(lease time.Duration) time.Duration {
	return lease*(100+clockRateErrorPercent)/(100-clockRateErrorPercent) + leaseMargin
}

// sessionTable is what the leader of one term knows of the sessions, and all
// that it decides about them: values in, values out. Times are readings of the
// leader's clock. It is not safe for concurrent use.
type sessionTable struct {
	term       uint64
	dropCopies bool
	// lease and wait are L and W.
	lease, wait time.Duration
	// granted is when each open session was renewed last, or first seen.
	granted map[sessionRef]time.Duration
	// applied holds the last reported Raft index of each session.
	applied map[sessionRef]uint64
	// heard is when each session was renewed last, or began, in this term.
	heard map[sessionRef]time.Duration
	// returned is when each node first asked to be registered again while its
	// session before was open.
	returned map[sessionRef]time.Duration
	// turn is when the leader looked for silent sessions last.
	turn time.Duration
}

// newSessionTable begins a term. The map is the one that the leader has when
// its own barrier has committed, and the clock is read after that: earlier
// leaders may have granted leases until then, so all sessions count from now.
func newSessionTable(term uint64, m *Map, now time.Duration, dropCopies bool) *sessionTable {
	t := &sessionTable{
		term:       term,
		dropCopies: dropCopies,
		lease:      m.Config.LeaseDuration,
		wait:       deposeAfter(m.Config.LeaseDuration),
		granted:    make(map[sessionRef]time.Duration),
		applied:    make(map[sessionRef]uint64),
		heard:      make(map[sessionRef]time.Duration),
		returned:   make(map[sessionRef]time.Duration),
		turn:       now,
	}
	t.follow(m, now)
	clear(t.heard)
	return t
}

// follow takes up the sessions that are open in the map, as if granted now,
// and forgets the others.
func (t *sessionTable) follow(m *Map, now time.Duration) {
	for s := range t.granted {
		if !s.openIn(m) {
			delete(t.granted, s)
			delete(t.applied, s)
			delete(t.heard, s)
		}
	}
	for s := range t.returned {
		if n := m.Node(s.Node); n == nil || !n.Alive || n.Incarnation >= s.Incarnation {
			delete(t.returned, s)
		}
	}
	for _, n := range m.Nodes {
		s := sessionRef{Node: n.ID, Incarnation: n.Incarnation}
		if _, known := t.granted[s]; n.Alive && !known {
			t.granted[s], t.heard[s] = now, now
		}
	}
}

// renewal returns the entry that renews the sessions of the requests.
func (t *sessionTable) renewal(requests []renewRequest) renewCommand {
	c := renewCommand{Term: t.term}
	for _, req := range requests {
		c.Sessions = append(c.Sessions, req.Session)
	}
	return c
}

// renewed takes the outcome of that entry, and returns the answer to each
// request. The map and, after it, the clock are read when the outcome is known.
func (t *sessionTable) renewed(requests []renewRequest, verdict result, err error, m *Map, now time.Duration) []renewResponse {
	t.follow(m, now)
	answers := make([]renewResponse, len(requests))
	for i, req := range requests {
		answers[i] = renewResponse{Lease: t.lease, Again: nextBeat(now, t.lease/renewalsPerLease)}
		switch {
		case err != nil:
			answers[i] = renewResponse{Code: codeOf(err), Message: err.Error()}
		case verdict.Renewed[i]:
			answers[i].Open = true
			t.granted[req.Session] = now
			t.applied[req.Session] = max(t.applied[req.Session], req.Applied)
			t.heard[req.Session] = now
		}
	}
	return answers
}

// ending returns the entry that ends the sessions that have been silent for W,
// and whether there are any. The map is read before the clock. Who was not heard
// while the leader stood still itself, after a slow write or a pause, was
// perhaps not silent: all get as much more time, which is always safe.
func (t *sessionTable) ending(m *Map, now time.Duration) (endSessionCommand, bool) {
	if pause := now - t.turn; pause > t.wait/2 {
		for s := range t.granted {
			t.granted[s] += pause
		}
	}
	t.turn = now
	t.follow(m, now)
	expired := t.expired(now)
	return endSessionCommand{Term: t.term, Sessions: expired, DropCopies: t.dropCopies}, len(expired) > 0
}

// expired returns the sessions that may be ended now, in order.
func (t *sessionTable) expired(now time.Duration) []sessionRef {
	var out []sessionRef
	for s, g := range t.granted {
		if now >= g+t.wait {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b sessionRef) int { return cmp.Compare(a.Node, b.Node) })
	return out
}

// look returns how long until the leader has to look for silent sessions again.
// It looks often enough to notice that it stood still.
func (t *sessionTable) look(now time.Duration) time.Duration {
	next := t.wait / 8
	for _, g := range t.granted {
		next = min(next, max(0, g+t.wait-now))
	}
	return next
}

// knowsOthers reports whether enough is known to register the node where that
// drops copies: its return ends no session, or every other session that the map
// shows open was heard since the node first asked. The map then says truly who
// is present, and the node's copies are not given up for those of one that is
// gone as well.
func (t *sessionTable) knowsOthers(m *Map, registering Node, now time.Duration) bool {
	if n := m.Node(registering.ID); n == nil || !n.Alive || n.Incarnation == registering.Incarnation {
		return true
	}
	returned := sessionRef{Node: registering.ID, Incarnation: registering.Incarnation}
	asked, known := t.returned[returned]
	if !known {
		asked = now
		t.returned[returned] = now
	}
	return !slices.ContainsFunc(m.Nodes, func(n Node) bool {
		heard, ok := t.heard[sessionRef{Node: n.ID, Incarnation: n.Incarnation}]
		return n.ID != registering.ID && n.Alive && (!ok || heard < asked)
	})
}

// nextBeat returns when to renew again, so that all nodes do at the same time:
// in one interval, give or take a half.
func nextBeat(now, interval time.Duration) time.Duration {
	next := interval - now%interval
	if next < interval/2 {
		next += interval
	}
	return next
}
