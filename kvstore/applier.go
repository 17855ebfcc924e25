package kvstore

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

const (
	// maxApply bounds what one round moves into the storage, gatherBytes is
	// what a round is worth beginning for, and gatherDelay how long it waits
	// for that: the storage syncs each transaction, so few large ones cost a
	// tenth of many small ones, and nobody waits for them.
	maxApply    = 8 << 20
	gatherBytes = 4 << 20
	gatherDelay = 250 * time.Millisecond
	// maxBacklog is how much may be committed and not in the storage before
	// new writes are held back; in memory it takes three times as much.
	maxBacklog = 32 << 20
)

// applier moves committed entries into the storage, off the path of the
// acknowledgement, and runs what must be ordered with that.
type applier struct {
	node *Node

	mu      sync.Mutex
	queue   []applyJob
	backlog int
	wake    chan struct{} // one slot: there is something
	// urgent is woken when a round is due at once.
	urgent chan struct{} // one slot
}

// applyJob is either entries of a replica, or something to run between.
type applyJob struct {
	replica *replica
	entries []appliedEntry
	run     func()
}

type appliedEntry struct {
	at   partition.Position
	ops  []op.Op
	size int
	mark bool
}

func newApplier(n *Node) *applier {
	return &applier{node: n, wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1)}
}

func (a *applier) enqueue(r *replica, entries []appliedEntry) {
	size := 0
	for _, e := range entries {
		size += e.size
	}
	a.mu.Lock()
	a.queue = append(a.queue, applyJob{replica: r, entries: entries})
	a.backlog += size
	due := a.backlog >= gatherBytes || r.digests.wants(entries[len(entries)-1].at.LSN)
	a.mu.Unlock()
	signal(a.wake)
	if due {
		signal(a.urgent)
	}
}

// between runs f after everything that is queued now.
func (a *applier) between(r *replica, f func()) {
	a.mu.Lock()
	a.queue = append(a.queue, applyJob{replica: r, run: f})
	a.mu.Unlock()
	signal(a.wake)
	signal(a.urgent)
}

// catchUp waits until everything that is queued now is in the storage.
func (a *applier) catchUp(ctx context.Context, r *replica) error {
	done := make(chan struct{})
	a.between(r, func() { close(done) })
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return api.Errorf(api.CodeUnavailable, "partition-%d: committed writes did not reach the storage in time", r.id)
	}
}

// overloaded reports whether new writes, and entries from a primary, should
// wait.
func (a *applier) overloaded() bool { return a.size() > maxBacklog }

// size returns how many bytes are committed and not yet stored.
func (a *applier) size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.backlog
}

// run applies until the context ends. What is left then is in the log.
func (a *applier) run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.wake:
		}
		gathered := time.NewTimer(gatherDelay)
		select {
		case <-ctx.Done():
		case <-a.urgent:
		case <-gathered.C:
		}
		gathered.Stop()
		a.mu.Lock()
		queue := a.queue
		a.queue = nil
		a.mu.Unlock()
		for len(queue) > 0 && ctx.Err() == nil {
			if queue[0].run != nil {
				queue[0].run()
				queue = queue[1:]
				continue
			}
			size, n := 0, 0
			for n < len(queue) && queue[n].run == nil && size < maxApply {
				for _, e := range queue[n].entries {
					size += e.size
				}
				n++
			}
			if !a.apply(ctx, queue[:n]) {
				return
			}
			queue = queue[n:]
			a.mu.Lock()
			a.backlog -= size
			a.mu.Unlock()
			a.node.changed.announce()
		}
	}
}

// grouped are jobs as batches. Behind each mark a batch ends, so that the digest
// there is known.
type grouped struct {
	batches []storage.Batch
	last    map[*replica]int // the last batch of each
	marks   map[*replica][]*storage.Checkpoint
}

func (a *applier) group(jobs []applyJob) grouped {
	g := grouped{last: map[*replica]int{}, marks: map[*replica][]*storage.Checkpoint{}}
	for _, j := range jobs {
		if a.node.replica(j.replica.id) != j.replica {
			continue // released; its data are about to go
		}
		for _, e := range j.entries {
			i, ok := g.last[j.replica]
			if !ok || g.batches[i].Then != nil {
				i = len(g.batches)
				g.last[j.replica] = i
				g.batches = append(g.batches, storage.Batch{Partition: j.replica.id})
			}
			b := &g.batches[i]
			for _, o := range e.ops {
				b.Writes = append(b.Writes, storage.Write{Op: o, Epoch: e.at.Epoch, LSN: e.at.LSN})
			}
			b.Through = storage.Position(e.at)
			if e.mark {
				b.Then = new(storage.Checkpoint)
				g.marks[j.replica] = append(g.marks[j.replica], b.Then)
			}
		}
	}
	return g
}

// apply moves the jobs' entries into the storage in few transactions.
func (a *applier) apply(ctx context.Context, jobs []applyJob) bool {
	g := a.group(jobs)
	for r := range g.last {
		r.digests.change()
	}
	if !a.store(ctx, g.batches) {
		return false
	}
	for r, i := range g.last {
		lsn := g.batches[i].Through.LSN
		r.digests.changed(g.marks[r])
		r.overlay.prune(lsn)
		r.do(func(sm *partition.Replica) {
			if r.released {
				return // the log may belong to the copy after this one
			}
			a.node.commitLog.log.Applied(r.id, lsn)
			sm.Applied(lsn)
			sm.Retained(a.node.commitLog.log.FirstLSN(r.id))
		})
	}
	return true
}

// store gives the batches to the storage and waits while the disk is full;
// new writes are held back meanwhile.
func (a *applier) store(ctx context.Context, batches []storage.Batch) bool {
	for waits := false; ; waits = true {
		err := a.node.storage.Apply(batches)
		if err == nil {
			return true
		}
		if !errors.Is(err, storage.ErrNoSpace) {
			a.node.fail(err)
			return false
		}
		if !waits {
			a.node.log.Error("committed writes wait for disk space", "err", err)
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(noSpaceRetry):
		}
		batches = a.unapplied(batches)
	}
}

// unapplied drops what an attempt that was cut short has stored.
func (a *applier) unapplied(batches []storage.Batch) []storage.Batch {
	var rest []storage.Batch
	for _, b := range batches {
		c, _ := a.node.storage.Checkpoint(b.Partition)
		for len(b.Writes) > 0 && b.Writes[0].LSN <= c.LSN {
			b.Writes = b.Writes[1:]
		}
		if b.Through.LSN > c.LSN {
			rest = append(rest, b)
		}
	}
	return rest
}
