package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"time"
)

// A hook that failed is called again after a delay, which doubles.
const (
	minHookRetryDelay = 100 * time.Millisecond
	maxHookRetryDelay = 30 * time.Second
)

// work makes the calls for one partition, one after the other.
func (h *hookRunner) work(partition int) {
	for j := h.next(partition); j != nil; j = h.next(partition) {
		if h.complete(j) {
			h.completed(j)
		}
		h.settle(j)
	}
}

// next returns the job whose turn it is, nil if the partition has none.
func (h *hookRunner) next(partition int) *copyJob {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := slices.IndexFunc(h.jobs[partition], func(j *copyJob) bool { return j.phase == copyQueued })
	if i < 0 || h.stopped {
		delete(h.busy, partition)
		return nil
	}
	return h.jobs[partition][i]
}

// complete calls the hooks until all of them have succeeded, and those that
// failed once more after a while. It returns false when the copy was not wanted
// any more before that.
func (h *hookRunner) complete(j *copyJob) bool {
	hooks := h.hooks // sealed
	var source *Node
	for delay := time.Duration(0); ; delay = min(max(minHookRetryDelay, 2*delay), maxHookRetryDelay) {
		change, ok := h.turn(j, delay, source)
		if !ok {
			return false
		}
		source = change.CopyFrom
		failed, err := fire(j.ctx, hooks, change)
		if !h.returned(j, err) {
			return false
		}
		if err == nil {
			return true
		}
		hooks = failed
		h.log.Error("partition hook failed and will be called again, the copy does not count as made", "partition", change.PartitionID, "to", change.CopyTo.ID, "attempt", change.Attempt, "error", err)
	}
}

// turn waits for the delay, or for a source other than the last, and returns
// the next call. It returns false when there will be none.
func (h *hookRunner) turn(j *copyJob, delay time.Duration, last *Node) (PartitionChange, bool) {
	timer := time.NewTimer(delay)
	defer timer.Stop()
	for elapsed := delay == 0; ; {
		changed := h.changed.wait()
		change, wait := h.attempt(j, elapsed, last)
		if !wait {
			return change, change.Attempt > 0
		}
		select {
		case <-j.ctx.Done():
			return PartitionChange{}, false
		case <-timer.C:
			elapsed = true
		case <-changed:
		}
	}
}

// attempt begins a call if the delay has elapsed or the source is not the last
// one any more; else it says to wait. The call is as the newest map has it, and
// zero if the copy is not wanted any more.
func (h *hookRunner) attempt(j *copyJob, elapsed bool, last *Node) (change PartitionChange, wait bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.wants(j) {
		return change, false
	}
	m := h.newest
	p := &m.Partitions[j.partition]
	if !m.Present(j.member) {
		// It is found again when its node is back.
		h.forget(j)
		return change, false
	}
	source := copySource(m, p)
	if !j.initial && source == nil || !elapsed && !another(source, last) {
		return change, true
	}
	j.begin()
	change = PartitionChange{
		PartitionID: p.ID, Index: p.Index, Epoch: p.Epoch, Version: p.Version, Reason: j.reason,
		CopyTo: *m.Node(j.member.Node), Member: j.member, Attempt: j.calls,
	}
	if !j.initial {
		change.CopyFrom = source
	}
	return change, false
}

// another reports whether there is a last source, and this is not the process
// that it was.
func another(source, last *Node) bool {
	return last != nil && (source.ID != last.ID || source.Incarnation != last.Incarnation)
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

// fire runs the hooks side by side and waits for all of them. It returns those
// that failed, and an error if there are any.
func fire(ctx context.Context, hooks []partitionHook, change PartitionChange) ([]partitionHook, error) {
	errs := make([]error, len(hooks))
	var wg sync.WaitGroup
	for i, hook := range hooks {
		wg.Go(func() {
			errs[i] = errors.New("hook ended its goroutine")
			defer func() {
				if r := recover(); r != nil {
					errs[i] = fmt.Errorf("hook panicked: %v\n%s", r, debug.Stack())
				}
			}()
			own := change
			if change.CopyFrom != nil {
				source := *change.CopyFrom
				own.CopyFrom = &source
			}
			errs[i] = hook(ctx, own)
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

// returned notes the outcome of a call. It reports whether that counts.
func (h *hookRunner) returned(j *copyJob, err error) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	j.finish(err)
	return j.ctx.Err() == nil && (err == nil || h.wants(j))
}

// completed acknowledges what the hooks have done, unless the runner was
// stopped.
func (h *hookRunner) completed(j *copyJob) {
	own := j.member.Node == h.node && j.member.Store == h.store
	h.mu.Lock()
	stopped := h.stopped
	if !stopped {
		h.acks.Add(1)
	}
	if j.initial && !stopped {
		if own {
			h.cursor.complete(j.partition, j.member.Incarnation)
		}
		h.forget(j)
	}
	h.mu.Unlock()
	if stopped {
		return
	}
	defer h.acks.Done()
	if own && !j.initial && h.acknowledge != nil {
		h.acknowledge(j.ctx, j.partition, j.member)
	}
}
