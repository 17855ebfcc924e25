package kvstore

import (
	"context"
	"errors"
	"slices"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// execution is one evaluation of a batch, and what has to happen before it can
// be answered.
type execution struct {
	outcome command.Outcome
	// refused is why nothing is executed.
	refused error
	// done is answered when what was appended, or what was seen, is committed;
	// nil if the batch saw only committed values.
	done     chan error
	appended bool
}

// execute executes a batch, linearizably. The error is errNotServing when
// nothing was executed and another try is due, else one of package api.
func (r *replica) execute(ctx context.Context, b api.Batch) ([]api.Result, error) {
	epoch, x, err := r.begin(ctx, b)
	if err != nil {
		return nil, err
	}
	if x.done != nil {
		if err := r.await(ctx, x); err != nil {
			return nil, err
		}
	}
	if x.appended {
		return x.outcome.Results, nil
	}
	// Nothing was written: this is a read of what the batch looked at.
	if !r.leased(epoch) {
		if err := r.confirm(ctx); err != nil {
			return nil, err
		}
	}
	return x.outcome.Results, x.refused
}

// begin evaluates a batch in the epoch in which the replica serves, and waits
// for nothing but the state of its keys.
func (r *replica) begin(ctx context.Context, b api.Batch) (epoch uint64, x execution, err error) {
	if epoch = r.serving.Load(); epoch == 0 {
		return 0, x, errNotServing
	}
	var at loaded
	x, err = r.evaluate(b, &at)
	for errors.Is(err, command.ErrRetry) && ctx.Err() == nil {
		if err := r.load(b, &at); err != nil {
			return 0, x, err
		}
		x, err = r.evaluate(b, &at)
	}
	return epoch, x, err
}

func (r *replica) await(ctx context.Context, x execution) error {
	select {
	case err := <-x.done:
		return x.answered(err)
	case <-ctx.Done():
		return x.overdue(r.id)
	}
}

// answered returns what it means that done was answered so.
func (x *execution) answered(err error) error {
	if err != nil && !x.appended {
		return errNotServing
	}
	return err
}

// overdue returns what it means that done was not answered in time.
func (x *execution) overdue(part uint32) error {
	if !x.appended {
		return api.Errorf(api.CodeUnavailable, "partition-%d: a write that this request depends on was not acknowledged by every in-sync replica in time", part)
	}
	return api.Errorf(api.CodeOutcomeUnknown, "the write was not acknowledged by every in-sync replica in time; it may yet be executed")
}

// evaluate evaluates the batch against everything that has been appended, and
// appends what it writes. The error matches command.ErrRetry when the state of
// a key has to be loaded first.
func (r *replica) evaluate(b api.Batch, at *loaded) (x execution, err error) {
	clock := r.node.clock.now()
	r.mu.Lock()
	defer r.mu.Unlock()
	var saw uint64
	x.outcome, err = command.Evaluate(b, clock, func(key []byte) (command.Item, error) {
		if w, ok := r.pending.keys[string(key)]; ok {
			saw = max(saw, w.at.LSN)
			return w.item(), nil
		}
		if item, ok := r.overlay.item(key); ok {
			return item, nil
		}
		return at.item(key, r.overlay.pruned())
	})
	switch {
	case errors.Is(err, command.ErrRetry):
		return x, err
	case err != nil:
		x.refused = err
	case len(x.outcome.Ops) > 0:
		return x, r.append(&x, clock)
	}
	if saw != 0 {
		x.done = r.waitFor(saw)
	}
	return x, nil
}

// append brings the effects of an execution into the log.
func (r *replica) append(x *execution, clock uint64) error {
	// What stays in memory is the entry's own copy: the batch is the caller's.
	pos, err := r.sm.Propose(op.Own(op.Entry{Clock: clock, Ops: x.outcome.Ops}))
	if err != nil {
		return errNotServing
	}
	x.outcome.Written(command.Position(pos))
	x.appended = true
	x.done = r.waitFor(pos.LSN)
	r.pending.add(pos, x.outcome.Ops)
	r.carryOut(r.sm.Drain())
	return nil
}

// waitFor returns a channel that is answered when the entry is committed, or
// the role that appended it has ended.
func (r *replica) waitFor(lsn uint64) chan error {
	done := make(chan error, 1)
	at := len(r.writes)
	for at > 0 && r.writes[at-1].lsn > lsn {
		at--
	}
	r.writes = slices.Insert(r.writes, at, writeWaiter{lsn, done})
	return done
}

// loaded are states of keys as the storage had them, and how far the overlay
// had been pruned before: as long as it has not been since, a key that the
// overlay lacks has the loaded state.
type loaded struct {
	pruned uint64
	items  map[string]command.Item
}

func (l *loaded) item(key []byte, pruned uint64) (command.Item, error) {
	if item, ok := l.items[string(key)]; ok && pruned == l.pruned {
		return item, nil
	}
	return command.Item{}, command.ErrRetry
}

// load reads the states of all keys that the batch may look at.
func (r *replica) load(b api.Batch, at *loaded) error {
	*at = loaded{pruned: r.overlay.pruned(), items: make(map[string]command.Item, len(b.Commands))}
	for _, key := range command.Keys(b) {
		item, err := r.stored(key)
		if err != nil {
			return err
		}
		at.items[string(key)] = item
	}
	return nil
}

// stored returns the state of a key in the storage.
func (r *replica) stored(key []byte) (command.Item, error) {
	v, err := r.node.storage.Get(r.id, key)
	switch {
	case errors.Is(err, storage.ErrNotFound):
		return command.Item{}, nil
	case err != nil:
		return command.Item{}, api.Errorf(api.CodeUnavailable, "partition-%d: %v", r.id, err)
	default:
		return command.Item{Found: true, Data: v.Data, Expires: v.Expires, Version: command.Position{Epoch: v.Epoch, LSN: v.LSN}}, nil
	}
}
