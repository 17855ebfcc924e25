package kvstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/wal"
)

// noSpaceRetry is how often writes that the log refused for want of disk
// space are tried again.
const noSpaceRetry = 200 * time.Millisecond

// maxAppend bounds one batch given to the log, which takes no more than half
// a segment.
const maxAppend = 4 << 20

// recordOverhead is more than what the log adds to the data of a record.
const recordOverhead = 64

// commitLog brings the writes of all replicas into the node's log, and tells
// the replicas when they are on disk. One goroutine does both: while a group is
// being written, the next gathers, and in a busy log for a moment longer, see
// [spacing].
type commitLog struct {
	node *Node
	log  *wal.Log

	mu    sync.Mutex
	queue []logWrite
	// turns is how many turns the queue is of, without those that only forgot.
	turns int
	// idle: the goroutine waits to be woken, and no turn has ended meanwhile.
	idle bool
	wake chan struct{} // one slot

	// spacing is the goroutine's, or of whoever holds mu while it is idle.
	spacing spacing

	// The rest is the goroutine's, which uses it anew for each group.
	records []wal.Record
	last    map[*replica]uint64
}

type logWrite struct {
	replica *replica
	write   partition.Write
	// forget drops the entries of the partition; the write has its last
	// state.
	forget bool
}

func newCommitLog(n *Node, l *wal.Log) *commitLog {
	return &commitLog{node: n, log: l, wake: make(chan struct{}, 1), last: map[*replica]uint64{}}
}

// enqueue takes writes in order; the caller holds the replica's lock, and wakes
// the goroutine later.
func (c *commitLog) enqueue(r *replica, writes []partition.Write) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, w := range writes {
		c.queue = append(c.queue, logWrite{replica: r, write: w})
	}
}

// begin has a group begun with what so many turns have queued. Where the
// goroutine was idle and will not rest, the entries are sent here while it wakes
// up; else they leave when the group does. No lock of a replica is held.
func (c *commitLog) begin(turns int) {
	c.mu.Lock()
	c.turns += turns
	first := c.idle && c.spacing.wait(time.Now()) == 0
	c.idle = false
	c.mu.Unlock()
	signal(c.wake)
	if first {
		c.node.peers.flush()
	}
}

// forget drops the entries of a replica that takes no further part, all but
// its state.
func (c *commitLog) forget(r *replica, s partition.State) {
	c.mu.Lock()
	c.queue = append(c.queue, logWrite{replica: r, forget: true, write: partition.Write{State: s, HasState: true, HasReset: true}})
	c.mu.Unlock()
	signal(c.wake)
}

func signal(wake chan struct{}) {
	select {
	case wake <- struct{}{}:
	default:
	}
}

// run writes group after group until the context ends or the log fails.
func (c *commitLog) run(ctx context.Context) {
	var group, spare []logWrite
	for {
		if !c.awake(ctx) {
			return
		}
		if rest := c.spacing.wait(time.Now()); rest > 0 {
			select {
			case <-ctx.Done():
				return
			case <-time.After(rest):
			}
		}
		select {
		case <-c.wake: // who came meanwhile is in this group
		default:
		}
		c.mu.Lock()
		group, c.queue = c.queue, spare[:0]
		turns := c.turns
		c.turns = 0
		c.mu.Unlock()
		c.node.peers.flushInBackground() // the disk is slower
		if !c.write(ctx, group) {
			return
		}
		c.report(group)
		c.spacing.wrote(turns, time.Now())
		clear(group)
		spare = group
	}
}

// awake waits for a turn to end; it returns false when the context does.
func (c *commitLog) awake(ctx context.Context) bool {
	c.mu.Lock()
	c.idle = c.turns == 0
	c.mu.Unlock()
	select {
	case <-ctx.Done():
		return false
	case <-c.wake:
	}
	c.mu.Lock()
	c.idle = false // also if it was woken for nothing: that turn is in the last group
	c.mu.Unlock()
	return true
}

// write makes a group durable, in as few batches as the log takes.
func (c *commitLog) write(ctx context.Context, group []logWrite) bool {
	for len(group) > 0 {
		size, n := 0, 0
		c.records = c.records[:0]
		for ; n < len(group) && size < maxAppend; n++ {
			c.records, size = group[n].appendTo(c.records, size)
		}
		if !c.append(ctx, c.records) {
			return false
		}
		clear(c.records)
		group = group[n:]
	}
	return true
}

func (w *logWrite) appendTo(records []wal.Record, size int) ([]wal.Record, int) {
	id := w.replica.id
	if w.write.HasReset {
		records = append(records, wal.ResetRecord(id, wal.Position(w.write.Reset)))
	}
	if w.write.HasState {
		records = append(records, wal.StateRecord(id, encodeState(w.write.State)))
	}
	for _, e := range w.write.Entries {
		records = append(records, wal.EntryRecord(id, wal.Entry(e)))
		size += len(e.Data)
	}
	return records, size + recordOverhead*(len(w.write.Entries)+2)
}

// append has one batch made durable. It waits while the disk is full and
// returns false when there is no going on.
func (c *commitLog) append(ctx context.Context, records []wal.Record) bool {
	for {
		err := c.log.Append(records)
		switch {
		case err == nil:
			c.node.diskFull.Store(false)
			return true
		case !errors.Is(err, wal.ErrNoSpace):
			c.node.fail(err)
			return false
		}
		if !c.node.diskFull.Swap(true) {
			c.node.log.Error("writes are refused", "err", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(noSpaceRetry):
		}
	}
}

// report tells the replicas that a group is on disk.
func (c *commitLog) report(group []logWrite) {
	for i := range group {
		if w := &group[i]; w.forget {
			c.node.drop(w.replica)
			delete(c.last, w.replica)
		} else {
			c.last[w.replica] = w.write.Seq
		}
	}
	var t turn
	for r, seq := range c.last {
		r.during(&t, func(sm *partition.Replica) { sm.Synced(seq) })
	}
	clear(c.last)
	c.node.end(&t)
}

// read returns entries from lsn on, none when they are no longer held.
func (c *commitLog) read(part uint32, lsn uint64) []partition.Entry {
	entries, err := c.log.Read(part, lsn, c.node.config.MaxBatchBytes)
	if err != nil && !errors.Is(err, wal.ErrTruncated) && !errors.Is(err, wal.ErrClosed) {
		c.node.fail(err)
	}
	out := make([]partition.Entry, len(entries))
	for i, e := range entries {
		out[i] = partition.Entry(e)
	}
	return out
}
