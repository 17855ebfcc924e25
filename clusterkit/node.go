package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"
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
func (ck *ClusterKit) HoldsLease() bool {
	return !ck.stopping.Load() && ck.fatalErr.Load() == nil && ck.session.holds()
}

// Self returns this node under the incarnation of its present or next session.
func (ck *ClusterKit) Self() Node {
	n := *ck.self.Load()
	n.Incarnation = ck.session.incarnation.Load()
	if m := ck.Map(); m != nil {
		n.Alive = sessionRef{Node: n.ID, Incarnation: n.Incarnation}.openIn(m)
	}
	return n
}

// StoreID returns the identity of this node's data directory. An empty
// directory gets a new one.
func (ck *ClusterKit) StoreID() string { return ck.storeID }

// OnPartitionChange adds a hook. It is called on every node, in a goroutine of
// its own, whenever a copy of a partition has to be made; only the node that
// copyTo names acts. When all hooks have returned there, the copy counts as
// made, so a hook returns after it has copied. Of one partition, one change is
// worked on after the other. A hook that panics is logged, and the copy is not
// acknowledged. After a restart, hooks are called again for what was not
// acknowledged, and for nothing else.
//
// Hooks are added before [ClusterKit.Start]; without any, copies count as made
// at once.
func (ck *ClusterKit) OnPartitionChange(hook func(partitionID string, copyFrom *Node, copyTo *Node)) {
	ck.hooks.add(hook)
}

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
		if p := &m.Partitions[req.Partition]; p.Epoch == req.Epoch && p.Primary == req.From {
			ck.handover.giveUp(p)
		}
	}
	return ck.propose(ctx, transferCommand{req})
}

func (ck *ClusterKit) propose(ctx context.Context, c command) error {
	if ck.stopping.Load() || ck.book.raft.Load() == nil {
		return fmt.Errorf("%w: %w", ErrNoLeader, ErrStopped)
	}
	_, err := ck.proposer.propose(ctx, c)
	return err
}

// published is called by the state machine after each change of the map.
func (ck *ClusterKit) published(prev, next *Map) {
	ck.hooks.observe(prev, next)
	ck.watch.publish(next)
	ck.ready.notify()
}

// joined reports whether the map includes the opening of the present session.
func (ck *ClusterKit) joined(m *Map) bool {
	return sessionRef{Node: ck.opts.NodeID, Incarnation: ck.session.incarnation.Load()}.openIn(m)
}

// copied acknowledges a copy on this node.
func (ck *ClusterKit) copied(ctx context.Context, partition int, c Member) {
	if ck.opts.ManagedReplication || c.Node != ck.opts.NodeID || c.Store != ck.StoreID() {
		return
	}
	for ctx.Err() == nil {
		_, err := ck.proposer.propose(ctx, acknowledgeCommand{Partition: partition, Member: c})
		if err == nil || errors.Is(err, ErrStale) {
			return
		}
		sleep(ctx, maxRetryDelay)
	}
}

func (ck *ClusterKit) serverID() string { return serverID(ck.opts.NodeID, ck.StoreID()) }

func (ck *ClusterKit) appliedIndex() uint64 {
	if r := ck.book.raft.Load(); r != nil {
		return r.AppliedIndex()
	}
	return 0
}

// leaderNode returns the node ID and the Raft address of the leader as far as
// this node knows, "" if it does not.
func (ck *ClusterKit) leaderNode() (id, addr string) {
	r := ck.book.raft.Load()
	if r == nil {
		return "", ""
	}
	peer, server := r.LeaderWithID()
	id, _, _ = strings.Cut(string(server), "/")
	_, addr = splitPeerAddr(string(peer))
	return id, addr
}

