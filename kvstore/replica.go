package kvstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/execute"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// errNotServing says that this replica cannot take the request now. Nothing
// was executed; the map may know better by and by.
var errNotServing = errors.New("this replica does not serve the partition now")

// Value is a value and the position of the write that made it.
type Value struct {
	Data    []byte
	Version partition.Position
	// TTL is what is left of its time in milliseconds, 0 for ever.
	TTL int64
}

// replica is one partition on this node: the protocol's state machine, and
// those who wait for it. Its lock is held for computation only; everything
// that takes time happens in the node's goroutines.
type replica struct {
	node *Node
	id   uint32
	// incarnation is the assignment that the copy belongs to; only the
	// goroutine that reconciles uses it.
	incarnation uint64

	overlay overlay
	digests digests
	// serving is the epoch in which this replica serves, 0 when it does not.
	serving atomic.Uint64

	mu      sync.Mutex
	sm      *partition.Replica
	pending execute.Pending
	writes  []writeWaiter // by rising LSN
	reads   map[uint64]chan bool
	// backlogs are the ends of what learners are given at the rate for copies.
	backlogs map[partition.Member]uint64
	// released: the partition is no longer assigned, or is again, to another
	// replica value.
	released bool
}

type writeWaiter struct {
	lsn  uint64
	done chan error
	tell func()
}

// do runs f on the state machine and has what it asks for carried out.
func (r *replica) do(f func(*partition.Replica)) {
	var t turn
	r.during(&t, f)
	r.node.end(&t)
}

// during runs f on the state machine as a part of a turn.
func (r *replica) during(t *turn, f func(*partition.Replica)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.sm)
	r.carryOut(t, r.sm.Drain())
}

// carryOut hands the output to the goroutines that act on it when the turn has
// ended.
func (r *replica) carryOut(t *turn, out partition.Output) {
	n := r.node
	if role, _ := r.sm.Role(); role != partition.Serving {
		r.serving.Store(0) // before anybody can be told that this node has stopped
	}
	t.gather(&out)
	if len(out.Writes) > 0 {
		n.commitLog.enqueue(r, out.Writes)
	}
	for _, m := range out.Messages {
		n.peers.send(r.id, m)
	}
	for _, to := range out.Ready {
		n.peers.ready(r.id, to)
	}
	if len(out.Committed) > 0 {
		r.commit(out.Committed)
	}
	for _, c := range out.Confirmed {
		if ch := r.reads[c.Ticket]; ch != nil {
			delete(r.reads, c.Ticket)
			ch <- c.OK
		}
	}
	if out.InSync != nil {
		n.proposals.inSync(r.id, *out.InSync)
	}
	if out.Transfer != nil {
		n.proposals.transfer(r.id, *out.Transfer)
	}
	for _, v := range out.Verify {
		n.comparisons.begin(r, v)
	}
	for _, m := range out.Refused {
		n.comparisons.refuse(r.id, m)
	}
	if out.Snapshot != nil {
		n.migrations.want(r, *out.Snapshot)
	}
	if out.RoleChanged {
		r.roleChanged()
	}
	if out.Fatal != nil {
		n.fail(out.Fatal)
	}
}

// commit makes committed entries visible, answers those who wrote them, and
// sends them on their way into the storage.
func (r *replica) commit(entries []partition.Entry) {
	batch := make([]appliedEntry, 0, len(entries))
	for _, e := range entries {
		decoded, err := op.Decode(e.Data)
		if err != nil {
			r.node.fail(err)
			return
		}
		if decoded.Clock != 0 {
			r.node.clock.observe(decoded.Clock)
		}
		r.overlay.add(e.Position(), decoded.Ops)
		batch = append(batch, appliedEntry{e.Position(), decoded.Ops, len(e.Data) + recordOverhead, len(e.Data) == 0})
	}
	r.node.applier.enqueue(r, batch)
	through := entries[len(entries)-1].LSN
	r.pending.Committed(through)
	r.answerWrites(through, nil)
}

func (r *replica) answerWrites(through uint64, err error) {
	i := 0
	for ; i < len(r.writes) && r.writes[i].lsn <= through; i++ {
		w := &r.writes[i]
		w.done <- err
		if w.tell != nil {
			w.tell()
		}
	}
	if r.writes = r.writes[i:]; len(r.writes) == 0 {
		r.writes = nil
	}
}

