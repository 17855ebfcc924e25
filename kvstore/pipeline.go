package kvstore

import (
	"context"
	"errors"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
)

// Pipeline executes what one client sends, in the order in which it is sent,
// without waiting for one answer before the next request is begun: so the
// writes of a client share group commits as those of many clients do.
//
// What takes no patience is begun with [Pipeline.Begin] and answered by
// [Pipeline.Wait], first come, first served; nothing of it leaves this node
// before the first Wait. A batch that Begin does not take
// is for [Pipeline.Execute], once everything begun has been waited for. A
// pipeline belongs to one goroutine. Errors are those of package api.
type Pipeline struct {
	router *Router
	// begun are the executions that have not been waited for, from first on.
	begun []underwayHere
	first int
	// turn is what was begun since the last Wait.
	turn turn
	// patience is for each batch, from its beginning to its answer.
	patience time.Duration
	timer    *time.Timer
	// key is scratch.
	key []byte
}

// underwayHere is an execution that this node has begun.
type underwayHere struct {
	execution
	replica *replica
	epoch   uint64
	op      string
	start   time.Time
}

// NewPipeline returns a pipeline for one client, which is answered within the
// patience.
func (rt *Router) NewPipeline(patience time.Duration) *Pipeline {
	timer := time.NewTimer(patience)
	timer.Stop()
	return &Pipeline{router: rt, patience: patience, timer: timer}
}

// Get returns the value of a key, linearizably, if this node leads its
// partition and can tell at once. Otherwise ok is false, and the get is to be
// begun like any batch. It says nothing of what the pipeline has begun, so it
// is for one in which nothing is under way. The value must not be changed.
func (p *Pipeline) Get(key []byte) (value []byte, found, ok bool) {
	start := time.Now()
	r := p.here(key)
	if r == nil {
		return nil, false, false
	}
	epoch := r.serving.Load()
	if epoch == 0 {
		return nil, false, false
	}
	p.key = command.AppendUserKey(p.key[:0], key)
	item, err := r.committed(p.key)
	if err != nil || item.Expires != 0 && item.Expires <= r.node.clock.now() || !r.leased(epoch) {
		return nil, false, false
	}
	p.router.node.metrics.observe("get", start, nil)
	return item.Data, item.Found, true
}

// here returns this node's replica for the key, nil if it has none.
func (p *Pipeline) here(key []byte) *replica {
	if checkKey(key) != nil {
		return nil
	}
	part, err := p.router.partition(key)
	if err != nil {
		return nil
	}
	return p.router.node.replica(uint32(part))
}

// Len returns how many batches are begun and not waited for.
func (p *Pipeline) Len() int { return len(p.begun) - p.first }

// Begin begins a batch on this node and reports whether it did; if not,
// nothing has been executed. It keeps nothing of the batch, but results may
// share memory with it.
func (p *Pipeline) Begin(b api.Batch) bool {
	if command.Check(b) != nil || p.router.samePartition(b.Commands) != nil {
		return false
	}
	r := p.here(b.Commands[0].Key)
	if r == nil || p.router.admit(b) != nil {
		return false
	}
	u := underwayHere{replica: r, op: operation(b), start: time.Now()}
	var err error
	if u.epoch, u.execution, err = r.begin(context.Background(), &p.turn, b); err != nil {
		return false
	}
	p.begun = append(p.begun, u)
	return true
}

// Wait waits for the batch that was begun first among those that have not been
// waited for, and returns its results.
func (p *Pipeline) Wait() (results []api.Result, err error) {
	p.router.node.end(&p.turn)
	u := p.begun[p.first]
	p.begun[p.first] = underwayHere{}
	if p.first++; p.first == len(p.begun) {
		p.begun, p.first = p.begun[:0], 0
	}
	defer func() { p.router.node.metrics.observe(u.op, u.start, err) }()
	if u.done != nil {
		if err := p.await(&u); err != nil {
			return nil, again(err)
		}
	}
	if u.IsRead() && !u.replica.leased(u.epoch) {
		ctx, cancel := context.WithDeadline(context.Background(), u.start.Add(p.patience))
		defer cancel()
		if err := u.replica.confirm(ctx); err != nil {
			return nil, again(err)
		}
	}
	return u.Answer()
}

// await waits within the patience that is left.
func (p *Pipeline) await(u *underwayHere) error {
	select {
	case err := <-u.done:
		return u.answered(err)
	default:
	}
	p.timer.Reset(time.Until(u.start.Add(p.patience)))
	defer p.timer.Stop()
	select {
	case err := <-u.done:
		return u.answered(err)
	case <-p.timer.C:
		return u.overdue(u.replica.id)
	}
}

// again words, for the client, that the role ended under a batch that had no
// effect.
func again(err error) error {
	if errors.Is(err, errNotServing) {
		return api.Errorf(api.CodeUnavailable, "the primary changed while it answered; nothing was executed")
	}
	return err
}

// Execute executes a batch on this node, and waits through a failover. It
// returns [api.ErrNotPrimary] as soon as the map names another node that is
// there. Nothing may be under way in the pipeline.
func (p *Pipeline) Execute(ctx context.Context, b api.Batch) ([]api.Result, error) {
	n := p.router.node
	ctx, cancel := context.WithTimeout(ctx, p.patience)
	defer cancel()
	for {
		changed := n.changed.next()
		results, err := p.router.Execute(ctx, Request{NoForward: true}, b)
		moved := (*api.Error)(nil)
		if !errors.As(err, &moved) || moved.Code != api.CodeNotPrimary || present(n.cluster.Map(), moved.Details["primary"]) {
			return results, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, api.Errorf(api.CodeUnavailable, "the primary %s is gone, and no other node has taken over in time", moved.Details["primary"])
		}
	}
}

func present(m *clusterkit.Map, node string) bool {
	n := m.Node(node)
	return n != nil && n.Alive
}
