package clusterkit

import (
	"sync"
	"time"

	"github.com/hashicorp/raft"
)

// writeWatch notices a disk that does not answer. Raft's main goroutine waits
// for its writes, while the goroutines that send heartbeats go on: a leader
// with a disk that hangs would lead for ever and commit nothing.
type writeWatch struct {
	mu      sync.Mutex
	pending int
	// since is when the disk last showed that it works, or when it was asked
	// to after it had nothing to do.
	since time.Time
}

// stalledAfter is how long a write may take before this node must not be the
// leader any more. A disk that is only slow is slower than a heartbeat.
const stalledAfter = 700 * time.Millisecond

// during makes the write.
func (w *writeWatch) during(write func() error) error {
	w.mu.Lock()
	if w.pending == 0 {
		w.since = time.Now()
	}
	w.pending++
	w.mu.Unlock()

	err := write()

	w.mu.Lock()
	w.pending--
	w.since = time.Now()
	w.mu.Unlock()
	return err
}

// stalled reports whether a write has been going on for too long.
func (w *writeWatch) stalled() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.pending > 0 && time.Since(w.since) > stalledAfter
}

// watchedLogs is a log store whose writes are watched.
type watchedLogs struct {
	raft.LogStore
	writes *writeWatch
}

func (l watchedLogs) StoreLog(entry *raft.Log) error {
	return l.writes.during(func() error { return l.LogStore.StoreLog(entry) })
}

func (l watchedLogs) StoreLogs(entries []*raft.Log) error {
	return l.writes.during(func() error { return l.LogStore.StoreLogs(entries) })
}

func (l watchedLogs) DeleteRange(first, last uint64) error {
	return l.writes.during(func() error { return l.LogStore.DeleteRange(first, last) })
}

// watchedStable is a store of Raft's term and vote whose writes are watched.
type watchedStable struct {
	raft.StableStore
	writes *writeWatch
}

func (s watchedStable) Set(key, value []byte) error {
	return s.writes.during(func() error { return s.StableStore.Set(key, value) })
}

func (s watchedStable) SetUint64(key []byte, value uint64) error {
	return s.writes.during(func() error { return s.StableStore.SetUint64(key, value) })
}