// renewAnywhere renews a session with the leader, here or elsewhere.
func (ck *ClusterKit) renewAnywhere(ctx context.Context, req renewRequest) (renewResponse, error) {
	if ck.controller.keeper.Load() != nil {
		return ck.controller.renew(ctx, req)
	}
	var resp renewResponse
	leader, err := ck.proposer.leader()
	if err != nil {
		return resp, err
	}
	err = ck.net.client.call(ctx, leader, pathRenew, req, &resp)
	return resp, err
}

// admitAnywhere takes a join request to the leader, here or elsewhere.
func (ck *ClusterKit) admitAnywhere(ctx context.Context, req joinRequest) (joinResponse, error) {
	if ck.book.raft.Load() == nil || ck.stopping.Load() {
		return joinResponse{}, fmt.Errorf("%w: this node is not running", ErrNoLeader)
	}
	if ck.controller.keeper.Load() != nil {
		return ck.controller.admit(ctx, req)
	}
	var resp joinResponse
	leader, err := ck.proposer.leader()
	if err != nil {
		return resp, err
	}
	err = ck.net.client.call(ctx, leader, pathJoin, req, &resp)
	return resp, err
}

func (ck *ClusterKit) joiner() *joiner {
	self := ck.Self()
	return &joiner{
		http:  &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
		addrs: slices.DeleteFunc(slices.Clone(ck.opts.joinAddrs), func(addr string) bool { return addr == self.IP }),
		request: joinRequest{
			NodeID: self.ID, Store: self.Store, RaftAddr: self.RaftAddr,
			ClusterName: ck.opts.wanted.ClusterName, PartitionCount: ck.opts.wanted.PartitionCount, Hash: ck.opts.wanted.Hash,
			ClusterUUID: ck.dir.identity().ClusterUUID,
		},
	}
}

// join asks to be let in until the leader's log arrives.
func (ck *ClusterKit) join() {
	var conflictSince time.Time
	told := ""
	for delay := minJoinDelay; ck.ctx.Err() == nil && ck.Map() == nil; delay = min(2*delay, maxJoinDelay) {
		resp, err := ck.joiner().attempt(ck.ctx)
		if err == nil {
			err = ck.adopt(resp)
		}
		switch {
		case ck.ctx.Err() != nil:
			return
		case err == nil:
			ck.awaitMap(firstContact)
			continue
		case errors.Is(err, ErrJoinRefused), errors.Is(err, ErrDataDir):
			ck.fail(err)
			return
		case errors.Is(err, errNodeIDInUse):
			if conflictSince.IsZero() {
				conflictSince = time.Now()
			}
			if time.Since(conflictSince) > conflictGrace {
				ck.fail(fmt.Errorf("%w: %w", ErrJoinRefused, err))
				return
			}
		}
		if told != err.Error() {
			told = err.Error()
			ck.log.Info("not joined yet, trying again", "error", err)
		}
		sleep(ck.ctx, delay)
	}
}

// adopt records the cluster that let this node in.
func (ck *ClusterKit) adopt(resp joinResponse) error {
	ck.log.Info("let into the cluster", "name", resp.Config.ClusterName, "cluster", resp.ClusterUUID)
	return ck.dir.update(func(id *identity) { id.ClusterUUID, id.Config = resp.ClusterUUID, &resp.Config })
}

func (ck *ClusterKit) awaitMap(timeout time.Duration) {
	ctx, cancel := context.WithTimeout(ck.ctx, timeout)
	defer cancel()
	<-ck.Watch(ctx)
}

func (c *controller) renew(ctx context.Context, req renewRequest) (renewResponse, error) {
	k := c.keeper.Load()
	if k == nil {
		return renewResponse{}, fmt.Errorf("%w: this node does not lead", ErrNoLeader)
	}
	return k.renew(ctx, req)
}

func (c *controller) applyEncoded(ctx context.Context, encoded []byte) (result, error) {
	if c.raft.State() != raft.Leader {
		return result{}, fmt.Errorf("%w: this node does not lead", ErrNoLeader)
	}
	return c.proposer.applyEncoded(ctx, encoded)
}
