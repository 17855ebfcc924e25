package clusterkit

import (
	"context"
	"errors"
	"fmt"
)

// Drain has the copies of a node moved to others, and gives it no new ones. It
// returns when that is decided; [ClusterKit.Moves] shows how far it is. The
// node stays in the cluster, also over restarts, until [ClusterKit.Undrain] or
// [ClusterKit.Remove]. It is refused when the other nodes could not hold
// as many copies as there are to be.
//
// Drain may be repeated, and called on any node. Its errors match [ErrRefused],
// [ErrNoLeader] or [ErrUnknown], as those of the methods below.
//
// The node may be named by its [Node.RaftID] instead of its ID. A call that
// comes late then never hits another node that has joined under the same ID
// meanwhile: it fails with [ErrStale].
func (ck *ClusterKit) Drain(ctx context.Context, node string) error {
	_, err := ck.changeNode(ctx, "drain", node, drainOf(true))
	return err
}

// Undrain ends a drain: the node gets its share of the copies again. It takes
// the names that [ClusterKit.Drain] takes.
func (ck *ClusterKit) Undrain(ctx context.Context, node string) error {
	_, err := ck.changeNode(ctx, "undrain", node, drainOf(false))
	return err
}

func drainOf(drain bool) func(id, raftID string) command {
	return func(id, raftID string) command { return drainCommand{Node: id, RaftID: raftID, Drain: drain} }
}

// SetWeight changes the capacity of a node relative to the others', 1 to 1000.
// It outlasts restarts of the node.
func (ck *ClusterKit) SetWeight(ctx context.Context, nodeID string, weight int) error {
	return ck.change(ctx, "set the weight of "+nodeID, weightCommand{Node: nodeID, Weight: weight})
}

// Remove removes a node for good: its data directory is never let in again.
// A node that is up has to be empty; one that is down is given up with its
// copies, which are made anew elsewhere at once. It is refused when the node
// has the last complete copy of a partition. To remove a node that was removed
// already changes nothing. It takes the names that [ClusterKit.Drain] takes.
func (ck *ClusterKit) Remove(ctx context.Context, node string) error {
	_, err := ck.changeNode(ctx, "remove", node, removal)
	return err
}

func removal(id, raftID string) command { return removeCommand{Node: id, RaftID: raftID} }

// Decommission drains a node, waits until it is empty, and removes it. When
// the context ends before, or no leader can be reached, the error matches
// [ErrDraining]: the drain goes on, and the call may be repeated. It takes the
// names that [ClusterKit.Drain] takes; by ID it is of the node that has the ID
// when the drain begins, to the end.
func (ck *ClusterKit) Decommission(ctx context.Context, node string) error {
	raftID, err := ck.changeNode(ctx, "drain", node, drainOf(true))
	id := nodeIDOf(raftID)
	if errors.Is(err, ErrNoNode) || errors.Is(err, ErrStale) && raftID != "" {
		// It may have been removed by an earlier call. One that joins under the ID
		// now is another.
		return ck.change(ctx, "remove "+node, removal(id, raftID))
	}
	if err != nil {
		return err
	}
	copies := 0
	for m := range ck.Watch(ctx) {
		if n := m.Node(id); n != nil && n.RaftID == raftID {
			if copies = m.copiesOn(id); copies > 0 {
				continue
			}
		}
		switch err := ck.Remove(ctx, raftID); {
		case errors.Is(err, ErrNoLeader):
			return fmt.Errorf("decommission %s: %w: %w", node, ErrDraining, err)
		case !errors.Is(err, ErrRefused) || m.Node(id) == nil:
			return err
		}
		// A copy was assigned to it meanwhile, before the drain was known.
	}
	return fmt.Errorf("decommission %s: it still holds %d copies, %w: %w", node, copies, ErrDraining, ck.ended(ctx))
}

// ended says why a watch has.
func (ck *ClusterKit) ended(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return ErrStopped
}

// changeNode proposes a change of one node, and returns the Raft ID of that
// which it was made to. A node that is named by its ID is the one that the state
// machine has under it, although this node's map may not show it yet.
func (ck *ClusterKit) changeNode(ctx context.Context, verb, node string, of func(id, raftID string) command) (string, error) {
	operation := verb + " " + node
	id := nodeIDOf(node)
	if id != node {
		return node, ck.change(ctx, operation, of(id, node))
	}
	if err := ck.running(); err != nil {
		return "", fmt.Errorf("%s: %w", operation, err)
	}
	if ck.Map() == nil {
		return "", fmt.Errorf("%s: %w: this node has no map yet", operation, ErrNoLeader)
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	stale, tried := error(nil), ""
	for m := range ck.Watch(ctx) {
		raftID := serverID(id, "") // which no node has
		if n := m.Node(id); n != nil {
			raftID = n.RaftID
		}
		if raftID == tried {
			continue
		}
		tried = raftID
		if stale = ck.change(ctx, operation, of(id, raftID)); !errors.Is(stale, ErrStale) {
			return raftID, stale
		}
	}
	if stale != nil {
		return "", stale
	}
	return "", fmt.Errorf("%s: %w: %w", operation, ErrNoLeader, ck.ended(ctx))
}

// Leave decommissions this node and stops it. Done is closed with [ErrLeft].
func (ck *ClusterKit) Leave(ctx context.Context) error {
	if err := ck.depart(ctx); err != nil {
		return err
	}
	return ck.Shutdown(ctx)
}

// depart decommissions this node, and has the application stop it.
func (ck *ClusterKit) depart(ctx context.Context) error {
	ck.departing.Store(true)
	if err := ck.Decommission(ctx, ck.serverID()); err != nil {
		ck.departing.Store(false)
		return err
	}
	ck.end(ErrLeft)
	return nil
}

// SetReplicationFactor changes the wanted number of copies of each partition,
// which are then made or released. The number of partitions cannot be changed.
func (ck *ClusterKit) SetReplicationFactor(ctx context.Context, factor int) error {
	return ck.change(ctx, "set the replication factor", replicationCommand{ReplicationFactor: factor})
}

// AcceptDataLoss has a partition served although every node with a complete
// copy is gone: the node becomes its primary with whatever data it has, and
// acknowledged writes may be lost. It is refused while a complete copy is on a
// node that is up. Epoch is the partition's as the operator saw it. The loss
// stays visible in [Partition.Forced] and [Partition.Reason].
func (ck *ClusterKit) AcceptDataLoss(ctx context.Context, partition int, epoch uint64, nodeID string) error {
	ck.log.Warn("an operator accepts data loss", "partition", partition, "epoch", epoch, "onto", nodeID)
	return ck.change(ctx, fmt.Sprintf("force partition %d onto %s", partition, nodeID), forceCommand{Partition: partition, Epoch: epoch, Node: nodeID})
}

func (ck *ClusterKit) change(ctx context.Context, operation string, c command) error {
	if err := ck.propose(ctx, c); err != nil {
		return fmt.Errorf("%s: %w", operation, err)
	}
	return nil
}

// copiesOn counts the copies that are assigned to the node.
func (m *Map) copiesOn(nodeID string) int {
	count := 0
	for i := range m.Partitions {
		if _, ok := m.Partitions[i].MemberOf(nodeID); ok {
			count++
		}
	}
	return count
}
