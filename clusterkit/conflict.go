package clusterkit

import (
	"errors"
	"time"
)

// nodeIDInUse is the refusal of a node whose ID a live node uses. It matches
// errNodeIDInUse.
type nodeIDInUse struct {
	reason string
	// lease is the cluster's LeaseDuration, 0 if it was not told.
	lease time.Duration
}

func (e nodeIDInUse) Error() string { return e.reason }

func (nodeIDInUse) Unwrap() error { return errNodeIDInUse }

// conflict measures for how long this node's ID has been in use without a
// break. The zero value has seen no conflict.
type conflict struct{ since time.Time }

// electionTime is how long the nodes may take to elect another Raft leader.
const electionTime = 4 * raftElectionTimeout

// conflictGrace is how long a node puts up with its ID being in use. The
// session of its predecessor may have to run out first, a new leader begins to
// count anew, and either may be a little late.
func conflictGrace(lease time.Duration) time.Duration {
	return 2*deposeAfter(lease) + electionTime
}

// outlasts takes the outcome of the next attempt. It reports whether the ID is
// in use for longer than a predecessor in a cluster of that lease can use it.
func (c *conflict) outlasts(outcome error, lease time.Duration) bool {
	if !errors.Is(outcome, errNodeIDInUse) {
		c.since = time.Time{}
		return false
	}
	if c.since.IsZero() {
		c.since = time.Now()
	}
	return time.Since(c.since) > conflictGrace(lease)
}
