package clusterkit

import (
	"errors"
	"time"
)

// lease is the right to act in a session, until the node's clock reads so much.
type lease struct {
	session sessionRef
	until   time.Duration
}

// holdsIn reports whether the node may act in the roles that it has in the map,
// nil for none. The map must show the session of the lease open: it then
// includes the entry that opened it, and with it every change of this node's
// roles that came before. The clock is read last, so that whatever the caller
// has checked before was so while the lease held.
func (l lease) holdsIn(m *Map, now time.Duration) bool {
	return m != nil && l.session.openIn(m) && now < l.until
}

// tenure is what a node knows of its own sessions, and all that it decides
// about them: values in, values out. It opens one, renews it until it was
// ended, and goes on to the next, under a number that none had before.
type tenure struct {
	// session is the one that is open, or is to be opened. Its incarnation must
	// be on disk before it is used.
	session sessionRef
	open    bool
	// lease is the last that was granted.
	lease lease
}

// newTenure begins with the first session of a process; last is the highest
// incarnation that its disk has.
func newTenure(node string, last uint64) tenure {
	return tenure{session: sessionRef{Node: node, Incarnation: last + 1}}
}

// registered takes the outcome of registering under the session's incarnation.
// Where that is not open then, the node registers again: under a higher one if
// the leader knows of one that was used, else under the same, also when the
// outcome is not known.
func (t *tenure) registered(verdict result, err error) {
	switch {
	case err == nil:
		t.open = true
	case errors.Is(err, errStaleIncarnation):
		t.session.Incarnation = max(t.session.Incarnation, verdict.Incarnation) + 1
	}
}

// renewed takes the answer to a renewal of the open session. The clock read
// asked before the request was made: the leader grants the lease after that.
func (t *tenure) renewed(asked time.Duration, resp renewResponse) {
	if !resp.Open {
		t.open = false
		t.session.Incarnation++
		return
	}
	t.lease = lease{session: t.session, until: asked + resp.Lease}
}
