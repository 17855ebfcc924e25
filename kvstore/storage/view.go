package storage

import (
	"runtime/debug"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

// view is one state of the store that any number of reads share: a read
// transaction and the generations that were live in it. Sharing it spares
// each read Badger's own bookkeeping, in which a read that begins during a
// commit waits for its fsync.
type view struct {
	txn         *badger.Txn
	generations map[uint32]uint64
	// refs counts the readers and, while the view is current, the store.
	refs atomic.Int64
	gone chan struct{}
}

// acquire returns the current view, or nil when the store is closed.
func (s *Store) acquire() *view {
	for {
		v := s.view.Load()
		if v == nil {
			return nil
		}
		if n := v.refs.Load(); n > 0 && v.refs.CompareAndSwap(n, n+1) {
			return v
		}
	}
}

func (v *view) release() {
	if v.refs.Add(-1) == 0 {
		v.txn.Discard()
		close(v.gone)
	}
}

// publish makes what has been committed visible to reads; switched says that
// generations have come or gone. The caller has the turn.
func (s *Store) publish(switched bool) {
	old := s.view.Load()
	v := &view{txn: s.db.NewTransaction(false), gone: make(chan struct{})}
	v.refs.Store(1)
	if switched {
		v.generations = s.generations()
	} else {
		v.generations = old.generations
	}
	s.view.Store(v)
	if old != nil {
		old.release()
	}
}

func (s *Store) generations() map[uint32]uint64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	live := make(map[uint32]uint64, len(s.checkpoints))
	for partition, c := range s.checkpoints {
		live[partition] = c.Generation
	}
	return live
}

// Get returns the value of key as of the last transaction applied, or
// [ErrNotFound]; [ErrCorrupt] if the value is damaged. It takes no lock and
// never waits for a write. The data belong to the caller.
func (s *Store) Get(partition uint32, key []byte) (_ Value, err error) {
	v := s.acquire()
	if v == nil {
		return Value{}, ErrClosed
	}
	defer v.release()
	number, ok := v.generations[partition]
	if !ok {
		return Value{}, ErrNotFound
	}
	g := generation{partition, number}
	defer func() { err = s.notice(g, err) }()
	defer recovered(&err, debug.SetPanicOnFault(true))
	item, err := v.txn.Get(g.key(key))
	if err != nil {
		return Value{}, translate(err)
	}
	return readItem(v.txn, item, g)
}
