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
func (ck *ClusterKit) Drain(ctx context.Context, nodeID string) error {
	return ck.change(ctx, "drain "+nodeID, drainCommand{Node: nodeID, Drain: true})
}

// Undrain ends a drain: the node gets its share of the copies again.
func (ck *ClusterKit) Undrain(ctx context.Context, nodeID string) error {
	return ck.change(ctx, "undrain "+nodeID, drainCommand{Node: nodeID})
}

// SetWeight changes the capacity of a node relative to the others', 1 to 1000.
// It outlasts restarts of the node.
func (ck *ClusterKit) SetWeight(ctx context.Context, nodeID string, weight int) error {
	return ck.change(ctx, "set the weight of "+nodeID, weightCommand{Node: nodeID, Weight: weight})
}

// Remove removes a node for good: its data directory is never let in again.
// A node that is up has to be empty; one that is down is given up with its
// copies, which are made anew elsewhere at once. It is refused when the node
// has the last complete copy of a partition.
func (ck *ClusterKit) Remove(ctx context.Context, nodeID string) error {
	return ck.change(ctx, "remove "+nodeID, removeCommand{Node: nodeID})
}

// Decommission drains a node, waits until it is empty, and removes it. When
// the context ends before, or no leader can be reached, the error matches
// [ErrDraining]: the drain goes on, and the call may be repeated.
func (ck *ClusterKit) Decommission(ctx context.Context, nodeID string) error {
	err := ck.Drain(ctx, nodeID)
	if errors.Is(err, ErrNoNode) {
		// It may have been removed by an earlier call.
		return ck.Remove(ctx, nodeID)
	}
	if err != nil {
		return err
	}
	copies := 0
	for m := range ck.Watch(ctx) {
		if copies = m.copiesOn(nodeID); copies > 0 {
			continue
		}
		switch err := ck.Remove(ctx, nodeID); {
		case errors.Is(err, ErrNoLeader):
			return fmt.Errorf("decommission %s: %w: %w", nodeID, ErrDraining, err)
		case !errors.Is(err, ErrRefused) || m.Node(nodeID) == nil:
			return err
		}
		// A copy was assigned to it meanwhile, before the drain was known.
	}
	ended := ctx.Err()
	if ended == nil {
		ended = ErrStopped
	}
	return fmt.Errorf("decommission %s: it still holds %d copies, %w: %w", nodeID, copies, ErrDraining, ended)
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
	if err := ck.Decommission(ctx, ck.opts.NodeID); err != nil {
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
