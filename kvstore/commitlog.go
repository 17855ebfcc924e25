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
// the replicas when they are on disk.
type commitLog struct {
	node *Node
	log  *wal.Log

	mu    sync.Mutex
	queue []logWrite
	wake  chan struct{} // one slot

	syncedMu sync.Mutex
	synced   []syncedWrite
	syncWake chan struct{} // one slot
}

type logWrite struct {
	replica *replica
	write   partition.Write
	// forget drops the entries of the partition; the write has its last
	// state.
	forget bool
}

type syncedWrite struct {
	replica   *replica
	seq       uint64
	forgotten bool
}

func newCommitLog(n *Node, l *wal.Log) *commitLog {
	return &commitLog{node: n, log: l, wake: make(chan struct{}, 1), syncWake: make(chan struct{}, 1)}
}

// enqueue takes writes in order; the caller holds the replica's lock.
func (c *commitLog) enqueue(r *replica, writes []partition.Write) {
	c.mu.Lock()
	for _, w := range writes {
		c.queue = append(c.queue, logWrite{replica: r, write: w})
	}
	c.mu.Unlock()
	signal(c.wake)
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

// write appends what has gathered, until the context ends.
func (c *commitLog) write(ctx context.Context) {
	var records []wal.Record
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.wake:
		}
		c.mu.Lock()
		queue := c.queue
		c.queue = nil
		c.mu.Unlock()
		for len(queue) > 0 {
			size, n := 0, 0
			records = records[:0]
			for ; n < len(queue) && size < maxAppend; n++ {
				records, size = queue[n].appendTo(records, size)
			}
			if !c.append(ctx, records, queue[:n:n]) {
				return
			}
			queue = queue[n:]
		}
	}
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

// append gives one batch to the log. It waits while the disk is full and
// returns false when there is no going on.
func (c *commitLog) append(ctx context.Context, records []wal.Record, writes []logWrite) bool {
	done := func(err error) {
		if err != nil {
			c.node.fail(err)
			return
		}
		c.syncedMu.Lock()
		for _, w := range writes {
			c.synced = append(c.synced, syncedWrite{w.replica, w.write.Seq, w.forget})
		}
		c.syncedMu.Unlock()
		signal(c.syncWake)
	}
	for {
		err := c.log.Append(records, done)
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

// report tells the replicas what is on disk, until the context ends.
func (c *commitLog) report(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.syncWake:
		}
		c.syncedMu.Lock()
		synced := c.synced
		c.synced = nil
		c.syncedMu.Unlock()
		last := map[*replica]uint64{}
		for _, s := range synced {
			if s.forgotten {
				c.node.drop(s.replica)
				delete(last, s.replica)
			} else {
				last[s.replica] = s.seq
			}
		}
		for r, seq := range last {
			r.do(func(sm *partition.Replica) { sm.Synced(seq) })
		}
	}
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
