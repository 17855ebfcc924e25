package clusterkit

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"
)

// hookRunner finds the copies that have to be made and runs the hooks. The map
// is the record of what was done, since a copy that was not acknowledged is not
// in sync; where a partition begins empty, and its copies are in sync at once,
// the cursor is. So history never fires again.
type hookRunner struct {
	// node and store name the copies that are this node's own.
	node, store string
	// joined reports whether the map includes the opening of this node's
	// session: what comes before is history.
	joined func(*Map) bool
	// acknowledge is called for a copy on this node when all hooks have
	// returned, unless it is nil.
	acknowledge func(ctx context.Context, partition int, c Member)
	cursor      *hookCursor
	log         *slog.Logger
	// changed is notified when the newest map is another.
	changed *broadcast

	mu     sync.Mutex
	hooks  []partitionHook
	sealed bool
	// newest is nil before the first map that this node has joined in.
	newest *Map
	// jobs has, by partition and in order, the copies that have to be made,
	// also those whose hooks have returned and that are not in sync yet.
	jobs map[int][]*copyJob
	// busy has the partitions with a goroutine at work.
	busy    map[int]bool
	stopped bool
	// wg has the goroutines of the partitions, acks the acknowledgements.
	wg, acks sync.WaitGroup
	ctx      context.Context
	cancel   context.CancelFunc
}

func newHookRunner(node, store string, joined func(*Map) bool, log *slog.Logger) *hookRunner {
	h := &hookRunner{
		node: node, store: store, joined: joined, log: log,
		changed: newBroadcast(), jobs: make(map[int][]*copyJob), busy: make(map[int]bool),
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// add panics after seal.
func (h *hookRunner) add(hook partitionHook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.sealed {
		panic("clusterkit: a partition hook is added after Start: add it before")
	}
	h.hooks = append(h.hooks, hook)
}

// seal is called when the node starts.
func (h *hookRunner) seal() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.sealed = true
}

// observe is called with every change of the map, in order. It does not block.
func (h *hookRunner) observe(prev, next *Map) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := h.newest == nil
	if h.stopped || first && !h.joined(next) {
		return
	}
	h.newest = next
	all := first || prev == nil || !sameNodes(prev, next)
	for i := range next.Partitions {
		p := &next.Partitions[i]
		if all || prev.Partitions[i].Version != p.Version {
			h.drop(p)
			h.find(p, prev != nil && prev.Partitions[i].Began != p.Began)
		}
	}
	h.changed.notify()
}

// drop forgets the copies that have not to be made any more.
func (h *hookRunner) drop(p *Partition) {
	for _, j := range slices.Clone(h.jobs[p.Index]) {
		if j.due(p) {
			continue
		}
		h.forget(j)
		// Who has acknowledged before it returns may finish its work.
		if j.phase != copyRunning || !p.IsInSync(j.member) {
			j.end()
		}
	}
}

// find adds the copies that have to be made and are not known yet. A copy
// whose node is away is found when it is back. begins says that the partition
// begins empty with this map.
func (h *hookRunner) find(p *Partition, begins bool) {
	for _, c := range p.Members {
		own := c.Node == h.node && c.Store == h.store
		switch inSync, initial := p.IsInSync(c), c.Incarnation == p.Began; {
		case !inSync:
			if own && initial {
				// From now on it is one that is made from another.
				h.cursor.complete(p.Index, p.Began)
			}
			h.enqueue(p, c, false)
		case initial && own && !h.cursor.has(p.Index, p.Began), initial && !own && begins:
			h.enqueue(p, c, true)
		}
	}
}

func (h *hookRunner) enqueue(p *Partition, c Member, initial bool) {
	known := slices.ContainsFunc(h.jobs[p.Index], func(j *copyJob) bool { return j.member == c })
	if known || !h.newest.Present(c) {
		return
	}
	j := &copyJob{partition: p.Index, member: c, initial: initial, reason: p.Reason, phase: copyQueued, since: time.Now()}
	j.ctx, j.end = context.WithCancel(h.ctx)
	h.jobs[p.Index] = append(h.jobs[p.Index], j)
	if !h.busy[p.Index] {
		h.busy[p.Index] = true
		h.wg.Go(func() { h.work(p.Index) })
	}
}

// stop starts no more hooks and ends the contexts of those that run. When it
// returns, nothing is acknowledged any more.
func (h *hookRunner) stop() {
	h.mu.Lock()
	h.stopped = true
	h.mu.Unlock()
	h.cancel()
	h.acks.Wait()
}

// wait waits for the running hooks after stop, at most until the context ends:
// a hook that does not return cannot be stopped.
func (h *hookRunner) wait(ctx context.Context) error {
	if err := waitFor(ctx, &h.wg); err != nil {
		return fmt.Errorf("a partition hook has not returned: %w", err)
	}
	return nil
}

// waitFor waits for the group, at most until the context ends.
func waitFor(ctx context.Context, wg *sync.WaitGroup) error {
	done := make(chan struct{})
	go func() {
		wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
