package clusterkit

import (
	"context"
	"fmt"
)

// Map returns the newest map that this node knows, nil before the first.
func (ck *ClusterKit) Map() *Map { return ck.state.Map() }

// Watch returns a channel that has the newest map: the present one first, and
// then each later one, except those that were replaced before they were taken.
// It is closed when the context ends or the node stops.
func (ck *ClusterKit) Watch(ctx context.Context) <-chan *Map { return ck.watch.watch(ctx) }

// HoldsLease reports whether this node may act in the roles that its newest
// map gives it. It takes no lock and costs one reading of the clock. To serve
// a read, take the value first and ask then.
func (ck *ClusterKit) HoldsLease() bool { return ck.mayAct(ck.Map()) }

// mayAct reports whether this node may act in the roles that this map gives it.
func (ck *ClusterKit) mayAct(m *Map) bool {
	return !ck.stopping.Load() && ck.fatalErr.Load() == nil && ck.session.holdsIn(m)
}

// Self returns this node under the incarnation of its present or next session.
func (ck *ClusterKit) Self() Node {
	n := *ck.self.Load()
	n.Incarnation = ck.session.incarnation.Load()
	if m := ck.Map(); m != nil {
		n.Alive = sessionRef{Node: n.ID, Incarnation: n.Incarnation}.openIn(m)
		if known := m.Node(n.ID); known != nil {
			n.Weight, n.Draining = known.Weight, known.Draining
		}
	}
	return n
}

// sessionRef names the session that this process has opened last.
func (ck *ClusterKit) sessionRef() sessionRef {
	return sessionRef{Node: ck.opts.NodeID, Incarnation: ck.session.incarnation.Load()}
}

// StoreID returns the identity of the application's data on this node. It is
// that of the data directory, and an empty directory gets a new one; with
// VolatileStore each ClusterKit has its own.
func (ck *ClusterKit) StoreID() string { return ck.storeID }

// ProposeInSync asks for another in-sync set. The new set consists of members
// and keeps the primary; only the primary's own node, with ManagedReplication,
// may add to it. It is a compare-and-set and may be repeated. nil means that
// it is committed; this node's map may show it a little later. The errors
// match [ErrStale], [ErrNoLeader] or [ErrUnknown].
func (ck *ClusterKit) ProposeInSync(ctx context.Context, change InSyncChange) error {
	c := inSyncCommand{InSyncChange: change}
	if ck.opts.ManagedReplication {
		c.Proposer = ck.opts.NodeID
	}
	return ck.propose(ctx, c)
}

// Transfer hands the primary of a partition over. From must have stopped to
// act as the primary of this epoch for good, and repeats the call until it
// sees a higher epoch; if it is this node, IsPrimary is false from now on. If To is not in sync or not alive by then, another
// in-sync copy becomes the primary, From's perhaps. The errors are those of
// [ClusterKit.ProposeInSync].
func (ck *ClusterKit) Transfer(ctx context.Context, req TransferRequest) error {
	if m := ck.Map(); m != nil && req.From == ck.opts.NodeID && req.Partition >= 0 && req.Partition < len(m.Partitions) {
		switch p := &m.Partitions[req.Partition]; {
		case p.Epoch < req.Epoch:
			return fmt.Errorf("%w: this node knows epoch %d of %s, not %d yet", ErrNoLeader, p.Epoch, p.ID, req.Epoch)
		case p.Epoch == req.Epoch && p.Primary == req.From:
			ck.handover.giveUp(req.Partition, req.Epoch)
		}
	}
	return ck.propose(ctx, transferCommand{req})
}

// CopyAnew has a copy made anew whose data are damaged: it leaves the in-sync
// set, and its node, which discards the data when it sees that in the map,
// copies them from another. It is refused with [ErrStale] if no other in-sync
// copy is present. It may be repeated. The errors are those of
// [ClusterKit.ProposeInSync].
func (ck *ClusterKit) CopyAnew(ctx context.Context, req CopyAnewRequest) error {
	return ck.propose(ctx, copyAnewCommand{req})
}

func (ck *ClusterKit) propose(ctx context.Context, c command) error {
	if err := ck.running(); err != nil {
		return err
	}
	_, err := ck.proposer.propose(ctx, c)
	return err
}

// running fails before the start and from the stop on.
func (ck *ClusterKit) running() error {
	if ck.stopping.Load() || ck.book.raft.Load() == nil {
		return fmt.Errorf("%w: %w", ErrNoLeader, ErrStopped)
	}
	return nil
}

// published is called by the state machine after each change of the map.
func (ck *ClusterKit) published(prev, next *Map) {
	ck.metrics.seen.observe(prev, next)
	ck.hooks.observe(prev, next)
	ck.events.observe(next)
	ck.watch.publish(next)
	ck.api.changed.notify()
	ck.ready.notify()
}

// joined reports whether the map includes the opening of the present session.
func (ck *ClusterKit) joined(m *Map) bool {
	return ck.sessionRef().openIn(m)
}

func (ck *ClusterKit) serverID() string { return serverID(ck.opts.NodeID, ck.dir.identity().Store) }

func (ck *ClusterKit) appliedIndex() uint64 {
	if r := ck.book.raft.Load(); r != nil {
		return r.AppliedIndex()
	}
	return 0
}