// roleChanged publishes whether the replica serves. Writes that a role left
// behind may yet be committed by the next primary.
func (r *replica) roleChanged() {
	role, epoch := r.sm.Role()
	if role == partition.Serving && r.serving.Swap(epoch) != epoch {
		r.node.log.Info("serving", "partition", r.id, "epoch", epoch)
	}
	if role == partition.Follower {
		r.backlogs = nil
		r.pending.Clear()
		r.answerWrites(^uint64(0), api.Errorf(api.CodeOutcomeUnknown,
			"the primary of partition-%d changed while the write was being replicated; it may or may not have been executed", r.id))
	}
	r.node.log.Debug("role", "partition", r.id, "role", role.String(), "epoch", epoch)
	r.node.changed.announce()
}

// read returns the committed value of a key, linearizably: the value is taken
// first, and then it is made sure that nobody else leads the partition.
func (r *replica) read(ctx context.Context, key []byte) (Value, error) {
	epoch := r.serving.Load()
	if epoch == 0 {
		return Value{}, errNotServing
	}
	item, err := r.committed(command.AppendUserKey(make([]byte, 0, 64), key), true)
	if err != nil {
		return Value{}, err
	}
	ttl := int64(0)
	if item.Expires != 0 {
		clock := r.node.clock.now()
		if item.Expires <= clock {
			return r.readExpired(ctx, key)
		}
		ttl = int64(item.Expires - clock)
	}
	if !r.leased(epoch) {
		if err := r.confirm(ctx); err != nil {
			return Value{}, err
		}
	}
	if !item.Found {
		return Value{}, api.ErrNotFound
	}
	return Value{Data: item.Data, Version: partition.Position(item.Version), TTL: ttl}, nil
}

// readExpired answers a read that has found an expired value: it is absent as
// soon as its deletion is committed, unless somebody has written it anew.
func (r *replica) readExpired(ctx context.Context, key []byte) (Value, error) {
	results, err := r.execute(ctx, api.Batch{Commands: []api.Command{{Op: api.OpGet, Key: key}}})
	if err != nil {
		return Value{}, err
	}
	if !results[0].Found {
		return Value{}, api.ErrNotFound
	}
	return Value{Data: results[0].Value, Version: parseVersion(results[0].Version), TTL: results[0].TTL}, nil
}

// leased reports whether the lease of this node's session still covers the
// epoch. The map is looked at after the lease: a new session's lease counts
// only once its node knows the map that the session began with, and there
// the epoch is another one if somebody else has led since.
func (r *replica) leased(epoch uint64) bool {
	rules := r.node.config.Rules
	if rules.Breaks(planted.ReadWithoutLease) {
		return true
	}
	if !r.node.cluster.HoldsLease() {
		return false
	}
	m := r.node.cluster.Map()
	return m != nil && (m.Partitions[r.id].Epoch == epoch || rules.Breaks(planted.LeaseOfAnyEpoch)) && r.serving.Load() == epoch
}

// confirm asks all who may count whether the epoch is still the latest.
func (r *replica) confirm(ctx context.Context) error {
	r.mu.Lock()
	ticket, err := r.sm.Confirm()
	if err != nil {
		r.mu.Unlock()
		return errNotServing
	}
	answer := make(chan bool, 1)
	r.reads[ticket] = answer
	var t turn
	r.carryOut(&t, r.sm.Drain())
	r.mu.Unlock()
	r.node.end(&t)
	select {
	case ok := <-answer:
		if !ok {
			return errNotServing
		}
		return nil
	case <-ctx.Done():
		r.mu.Lock()
		delete(r.reads, ticket)
		r.mu.Unlock()
		return api.Errorf(api.CodeUnavailable, "partition-%d: the lease has run out and the replicas did not confirm the primary in time", r.id)
	}
}

// committed returns what is committed here, linearizable or not. The error is
// errNotInMemory if the caller would have to wait for it and may not.
func (r *replica) committed(key []byte, mayWait bool) (command.Item, error) {
	if item, ok := r.overlay.item(key); ok {
		return item, nil
	}
	return r.stored(key, mayWait)
}

// next returns the next message to a peer, with entries read from the log
// when they are no longer in memory. If the caller may not wait for that, it
// takes nothing and returns that one has to.
func (r *replica) next(to partition.Member, mayWait bool) (m partition.Message, wait, ok bool) {
	for {
		r.mu.Lock()
		if !mayWait && r.sm.MustLoad(to) {
			r.mu.Unlock()
			return m, true, false
		}
		m, load, ok := r.sm.NextAppend(to)
		r.mu.Unlock()
		if !ok || !load {
			return m, false, ok
		}
		entries := r.node.commitLog.read(r.id, m.Prev.LSN+1)
		r.mu.Lock()
		if len(entries) == 0 {
			r.sm.Retained(r.node.commitLog.log.FirstLSN(r.id))
		}
		m, ok = r.sm.Loaded(m, entries)
		r.mu.Unlock()
		if ok {
			return m, false, true
		}
	}
}
