package kvstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// errNotServing says that this replica cannot take the request now. Nothing
// was executed; the map may know better by and by.
var errNotServing = errors.New("this replica does not serve the partition now")

// Value is a value and the position of the write that made it.
type Value struct {
	Data    []byte
	Version partition.Position
}

// replica is one partition on this node: the protocol's state machine, and
// those who wait for it. Its lock is held for computation only; everything
// that takes time happens in the node's goroutines.
type replica struct {
	node *Node
	id   uint32

	overlay overlay
	// serving is the epoch in which this replica serves, 0 when it does not.
	serving atomic.Uint64

	mu     sync.Mutex
	sm     *partition.Replica
	writes []writeWaiter // by rising LSN
	reads  map[uint64]chan bool
	// released: the partition is no longer assigned, or is again, to another
	// replica value.
	released bool
}

type writeWaiter struct {
	lsn  uint64
	done chan error
}

// do runs f on the state machine and carries out what it asks for.
func (r *replica) do(f func(*partition.Replica)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f(r.sm)
	r.carryOut(r.sm.Drain())
}

// carryOut hands the output to the goroutines that act on it.
func (r *replica) carryOut(out partition.Output) {
	n := r.node
	if role, _ := r.sm.Role(); role != partition.Serving {
		r.serving.Store(0) // before anybody can be told that this node has stopped
	}
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
	if out.Snapshot != nil {
		n.fetches.begin(r, *out.Snapshot)
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
		ops, err := op.Decode(e.Data)
		if err != nil {
			r.node.fail(err)
			return
		}
		r.overlay.add(e.Position(), ops)
		batch = append(batch, appliedEntry{e.Position(), ops, len(e.Data) + recordOverhead})
	}
	r.node.applier.enqueue(r, batch)
	r.answerWrites(entries[len(entries)-1].LSN, nil)
}

func (r *replica) answerWrites(through uint64, err error) {
	i := 0
	for ; i < len(r.writes) && r.writes[i].lsn <= through; i++ {
		r.writes[i].done <- err
	}
	if r.writes = r.writes[i:]; len(r.writes) == 0 {
		r.writes = nil
	}
}

// roleChanged publishes whether the replica serves. Writes that a role left
// behind may yet be committed by the next primary.
func (r *replica) roleChanged() {
	role, epoch := r.sm.Role()
	if role == partition.Serving {
		r.serving.Store(epoch)
	}
	if role == partition.Follower {
		r.answerWrites(^uint64(0), api.Errorf(api.CodeOutcomeUnknown,
			"the primary of partition-%d changed while the write was being replicated; it may or may not have been executed", r.id))
	}
	r.node.log.Debug("role", "partition", r.id, "role", role.String(), "epoch", epoch)
	r.node.changed.announce()
}

// write appends data to the log and waits until it is committed. The error
// is errNotServing when nothing was appended, else one of package api.
func (r *replica) write(ctx context.Context, data []byte) (partition.Position, error) {
	r.mu.Lock()
	pos, err := r.sm.Propose(data)
	if err != nil {
		r.mu.Unlock()
		return pos, errNotServing
	}
	done := make(chan error, 1)
	r.writes = append(r.writes, writeWaiter{pos.LSN, done})
	r.carryOut(r.sm.Drain())
	r.mu.Unlock()
	select {
	case err := <-done:
		return pos, err
	case <-ctx.Done():
		return pos, api.Errorf(api.CodeOutcomeUnknown, "the write was not acknowledged by every in-sync replica in time; it may yet be executed")
	}
}

// read returns the committed value of a key, linearizably: the value is taken
// first, and then it is made sure that nobody else leads the partition.
func (r *replica) read(ctx context.Context, key []byte) (Value, error) {
	epoch := r.serving.Load()
	if epoch == 0 {
		return Value{}, errNotServing
	}
	value, err := r.committed(key)
	if err != nil && !errors.Is(err, api.ErrNotFound) {
		return Value{}, err
	}
	if !r.leased(epoch) {
		if err := r.confirm(ctx); err != nil {
			return Value{}, err
		}
	}
	return value, err
}

// leased reports whether the lease of this node's session still covers the
// epoch. The map is looked at after the lease: a new session's lease counts
// only once its node knows the map that the session began with, and there
// the epoch is another one if somebody else has led since.
func (r *replica) leased(epoch uint64) bool {
	if !r.node.cluster.HoldsLease() {
		return false
	}
	m := r.node.cluster.Map()
	return m != nil && m.Partitions[r.id].Epoch == epoch && r.serving.Load() == epoch
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
	r.carryOut(r.sm.Drain())
	r.mu.Unlock()
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

// committed returns what is committed here, linearizable or not.
func (r *replica) committed(key []byte) (Value, error) {
	if v, ok := r.overlay.get(key); ok {
		if v.deleted {
			return Value{}, api.ErrNotFound
		}
		return Value{v.value, v.at}, nil
	}
	v, err := r.node.storage.Get(r.id, key)
	if errors.Is(err, storage.ErrNotFound) {
		return Value{}, api.ErrNotFound
	}
	if err != nil {
		return Value{}, api.Errorf(api.CodeUnavailable, "partition-%d: %v", r.id, err)
	}
	return Value{v.Data, partition.Position{Epoch: v.Epoch, LSN: v.LSN}}, nil
}

// next returns the next message to a peer, with entries read from the log
// when they are no longer in memory.
func (r *replica) next(to partition.Member) (partition.Message, bool) {
	for {
		r.mu.Lock()
		m, load, ok := r.sm.NextAppend(to)
		r.mu.Unlock()
		if !ok || !load {
			return m, ok
		}
		entries := r.node.commitLog.read(r.id, m.Prev.LSN+1)
		r.mu.Lock()
		if len(entries) == 0 {
			r.sm.Retained(r.node.commitLog.log.FirstLSN(r.id))
		}
		m, ok = r.sm.Loaded(m, entries)
		r.mu.Unlock()
		if ok {
			return m, true
		}
	}
}
