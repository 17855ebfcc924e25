package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// partitionHook is told that a copy of a partition has to be made. copyFrom is
// a live node that has the data, nil only where the partition begins empty.
// copyTo is the node that needs it.
type partitionHook func(partitionID string, copyFrom *Node, copyTo *Node)

// hookRunner finds the copies that have to be made and runs the hooks. The map
// itself is the record of what was done: a copy that is not in sync has not
// been acknowledged, so nothing else needs to be kept, and history never fires
// again.
type hookRunner struct {
	// joined reports whether the map includes the opening of this node's
	// session: what comes before is history.
	joined func(*Map) bool
	// copied is called on every node when all hooks have returned.
	copied func(ctx context.Context, partition int, c Member)
	log    *slog.Logger

	mu    sync.Mutex
	hooks []partitionHook
	live  bool
	// fired has, per partition, the copies whose hooks were started.
	fired map[int][]Member
	// queues has, per partition, the calls that wait for the one before. A
	// partition with an entry has a goroutine at work.
	queues  map[int][]hookCall
	stopped bool
	// wg has the goroutines of the partitions, acks the acknowledgements.
	wg, acks sync.WaitGroup
	ctx      context.Context
	cancel   context.CancelFunc
}

// A hook that panicked is called again after a delay, which doubles.
const (
	minHookRetryDelay = 100 * time.Millisecond
	maxHookRetryDelay = 30 * time.Second
)

type hookCall struct {
	partition int
	id        string
	member    Member
	from      *Node
	to        Node
}

func newHookRunner(joined func(*Map) bool, copied func(context.Context, int, Member), log *slog.Logger) *hookRunner {
	h := &hookRunner{joined: joined, copied: copied, log: log, fired: make(map[int][]Member), queues: make(map[int][]hookCall)}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

func (h *hookRunner) add(hook partitionHook) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hooks = append(h.hooks, hook)
}

// observe is called with every change of the map, in order. It does not block.
func (h *hookRunner) observe(prev, next *Map) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first := !h.live
	if first && !h.joined(next) || h.stopped {
		return
	}
	h.live = true
	nodesChanged := first || prev == nil || !sameNodes(prev, next)
	for i := range next.Partitions {
		p := &next.Partitions[i]
		if !nodesChanged && prev.Partitions[i].Version == p.Version {
			continue
		}
		if prev != nil && prev.Partitions[i].Began != p.Began && p.Version == p.Began {
			h.announce(next, p)
		}
		h.review(next, p)
	}
}

// announce fires for a partition that begins empty: there is nothing to copy.
func (h *hookRunner) announce(m *Map, p *Partition) {
	for _, c := range p.Members {
		if to := m.Node(c.Node); to != nil {
			h.enqueue(hookCall{partition: p.Index, id: p.ID, member: c, to: *to})
		}
	}
}

// review fires for the copies that have to be made and have not fired yet. A
// copy without a live source waits for one.
func (h *hookRunner) review(m *Map, p *Partition) {
	fired := slices.DeleteFunc(h.fired[p.Index], func(c Member) bool { return !p.IsMember(c) || p.IsInSync(c) })
	for _, c := range p.Members {
		from := copySource(m, p)
		if p.IsInSync(c) || slices.Contains(fired, c) || !m.Present(c) || from == nil {
			continue
		}
		fired = append(fired, c)
		h.enqueue(hookCall{partition: p.Index, id: p.ID, member: c, from: from, to: *m.Node(c.Node)})
	}
	if len(fired) == 0 {
		delete(h.fired, p.Index)
	} else {
		h.fired[p.Index] = fired
	}
}

// copySource returns a live node with all the data: the primary, if it can be.
func copySource(m *Map, p *Partition) *Node {
	var source *Node
	for _, c := range p.InSync {
		if m.Present(c) && (source == nil || c.Node == p.Primary) {
			n := *m.Node(c.Node)
			source = &n
		}
	}
	return source
}

func (h *hookRunner) enqueue(call hookCall) {
	queue, busy := h.queues[call.partition]
	h.queues[call.partition] = append(queue, call)
	if !busy {
		h.wg.Go(func() { h.work(call.partition) })
	}
}

// work makes the calls of one partition, one after the other.
func (h *hookRunner) work(partition int) {
	for {
		h.mu.Lock()
		queue := h.queues[partition]
		if len(queue) == 0 || h.stopped {
			delete(h.queues, partition)
			h.mu.Unlock()
			return
		}
		call := queue[0]
		h.queues[partition] = queue[1:]
		hooks := slices.Clone(h.hooks)
		h.mu.Unlock()

		if h.complete(hooks, call) && call.from != nil {
			h.acknowledge(call)
		}
	}
}

// complete runs the hooks until all of them have returned, and those that
// panicked once more after a while. It returns false when the runner was
// stopped, or nobody needs the copy any more: it then stays a learner, which is
// never elected.
func (h *hookRunner) complete(hooks []partitionHook, call hookCall) bool {
	for delay := minHookRetryDelay; ; delay = min(2*delay, maxHookRetryDelay) {
		failed, err := h.fire(hooks, call)
		if err == nil {
			return true
		}
		h.log.Error("partition hook failed, the copy is not acknowledged", "partition", call.id, "node", call.to.ID, "again", delay, "error", err)
		sleep(h.ctx, delay)
		if h.ctx.Err() != nil || !h.wants(call) {
			return false
		}
		hooks = failed
	}
}

// wants reports whether the copy of the call still has to be made.
func (h *hookRunner) wants(call hookCall) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return call.from == nil || slices.Contains(h.fired[call.partition], call.member)
}

// fire runs the hooks side by side and waits for all of them. It returns those that
// panicked, and an error if there are any.
func (h *hookRunner) fire(hooks []partitionHook, call hookCall) ([]partitionHook, error) {
	errs := make([]error, len(hooks))
	var wg sync.WaitGroup
	for i, hook := range hooks {
		wg.Go(func() {
			defer func() {
				if r := recover(); r != nil {
					errs[i] = fmt.Errorf("hook panicked: %v\n%s", r, debug.Stack())
				}
			}()
			to, from := call.to, call.from
			if from != nil {
				source := *from
				from = &source
			}
			hook(call.id, from, &to)
		})
	}
	wg.Wait()
	var failed []partitionHook
	for i, err := range errs {
		if err != nil {
			failed = append(failed, hooks[i])
		}
	}
	return failed, errors.Join(errs...)
}

// acknowledge says that a copy was made, unless the runner was stopped.
func (h *hookRunner) acknowledge(call hookCall) {
	h.mu.Lock()
	stopped := h.stopped
	if !stopped {
		h.acks.Add(1)
	}
	h.mu.Unlock()
	if !stopped {
		defer h.acks.Done()
		h.copied(h.ctx, call.partition, call.member)
	}
}

// stop starts no more hooks. When it returns, nothing is acknowledged any more.
// Hooks that are running go on.
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
	done := make(chan struct{})
	go func() {
		h.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("a partition hook has not returned: %w", ctx.Err())
	}
}
