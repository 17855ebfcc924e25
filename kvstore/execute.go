package kvstore

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/execute"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// errNotInMemory says that the state of a key has to be read from the storage,
// which the caller has no time for.
var errNotInMemory = errors.New("the state of a key is not in memory")

// promptTries is how often the states of keys are looked up for a caller that may
// not wait.
const promptTries = 2

// execution is one evaluation of a batch.
type execution struct {
	execute.Execution
	// done is answered when what the answer has to wait for is committed, or
	// the role has ended; nil if there is nothing to wait for.
	done chan error
}

// caller is who has a batch evaluated.
type caller struct {
	// mayWait callers wait for the storage, however long it takes.
	mayWait bool
	// tell, if set, is called when the execution's done has been answered, under
	// the replica's lock.
	tell func()
}

// execute executes a batch, linearizably. The error is errNotServing when
// nothing was executed and another try is due, else one of package api.
func (r *replica) execute(ctx context.Context, b api.Batch) ([]api.Result, error) {
	var t turn
	epoch, x, err := r.begin(ctx, &t, b, caller{mayWait: true})
	r.node.end(&t)
	if err != nil {
		return nil, err
	}
	if x.done != nil {
		if err := r.await(ctx, x); err != nil {
			return nil, err
		}
	}
	if x.IsRead() && !r.leased(epoch) {
		if err := r.confirm(ctx); err != nil {
			return nil, err
		}
	}
	return x.Answer()
}

// begin evaluates a batch in the epoch in which the replica serves, and waits
// for nothing but the state of its keys, if the caller may. What it writes waits
// for the end of the turn.
func (r *replica) begin(ctx context.Context, t *turn, b api.Batch, by caller) (epoch uint64, x execution, err error) {
	if epoch = r.serving.Load(); epoch == 0 {
		return 0, x, errNotServing
	}
	at := loaded{overlay: &r.overlay}
	x, err = r.evaluate(t, b, &at, by.tell)
	for tries := 0; errors.Is(err, command.ErrRetry) && ctx.Err() == nil; tries++ {
		if tries == promptTries && !by.mayWait {
			return 0, x, errNotInMemory
		}
		if err := r.load(b, &at, by.mayWait); err != nil {
			return 0, x, err
		}
		x, err = r.evaluate(t, b, &at, by.tell)
	}
	if errors.Is(err, command.ErrRetry) {
		err = api.Errorf(api.CodeUnavailable, "partition-%d: the time was over before the request could be begun; nothing was executed", r.id)
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
	if err != nil && !x.OutcomeUnknown() {
		return errNotServing
	}
	return err
}

// overdue returns what it means that done was not answered in time.
func (x *execution) overdue(part uint32) error {
	if !x.OutcomeUnknown() {
		return api.Errorf(api.CodeUnavailable, "partition-%d: a write that this request depends on was not acknowledged by every in-sync replica in time", part)
	}
	return api.Errorf(api.CodeOutcomeUnknown, "the write was not acknowledged by every in-sync replica in time; it may yet be executed")
}

// evaluate evaluates the batch, and appends what it writes. The error matches
// command.ErrRetry when the state of a key has to be loaded first.
func (r *replica) evaluate(t *turn, b api.Batch, at *loaded, tell func()) (x execution, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	clock := r.node.clock.now()
	if x.Execution, err = r.pending.Evaluate(b, clock, at); err != nil {
		return x, err
	}
	if len(x.Ops()) > 0 {
		return x, r.append(t, &x, clock, tell)
	}
	if x.After != 0 {
		x.done = r.waitFor(x.After, tell)
	}
	return x, nil
}

// append brings the effects of an execution into the log. They can be larger
// than the batch, as those of appending to many values are, and what the log
// takes the storage must take.
func (r *replica) append(t *turn, x *execution, clock uint64, tell func()) error {
	ops := x.Ops()
	if err := r.node.storage.CheckEntry(ops); err != nil {
		return api.Errorf(api.CodeTooLarge, "commands: what they write is too large for one batch: %v", err)
	}
	// What stays in memory is the entry's own copy: the batch is the caller's.
	pos, err := r.sm.Propose(op.Own(op.Entry{Clock: clock, Ops: ops}))
	if err != nil {
		return errNotServing
	}
	r.pending.Appended(&x.Execution, command.Position(pos))
	x.done = r.waitFor(x.After, tell)
	r.carryOut(t, r.sm.Drain())
	return nil
}

// waitFor returns a channel that is answered when the entry is committed, or
// the role that appended it has ended; then it calls tell, if that is not nil.
func (r *replica) waitFor(lsn uint64, tell func()) chan error {
	done := make(chan error, 1)
	at := len(r.writes)
	for at > 0 && r.writes[at-1].lsn > lsn {
		at--
	}
	r.writes = slices.Insert(r.writes, at, writeWaiter{lsn, done, tell})
	return done
}

// loaded is the committed state of some keys, with what the storage had of
// them read before. As long as the overlay has not been pruned since, a key
// that it lacks has the state that was read.
type loaded struct {
	overlay *overlay
	pruned  uint64
	items   map[string]command.Item
}

// Item returns the state of a key, or command.ErrRetry if it must be read.
func (l *loaded) Item(key []byte) (command.Item, error) {
	if item, ok := l.overlay.item(key); ok {
		return item, nil
	}
	if item, ok := l.items[string(key)]; ok && l.overlay.pruned() == l.pruned {
		return item, nil
	}
	return command.Item{}, command.ErrRetry
}

// load reads the states of all keys that the batch may look at and the overlay
// lacks.
func (r *replica) load(b api.Batch, at *loaded, mayWait bool) error {
	at.pruned, at.items = r.overlay.pruned(), make(map[string]command.Item, len(b.Commands))
	for _, key := range command.Keys(b) {
		if _, ok := r.overlay.item(key); ok {
			continue // it is good until that changes
		}
		item, err := r.stored(key, mayWait)
		if err != nil {
			return err
		}
		at.items[string(key)] = item
	}
	return nil
}

// stored returns the state of a key in the storage. The error is errNotInMemory
// if it would have to be read, that is slow, and the caller may not wait.
func (r *replica) stored(key []byte, mayWait bool) (command.Item, error) {
	item, ok, before := r.overlay.cached(key)
	if ok {
		return item, nil
	}
	if !mayWait && !r.node.readTime.quick() {
		return item, errNotInMemory
	}
	start := time.Now()
	v, err := r.node.storage.Get(r.id, key)
	r.node.readTime.took(time.Since(start))
	switch {
	case errors.Is(err, storage.ErrNotFound):
	case err != nil:
		return command.Item{}, api.Errorf(api.CodeUnavailable, "partition-%d: %v", r.id, err)
	default:
		item = command.Item{Found: true, Data: v.Data, Expires: v.Expires, Version: command.Position{Epoch: v.Epoch, LSN: v.LSN}}
	}
	r.overlay.keep(key, item, before)
	return item, nil
}
