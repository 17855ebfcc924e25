package clusterkit

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// copyJob is one copy that the hooks of this node are called for. The runner's
// lock guards what changes.
type copyJob struct {
	partition int
	member    Member
	// initial says that the partition begins empty with it: there is nothing to
	// copy, and it is in sync already.
	initial bool
	reason  string
	// ctx is what the hooks get.
	ctx context.Context
	end context.CancelFunc

	phase copyPhase
	since time.Time
	calls int
	err   error
}

// copyPhase is how far the hooks of this node are with a copy.
type copyPhase string

const (
	// copyQueued waits for the copies of the partition that came before, for a
	// live source, or for a goroutine.
	copyQueued copyPhase = "queued"
	// copyRunning has a hook that has not returned.
	copyRunning copyPhase = "running"
	// copyFailed waits until its hooks are called again.
	copyFailed copyPhase = "failed"
	// copyReturned waits to be acknowledged.
	copyReturned copyPhase = "returned"
)

// due reports whether the copy still has to be made.
func (j *copyJob) due(p *Partition) bool {
	return p.IsMember(j.member) && p.IsInSync(j.member) == j.initial
}

// begin notes that the hooks are called.
func (j *copyJob) begin() {
	j.phase, j.since, j.calls = copyRunning, time.Now(), j.calls+1
}

// finish notes that they have returned.
func (j *copyJob) finish(err error) {
	j.phase, j.since, j.err = copyReturned, time.Now(), err
	if err != nil {
		j.phase = copyFailed
	}
}

// copyProgress says how far the hooks of this node are with a copy.
type copyProgress struct {
	Phase copyPhase
	// Since is when the phase began.
	Since time.Time
	// Attempt counts the calls so far.
	Attempt int
	// Err is why the last call failed, nil if it did not.
	Err error
}

// progress returns how far the hooks of this node are with the copy, and false
// if they have nothing to do with it.
func (h *hookRunner) progress(partition int, c Member) (copyProgress, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, j := range h.jobs[partition] {
		if j.member == c {
			return copyProgress{Phase: j.phase, Since: j.since, Attempt: j.calls, Err: j.err}, true
		}
	}
	return copyProgress{}, false
}

// waiting says what the copy on this node waits for, "" if a hook works on it.
func (h *hookRunner) waiting(partition int, c Member) string {
	p, ok := h.progress(partition, c)
	switch {
	case ok && p.Phase == copyQueued:
		return "the hooks for an earlier copy of the partition have not returned"
	case ok && p.Phase == copyFailed:
		reason, _, _ := strings.Cut(p.Err.Error(), "\n")
		return fmt.Sprintf("its hooks have failed, at attempt %d, and are called again: %s", p.Attempt, reason)
	case ok && p.Phase == copyReturned:
		return "it is not acknowledged yet"
	default:
		return ""
	}
}

// wants reports whether the copy still has to be made. The lock is held.
func (h *hookRunner) wants(j *copyJob) bool { return slices.Contains(h.jobs[j.partition], j) }

// forget drops the job. The lock is held.
func (h *hookRunner) forget(j *copyJob) {
	h.jobs[j.partition] = slices.DeleteFunc(h.jobs[j.partition], func(other *copyJob) bool { return other == j })
	if len(h.jobs[j.partition]) == 0 {
		delete(h.jobs, j.partition)
	}
}

// settle is called when the hooks of the job are not going to be called again.
func (h *hookRunner) settle(j *copyJob) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if !h.wants(j) {
		j.end()
	}
}
