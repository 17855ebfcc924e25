package clusterkit

import (
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

// sessionTable is the leader's record of one term. Times are readings of the
// leader's clock. It is not safe for concurrent use.
type sessionTable struct {
	granted map[sessionRef]time.Duration
	applied map[sessionRef]uint64
}

func newSessionTable() *sessionTable {
	return &sessionTable{granted: make(map[sessionRef]time.Duration), applied: make(map[sessionRef]uint64)}
}

// follow takes up the sessions that are open in the map, as if granted now,
// and forgets the others.
func (t *sessionTable) follow(m *Map, now time.Duration) {
	for s := range t.granted {
		if !s.openIn(m) {
			delete(t.granted, s)
			delete(t.applied, s)
		}
	}
	for _, n := range m.Nodes {
		s := sessionRef{Node: n.ID, Incarnation: n.Incarnation}
		if _, known := t.granted[s]; n.Alive && !known {
			t.granted[s] = now
		}
	}
}

// renewed notes that a renewal was committed by now.
func (t *sessionTable) renewed(s sessionRef, now time.Duration, applied uint64) {
	t.granted[s] = now
	t.applied[s] = max(t.applied[s], applied)
}

// postpone gives every node more time, when the leader itself stood still and
// could not hear them.
func (t *sessionTable) postpone(by time.Duration) {
	for s := range t.granted {
		t.granted[s] += by
	}
}

// expired returns the sessions that may be ended now.
func (t *sessionTable) expired(now, wait time.Duration) []sessionRef {
	var out []sessionRef
	for s, g := range t.granted {
		if now >= g+wait {
			out = append(out, s)
		}
	}
	return out
}

// nextExpiry returns how long until a session can expire, at most wait.
func (t *sessionTable) nextExpiry(now, wait time.Duration) time.Duration {
	next := wait
	for _, g := range t.granted {
		next = min(next, max(0, g+wait-now))
	}
	return next
}
