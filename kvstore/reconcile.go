package kvstore

import (
	"context"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/migration"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

const (
	// tickEvery is how often the replicas are told the time.
	tickEvery = 25 * time.Millisecond
	// balanceEvery is how often a primary looks whether the map wants another
	// node in its place.
	balanceEvery = 250 * time.Millisecond
	// handOverPatience is how long a hand-over may take to drain before the
	// primary serves on.
	handOverPatience = 2 * time.Second
)

// reconcile brings the replicas in line with each new map, until the context
// ends.
func (n *Node) reconcile(ctx context.Context) {
	maps := n.cluster.Watch(ctx)
	ticker := time.NewTicker(tickEvery)
	defer ticker.Stop()
	balanced := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case m, ok := <-maps:
			if !ok {
				return
			}
			n.follow(m)
		case <-n.dropped:
			if m := n.cluster.Map(); m != nil {
				n.follow(m)
			}
		case <-ticker.C:
			now, leased := time.Since(n.started), n.cluster.HoldsLease()
			for _, r := range n.allReplicas() {
				r.do(func(sm *partition.Replica) {
					sm.Tick(now)
					if !leased {
						sm.SessionInDoubt()
					}
				})
			}
			if time.Since(balanced) >= balanceEvery {
				balanced = time.Now()
				n.balance()
				n.repair()
			}
		}
	}
}

// follow takes a map to the replicas, makes those that are new here and lets
// go of those that have gone.
func (n *Node) follow(m *clusterkit.Map) {
	n.underway.follow(m)
	if err := n.pace.follow(m); err != nil {
		n.log.Error("the throttle in the cluster's metadata cannot be; this node heeds its own", "key", migration.MetadataKey, "err", err)
	}
	if !n.present(m) {
		return
	}
	n.peers.follow(m)
	for i := range m.Partitions {
		if err := n.followPartition(m, &m.Partitions[i]); err != nil {
			n.fail(err)
			return
		}
	}
	n.changed.announce()
}

func (n *Node) followPartition(m *clusterkit.Map, p *clusterkit.Partition) error {
	id := uint32(p.Index)
	self, assigned := m.CurrentMember(p, n.self.Node)
	assigned = assigned && self.Store == n.self.Store
	view := viewOf(m, p)
	n.discardLost(id, self, assigned)
	r := n.replica(id)
	if assigned && n.unusable(r, id, self) {
		assigned = false
		view.Members = slices.DeleteFunc(view.Members, func(c partition.Member) bool { return c == partition.Member(self) })
	}
	if r == nil && assigned {
		var err error
		if r, err = n.newReplica(id, n.releasedBefore(id)); err != nil {
			return err
		}
	}
	if r == nil {
		return nil
	}
	r.do(func(sm *partition.Replica) { sm.Configure(view) })
	if assigned {
		r.incarnation = self.Incarnation
	} else {
		n.release(r)
	}
	return nil
}

// present reports whether the map is of the present: it has a session that
// this process opened. When a node starts, Raft shows it the maps of its past
// again; in those it may not have what it was assigned later.
func (n *Node) present(m *clusterkit.Map) bool {
	node := m.Node(n.self.Node)
	if node == nil || node.Store != n.self.Store {
		return false
	}
	if n.session == 0 && node.Alive && node.Incarnation == n.cluster.Self().Incarnation {
		n.session = node.Incarnation
	}
	return n.session != 0 && node.Incarnation >= n.session
}

// balance hands over primaries that the map wants elsewhere.
func (n *Node) balance() {
	m := n.cluster.Map()
	if m == nil || m.Paused || !n.cluster.HoldsLease() {
		return
	}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if len(p.Desired) == 0 || p.Desired[0] == n.self.Node || p.Primary != n.self.Node {
			continue
		}
		if to, ok := m.CurrentMember(p, p.Desired[0]); ok && staysPresent(m, to) {
			n.handOver(uint32(i), partition.Member(to))
		}
	}
}

func (n *Node) handOver(part uint32, to partition.Member) {
	if r := n.replica(part); r != nil && r.serving.Load() != 0 {
		r.do(func(sm *partition.Replica) { sm.HandOver(to, handOverPatience) })
	}
}
