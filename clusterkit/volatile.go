package clusterkit

import (
	"slices"
	"strings"

	"github.com/google/uuid"
)

// volatilePrefix marks the stores that last no longer than their process, so
// that every copy says of itself whether it can come back.
const volatilePrefix = "volatile-"

// storeOn returns the identity of the application's data on a node with that
// data directory.
func (s settings) storeOn(dir *dataDir) string {
	if s.VolatileStore {
		return volatilePrefix + uuid.NewString()
	}
	return dir.identity().Store
}

// isGone reports whether the copy will never be there again: it was in the
// memory of a process, and its node has another one. A node that is only silent
// may still run with all its data.
func (e *edit) isGone(c Member) bool {
	n := e.node(c.Node)
	return n != nil && n.Store != c.Store && strings.HasPrefix(c.Store, volatilePrefix)
}

// assignLost lets the partitions begin anew that have no in-sync copy any more
// and can get none back: nobody would ever serve them. Copies that were being
// made of what is lost are not continued.
func (e *edit) assignLost() {
	for i := range e.partitions {
		p := &e.partitions[i]
		if p.assigned() && !slices.ContainsFunc(p.InSync, func(c Member) bool { return !e.isGone(c) }) {
			e.assign(i, "begins empty: every process that had its data is gone")
		}
	}
}
