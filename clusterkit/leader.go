package clusterkit

import (
	"context"
	"fmt"
	"sync"

	"github.com/hashicorp/raft"
)

// leaderNode returns the node ID and the Raft address of the leader as far as
// this node knows, "" if it does not.
func (ck *ClusterKit) leaderNode() (id, addr string) {
	r := ck.book.raft.Load()
	if r == nil {
		return "", ""
	}
	peer, server := r.LeaderWithID()
	_, addr = splitPeerAddr(string(peer))
	return nodeIDOf(string(server)), addr
}

// handOnLeadership does nothing on a node that does not lead Raft.
func handOnLeadership(ctx context.Context, r *raft.Raft) error {
	if r.State() != raft.Leader || ctx.Err() != nil {
		return ctx.Err()
	}
	ended := make(chan error, 1)
	// Raft answers when its disk does.
	go func() { ended <- r.LeadershipTransfer().Error() }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
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
	ctx, release := whileLeads(ctx, ck.proposer.raft, leader)
	defer release()
	err = ck.net.client.call(ctx, leader, pathRenew, req, &resp)
	return resp, err
}

// whileLeads returns a context that ends when this node knows another leader
// than the one at that address: who was cut off, or stands still, would not
// answer before the caller's patience is over, and the other counts meanwhile.
// The caller releases it.
func whileLeads(ctx context.Context, r *raft.Raft, leader string) (context.Context, func()) {
	ctx, cancel := context.WithCancel(ctx)
	other := func(addr raft.ServerAddress) bool { return addr != "" && string(addr) != leader }
	changes := make(chan raft.Observation, 1)
	observer := raft.NewObserver(changes, false, func(o *raft.Observation) bool {
		change, ok := o.Data.(raft.LeaderObservation)
		return ok && other(change.LeaderAddr)
	})
	r.RegisterObserver(observer)
	if addr, _ := r.LeaderWithID(); other(addr) {
		cancel()
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		select {
		case <-changes:
			cancel()
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel()
		wg.Wait()
		r.DeregisterObserver(observer)
	}
}

// admitAnywhere takes a join request to the leader, here or elsewhere.
func (ck *ClusterKit) admitAnywhere(ctx context.Context, req joinRequest) (joinResponse, error) {
	if ck.dir.identity().ClusterUUID == "" {
		return joinResponse{}, ck.founder.asked(req)
	}
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
	return c.proposer.accept(ctx, encoded)
}

// objection returns why a command is not proposed now, nil if it is. A node that
// returns where copies are dropped waits until it is known which others are
// there: it must not give up its copies for those of a node that is gone, nor
// keep them while another goes on as the primary. A vote is not taken while it
// is needed, and a node that was removed is not told before it is taken: it
// stops then.
func (c *controller) objection(proposed command) error {
	switch proposed := proposed.(type) {
	case registerCommand:
		if proposed.DropCopies && !c.knowsOthers(proposed.Node) {
			return fmt.Errorf("%w: it does not know yet who is present", ErrNoLeader)
		}
		id := raft.ServerID(proposed.Node.RaftID)
		if m := c.state.Map(); m != nil && m.wasRemoved(id) && c.book.votes(id) {
			return fmt.Errorf("%w: %s was removed and votes still", ErrNoLeader, proposed.Node.ID)
		}
	case removeCommand:
		m := c.state.Map()
		if n, _ := nodeMeant(m, proposed.Node, proposed.RaftID); n != nil {
			return m.needsVote(c.book.servers(), n.ID)
		}
	}
	return nil
}

// knowsOthers reports, on the leader, whether enough is known to register the
// node, where that drops copies: nothing is before a keeper has begun, as when
// a leader that has just started has not got its map yet.
func (c *controller) knowsOthers(registering Node) bool {
	k := c.keeper.Load()
	return k != nil && k.knowsOthers(c.state.Map(), registering)
}
