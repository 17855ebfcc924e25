package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// proposer brings commands to the Raft leader, wherever it is.
type proposer struct {
	raft   *raft.Raft
	client *controlClient
	// objection returns why this node, as the leader, does not propose the
	// command now, nil if it does.
	objection func(c command) error
	// use has the waits for Raft that outlive their caller's patience.
	use *raftUse
}

const (
	enqueueTimeout = time.Second
	minRetryDelay  = 10 * time.Millisecond
	maxRetryDelay  = 200 * time.Millisecond
)

// propose returns the state machine's verdict. It tries again for as long as
// it is certain that nothing was proposed and the context lasts.
func (p *proposer) propose(ctx context.Context, c command) (result, error) {
	encoded, err := encodeCommand(c)
	if err != nil {
		return result{}, err
	}
	ctx, cancel := bounded(ctx)
	defer cancel()
	for delay := minRetryDelay; ; delay = min(2*delay, maxRetryDelay) {
		verdict, err := p.once(ctx, c, encoded)
		if err == nil {
			err = verdict.err()
		}
		if !errors.Is(err, ErrNoLeader) {
			return verdict, err
		}
		select {
		case <-ctx.Done():
			return result{}, fmt.Errorf("%w: %w", err, ctx.Err())
		case <-time.After(delay):
		}
	}
}

// bounded gives a context a deadline if it has none.
func bounded(ctx context.Context) (context.Context, context.CancelFunc) {
	if _, has := ctx.Deadline(); has {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, proposeTimeout)
}

// once makes one attempt. A registration, which may be repeated under its
// number, waits for no leader that was replaced: the node has no session
// meanwhile.
func (p *proposer) once(ctx context.Context, c command, encoded []byte) (result, error) {
	if p.raft.State() == raft.Leader {
		return p.accept(ctx, encoded)
	}
	leader, err := p.leader()
	if err != nil {
		return result{}, err
	}
	if _, registers := c.(registerCommand); registers {
		var release func()
		ctx, release = whileLeads(ctx, p.raft, leader)
		defer release()
	}
	var verdict result
	err = p.client.call(ctx, leader, pathPropose, proposeRequest{Command: encoded}, &verdict)
	return verdict, err
}

// accept proposes, as the leader, what a node has asked for.
func (p *proposer) accept(ctx context.Context, encoded []byte) (result, error) {
	c, err := decodeCommand(encoded)
	if err != nil {
		return result{}, fmt.Errorf("%w: %w", errBadRequest, err)
	}
	if err := p.objection(c); err != nil {
		return result{}, err
	}
	return p.applyEncoded(ctx, encoded)
}

// leader returns the address of another node that is the Raft leader.
func (p *proposer) leader() (string, error) {
	addr, _ := p.raft.LeaderWithID()
	switch {
	case addr == "":
		return "", fmt.Errorf("%w: none is elected", ErrNoLeader)
	case p.raft.State() == raft.Leader:
		return "", fmt.Errorf("%w: it is this node", ErrNoLeader)
	}
	return string(addr), nil
}

// apply is propose for the leader itself, without a second try.
func (p *proposer) apply(ctx context.Context, c command) (result, error) {
	encoded, err := encodeCommand(c)
	if err != nil {
		return result{}, err
	}
	verdict, err := p.applyEncoded(ctx, encoded)
	if err != nil {
		return verdict, err
	}
	return verdict, verdict.err()
}

// applyEncoded returns the verdict once the command is committed and applied
// here. Its error matches ErrNoLeader or ErrUnknown.
func (p *proposer) applyEncoded(ctx context.Context, encoded []byte) (result, error) {
	applied := make(chan raft.ApplyFuture, 1)
	waits := p.use.run(func() {
		future := p.raft.Apply(encoded, enqueueTimeout)
		_ = future.Error() // it keeps the answer
		applied <- future
	})
	if !waits {
		return result{}, fmt.Errorf("%w: %w", ErrNoLeader, ErrStopped)
	}
	select {
	case future := <-applied:
		if err := future.Error(); err != nil {
			return result{}, raftError(err)
		}
		verdict, ok := future.Response().(result)
		if !ok {
			return result{}, fmt.Errorf("%w: the state machine answered %T", ErrUnknown, future.Response())
		}
		return verdict, nil
	case <-ctx.Done():
		return result{}, fmt.Errorf("%w: %w", ErrUnknown, ctx.Err())
	}
}

// raftError tells what was certainly not proposed from what may have been.
func raftError(err error) error {
	switch {
	case errors.Is(err, raft.ErrNotLeader), errors.Is(err, raft.ErrEnqueueTimeout), errors.Is(err, raft.ErrLeadershipTransferInProgress):
		return fmt.Errorf("%w: %w", ErrNoLeader, err)
	default:
		return fmt.Errorf("%w: %w", ErrUnknown, err)
	}
}
