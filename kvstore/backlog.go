package kvstore

import (
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// What the log holds when a learner begins to catch up goes at the rate for
// copies, as a snapshot does. What is written meanwhile is not bounded: if
// clients write faster than copies may go, the learner would never be there.

// catchesUp reports whether the member is a learner that has not been given
// what the log held when it began.
func (r *replica) catchesUp(to partition.Member) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if slices.Contains(r.sm.View().InSync, to) {
		delete(r.backlogs, to)
		return false
	}
	end, known := r.backlogs[to]
	if !known {
		if r.backlogs == nil {
			r.backlogs = map[partition.Member]uint64{}
		}
		end = r.sm.Last().LSN
		r.backlogs[to] = end
	}
	return end > 0
}

// nextAtRate is next, but holds entries back while the rate is used up.
func (r *replica) nextAtRate(to partition.Member) (partition.Message, bool) {
	n := r.node
	wait := n.pace.debt()
	if wait > 0 && r.lacksCopies() {
		wait = 0
	}
	r.mu.Lock()
	r.sm.Hold(to, wait > 0)
	r.mu.Unlock()
	if wait > 0 {
		time.AfterFunc(wait, func() {
			n.peers.ready(r.id, to)
			n.peers.flush()
		})
	}
	m, _, ok := r.next(to, true)
	if !ok || len(m.Entries) == 0 {
		return m, ok
	}
	size := 0
	for i := range m.Entries {
		size += len(m.Entries[i].Data)
	}
	n.pace.owe(size)
	n.metrics.migrated.out.Add(float64(size))
	r.mu.Lock()
	defer r.mu.Unlock()
	if end, known := r.backlogs[to]; known && m.Entries[len(m.Entries)-1].LSN >= end {
		r.backlogs[to] = 0
	}
	return m, true
}

// lacksCopies reports whether the partition takes no writes until a learner is
// there.
func (r *replica) lacksCopies() bool {
	m := r.node.cluster.Map()
	return completeCopies(m, &m.Partitions[r.id]) < m.Config.MinInSync
}

// completeCopies counts those that are in sync and present.
func completeCopies(m *clusterkit.Map, p *clusterkit.Partition) int {
	n := 0
	for _, c := range p.InSync {
		if m.Present(c) {
			n++
		}
	}
	return n
}
