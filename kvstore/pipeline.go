package kvstore

import (
	"context"
	"errors"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
)

// Turn is what one goroutine begins on the pipelines of several clients before
// it lets any of it leave the node, by [Turn.End]. It belongs to that goroutine.
type Turn struct {
	router *Router
	// begun are the pipelines that have begun something in the turn.
	begun []*Pipeline
}

// NewTurn returns a turn, for a goroutine that serves clients.
func (rt *Router) NewTurn() *Turn { return &Turn{router: rt} }

// End lets what was begun leave the node: as one group to the log, and as one
// frame to each peer. The turn may be used again.
func (t *Turn) End() {
	var all turn
	for i, p := range t.begun {
		all.join(&p.shared)
		t.begun[i] = nil
	}
	t.begun = t.begun[:0]
	t.router.node.end(&all)
}

// Pipeline executes what one client sends, in the order in which it is sent,
// without waiting for one answer before the next request is begun: so the
// writes of a client share group commits as those of many clients do.
//
// What takes no patience is begun with [Pipeline.Begin] and answered by
// [Pipeline.Wait], first come, first served. A batch that Begin does not take
// is for [Pipeline.Execute], once everything begun has been waited for. Errors
// are those of package api.
//
// A pipeline belongs to one goroutine at a time. The one that its turn belongs
// to serves other clients too, and must not wait: it says so to Get and Begin,
// and calls Wait when [Pipeline.Ready] allows it. Whoever else has the pipeline
// may wait; what he begins leaves the node with his first Wait, or with
// [Pipeline.End].
type Pipeline struct {
	router *Router
	turn   *Turn
	// tell is called when Ready may say something else.
	tell func()
	// begun are the executions that have not been waited for, from first on.
	begun []underwayHere
	first int
	// shared is what was begun since the end of the turn, and own what was begun
	// by another goroutine than that of the turn since the last Wait.
	shared, own turn
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
	// ended executions wait for no commit any more, and have failed with err if
	// that is not nil. What covered ones have read was current.
	ended, covered bool
	err            error
}

// NewPipeline returns a pipeline for one client, which is answered within the
// patience. tell is called, by any goroutine and under locks, whenever something
// has been committed that the pipeline waits for; it must not block.
func (t *Turn) NewPipeline(patience time.Duration, tell func()) *Pipeline {
	timer := time.NewTimer(patience)
	timer.Stop()
	return &Pipeline{router: t.router, turn: t, tell: tell, patience: patience, timer: timer}
}

// Get returns the value of a key, linearizably, if this node leads its
// partition and can tell at once. Otherwise ok is false, and the get is to be
// begun like any batch. It says nothing of what the pipeline has begun, so it
// is for one in which nothing is under way. The value must not be changed.
func (p *Pipeline) Get(key []byte, mayWait bool) (value []byte, found, ok bool) {
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
	item, err := r.committed(p.key, mayWait)
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
func (p *Pipeline) Begin(b api.Batch, mayWait bool) bool {
	if command.Check(b) != nil || p.router.samePartition(b.Commands) != nil {
		return false
	}
	r := p.here(b.Commands[0].Key)
	if r == nil || p.router.admit(b) != nil {
		return false
	}
	t := &p.shared
	if mayWait {
		t = &p.own
	}
	before := *t
	u := underwayHere{replica: r, op: operation(b), start: time.Now()}
	var err error
	u.epoch, u.execution, err = r.begin(context.Background(), t, b, caller{mayWait: mayWait, tell: p.tell})
	if t == &p.shared && before == (turn{}) && *t != (turn{}) {
		p.turn.begun = append(p.turn.begun, p)
	}
	if err != nil {
		return false
	}
	u.ended = u.done == nil
	p.begun = append(p.begun, u)
	return true
}

// Ready reports whether Wait returns at once, or is slow because it has to ask
// other nodes. If it is neither, Ready is to be asked again when the pipeline
// tells, and now and then, since the patience ends without a word.
func (p *Pipeline) Ready() (ready, slow bool) {
	u := &p.begun[p.first]
	if !u.ended {
		select {
		case err := <-u.done:
			u.ended, u.err = true, u.answered(err)
		default:
			if time.Since(u.start) < p.patience {
				return false, false
			}
			u.ended, u.err = true, u.overdue(u.replica.id)
		}
	}
	if u.err == nil && u.IsRead() && !u.covered {
		u.covered = u.replica.leased(u.epoch)
		slow = !u.covered
	}
	return !slow, slow
}

// End lets leave the node what was begun by who may wait, as he does before he
// gives the pipeline back.
func (p *Pipeline) End() { p.router.node.end(&p.own) }

// Wait waits for the batch that was begun first among those that have not been
// waited for, and returns its results.
func (p *Pipeline) Wait() (results []api.Result, err error) {
	p.End()
	u := p.begun[p.first]
	p.begun[p.first] = underwayHere{}
	if p.first++; p.first == len(p.begun) {
		p.begun, p.first = p.begun[:0], 0
	}
	defer func() { p.router.node.metrics.observe(u.op, u.start, err) }()
	if !u.ended {
		u.err = p.await(&u)
	}
	if u.err != nil {
		return nil, again(u.err)
	}
	if u.IsRead() && !u.covered && !u.replica.leased(u.epoch) {
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
