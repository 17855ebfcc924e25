package clusterkit

import (
	"context"
	"errors"
	"fmt"
)

// PartitionChange says that a copy of a partition has to be made.
type PartitionChange struct {
	// PartitionID reads "partition-5", and Index is 5 then.
	PartitionID string
	Index       int
	// Epoch and Version are the partition's at the time of this call.
	Epoch, Version uint64
	// Reason says why the copy has to be made, as far as this node saw it.
	Reason string
	// CopyFrom is a node that is alive and has all the data: the primary, if it
	// can be. It is chosen anew for each call. It is nil only where the
	// partition begins empty.
	CopyFrom *Node
	// CopyTo is the node that needs the data. Only this node acts.
	CopyTo Node
	// Member is the copy: it names the store of CopyTo and the assignment. Kept
	// beside the data, it tells what was written for this copy from what is older.
	Member Member
	// Attempt counts the calls for this copy, from 1.
	Attempt int
}

// partitionHook is a hook of either form.
type partitionHook func(ctx context.Context, change PartitionChange) error

// OnPartitionChange adds a hook. It is called on every node, in a goroutine of
// its own, whenever a copy of a partition has to be made; only the node that
// copyTo names acts. When all hooks have returned there, the copy counts as
// made, and its node may become the primary. So a hook must not return before
// the copy is made, whatever fails: it tries again, or panics to be called
// again. [ClusterKit.HandlePartitionChange] has the rest of what holds for both.
//
// copyFrom is nil only where the partition begins empty and there is nothing to
// copy: at its first assignment and, with VolatileStore, when every process
// that had its data is gone. The copy is in sync from the beginning. What the
// node still has of the partition from before is to be dropped then, not what
// was written since: a call that a crash has interrupted comes again.
func (ck *ClusterKit) OnPartitionChange(hook func(partitionID string, copyFrom *Node, copyTo *Node)) {
	if hook == nil {
		panic("clusterkit: OnPartitionChange: the hook is nil")
	}
	ck.hooks.add(func(_ context.Context, c PartitionChange) error {
		hook(c.PartitionID, c.CopyFrom, &c.CopyTo)
		return nil
	})
}

// HandlePartitionChange adds a hook that can fail. It is called as one of
// [ClusterKit.OnPartitionChange] is. When it returns an error or panics, that is
// logged and the hook is called again, after a delay that doubles up to half a
// minute, or as soon as there is another node to copy from. With
// [Options.ExplicitAcknowledge] the copy counts as made when
// [ClusterKit.Acknowledge] says so, and not when the hooks return.
//
// The context ends when the node stops, and when the copy is not wanted any
// more: what the hook returns then counts for nothing. It also ends when the
// copy counts as made and the hook has returned.
//
// The calls for one partition come one after the other, in the order of the
// changes; those of several hooks for one change come together. A partition
// waits for no other: as many hooks run at once as there are partitions with
// copies to be made, and a hook that wants fewer waits in a semaphore of its
// own. After a restart, hooks are called again for what this node has not
// completed, and for nothing else.
//
// A hook may call any method of ClusterKit. [ClusterKit.Stop] waits for the
// hooks that run, for its caller too: a hook that has to stop the node does that
// in a goroutine, and returns.
//
// Hooks are added before [ClusterKit.Start]: one that came later would have
// missed copies that counted as made without it. To add one later, or a hook
// that is nil, panics. Without any hook, copies count as made at once.
func (ck *ClusterKit) HandlePartitionChange(hook func(ctx context.Context, change PartitionChange) error) {
	if hook == nil {
		panic("clusterkit: HandlePartitionChange: the hook is nil")
	}
	ck.hooks.add(hook)
}

// Acknowledge says, with [Options.ExplicitAcknowledge], that the copy of this
// change is made: it holds everything that CopyFrom held, and takes part in all
// writes since. The change is one that a hook on this node was given; Index and
// Member name the copy. nil means that the copy is in sync, also when it was
// before; this node's map may show it a little later. The errors match
// [ErrStale], when this very copy is not wanted any more, [ErrNoLeader] or
// [ErrUnknown], after which the call may be repeated, or [ErrOptions].
func (ck *ClusterKit) Acknowledge(ctx context.Context, change PartitionChange) error {
	if !ck.opts.ExplicitAcknowledge {
		return fieldError("ExplicitAcknowledge", "it is not set, so the return of the hooks acknowledges: set it, or do not call Acknowledge")
	}
	if c := change.Member; c.Node != ck.opts.NodeID || c.Store != ck.storeID {
		return fmt.Errorf("%w: the copy is not on the present store of this node", ErrStale)
	}
	err := ck.propose(ctx, acknowledgeCommand{Partition: change.Index, Member: change.Member})
	if err != nil && ck.inSync(change) {
		return nil
	}
	return err
}

// inSync reports whether the newest map shows the copy in sync.
func (ck *ClusterKit) inSync(change PartitionChange) bool {
	_, p := ck.newest(&Partition{Index: change.Index})
	return p != nil && p.IsInSync(change.Member)
}

// copied acknowledges a copy on this node whose hooks have returned. It tries
// until the outcome is certain or the context has ended.
func (ck *ClusterKit) copied(ctx context.Context, partition int, c Member) {
	for ctx.Err() == nil {
		_, err := ck.proposer.propose(ctx, acknowledgeCommand{Partition: partition, Member: c})
		if err == nil || errors.Is(err, ErrStale) {
			return
		}
		sleep(ctx, maxRetryDelay)
	}
}
