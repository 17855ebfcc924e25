package storage

import (
	"bytes"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/dgraph-io/badger/v4"
)

var (
	// ErrOrder is returned by [Loader.Add] for items that do not follow those
	// before them.
	ErrOrder = errors.New("storage: items out of order")
	// ErrLoading is returned while another [Loader] of the partition has not
	// ended.
	ErrLoading = errors.New("storage: the partition is being loaded already")
	// ErrUnwanted is returned by a [Loader] whose partition was dropped, or its
	// load discarded. It is to be aborted.
	ErrUnwanted = errors.New("storage: the load is not wanted any more")
)

// Loader fills a new generation of a partition, unseen by anyone until it is
// committed. What it has is on disk together with a record of how much that is:
// after a crash [Store.Resume] goes on behind it. It is used by one goroutine,
// beside any number of other calls; there is one for a partition at a time.
type Loader struct {
	store      *Store
	generation generation
	load       *load
	loaded     Loaded
	hasher
	ended bool

	// What is not committed yet: the transaction, what it takes, and the memory
	// of its keys and values.
	txn         *badger.Txn
	size, count int64
	memory      []byte

	// A few transactions are committed beside those who fill the next. Badger
	// writes them in their order. free has the memory of those that are done.
	underway chan struct{}
	free     chan []byte
	failed   atomic.Pointer[error]
}

// commitsUnderway is how many transactions of a load are committed while the
// next one is filled.
const commitsUnderway = 2

// Load begins a new generation of the partition and durably marks it as
// garbage, which it is until Commit. An unfinished load of the partition is
// discarded, see [Store.Resume]. The caller ends it with Commit, Suspend or
// Abort.
func (s *Store) Load(partition uint32, o Origin) (*Loader, error) {
	if err := checkPartition(partition); err != nil {
		return nil, err
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	l, err := s.beginLoad(partition, o)
	if err != nil {
		s.users.Done()
		return nil, err
	}
	return s.newLoader(partition, l), nil
}

func (s *Store) beginLoad(partition uint32, o Origin) (*load, error) {
	before, err := s.claim(partition)
	if err != nil {
		return nil, err
	}
	if before != nil {
		if err := s.forgetLoad(partition, before); err != nil {
			return nil, err
		}
	}
	l := &load{loadRecord: loadRecord{generation: s.newGeneration(), origin: o}, active: true}
	s.mu.Lock()
	if s.loads[partition] != nil {
		s.mu.Unlock()
		return nil, fmt.Errorf("partition %d: %w", partition, ErrLoading)
	}
	s.loads[partition] = l
	s.mu.Unlock()
	err = s.db.Update(func(txn *badger.Txn) error {
		if err := txn.Set(loadKey(partition), l.encode()); err != nil {
			return err
		}
		return txn.Set(generation{partition, l.generation}.mark(), nil)
	})
	if err != nil {
		return nil, s.fail("begin a load", err)
	}
	return l, nil
}

// Resume goes on with the unfinished load of a partition, or returns
// [ErrNotFound] if there is none. The caller ends it as one of [Store.Load].
func (s *Store) Resume(partition uint32) (*Loader, error) {
	if err := s.begin(); err != nil {
		return nil, err
	}
	l, err := s.claim(partition)
	if err == nil && l == nil {
		err = fmt.Errorf("%w: no unfinished load of partition %d", ErrNotFound, partition)
	}
	if err != nil {
		s.users.Done()
		return nil, err
	}
	return s.newLoader(partition, l), nil
}

func (s *Store) newLoader(partition uint32, l *load) *Loader {
	loaded := l.loaded
	loaded.Last = bytes.Clone(loaded.Last)
	return &Loader{
		store: s, generation: generation{partition, l.generation}, load: l, loaded: loaded,
		underway: make(chan struct{}, commitsUnderway), free: make(chan []byte, commitsUnderway+1),
	}
}

// Origin returns what is loaded.
func (l *Loader) Origin() Origin { return l.load.origin }

// Loaded returns how much has been added, by this loader and those before. At
// the end its sum must equal that of the origin. Last is valid until the next
// Add.
func (l *Loader) Loaded() Loaded { return l.loaded }

// Add adds items, whose keys must rise, also from one Add to the next. It keeps
// no reference to them. They are durable after [Loader.Flush], and before that
// in transactions as large as Badger takes. With [ErrNoSpace] none were added;
// with [ErrUnwanted], and after any other error, the load must be aborted.
func (l *Loader) Add(items []Item) error {
	s := l.store
	if err := l.check(); err != nil {
		return err
	}
	if err := s.checkSpace(); err != nil {
		return err
	}
	for i := range items {
		item := &items[i]
		if len(item.Key) == 0 || bytes.Compare(item.Key, l.loaded.Last) <= 0 {
			return fmt.Errorf("%w: key %q after %q", ErrOrder, item.Key, l.loaded.Last)
		}
		cost := int64(item.size() + 2*(itemPrefix+len(item.Key)+entryOverhead))
		if limit := s.db.MaxBatchSize()*9/10 - loadRecordCost; cost >= limit {
			return fmt.Errorf("%w: key %q with %d bytes, the limit is %d: raise Options.MemTableBytes",
				ErrTooLarge, item.Key, cost, limit)
		}
		if l.count > 0 && (l.size+cost+loadRecordCost >= s.db.MaxBatchSize()*9/10 || l.count+3 >= s.db.MaxBatchCount()*9/10) {
			if err := l.commit(); err != nil {
				return err
			}
		}
		if err := l.set(item); err != nil {
			return fmt.Errorf("storage: load key %q: %w", item.Key, err)
		}
		l.size, l.count = l.size+cost, l.count+2
		l.loaded.Bytes += uint64(len(item.Key) + len(item.Data))
		l.loaded.Last = append(l.loaded.Last[:0], item.Key...)
	}
	return nil
}

// loadRecordCost is more than what the record takes of a transaction: names
// of the source and a key.
const loadRecordCost = 16 << 10

// check returns why nothing can be added.
func (l *Loader) check() error {
	if l.ended {
		return ErrClosed
	}
	if err := l.failed.Load(); err != nil {
		return *err
	}
	l.store.mu.Lock()
	defer l.store.mu.Unlock()
	if l.load.unwanted {
		return ErrUnwanted
	}
	return nil
}

// set adds the item to the transaction, in memory that is used again when that
// is committed.
func (l *Loader) set(item *Item) error {
	if l.txn == nil {
		l.txn = l.store.db.NewTransaction(true)
		select {
		case l.memory = <-l.free:
		default:
			l.memory = make([]byte, 0, l.store.db.MaxBatchSize())
		}
	}
	start := len(l.memory)
	var main, rest []byte
	l.memory, main, rest = appendValue(l.memory, l.generation.partition, item.Key, item.Value)
	if err := l.txn.Set(l.key(l.generation, item.Key), main); err != nil {
		l.memory = l.memory[:start]
		return err
	}
	l.loaded.Sum.add(l.hash(main, item.Key))
	if rest == nil {
		return nil
	}
	return l.txn.Set(l.key(l.generation.rest(), item.Key), rest)
}

// key returns the Badger key of an item in the memory of the transaction.
func (l *Loader) key(g generation, key []byte) []byte {
	start := len(l.memory)
	l.memory = append(g.appendPrefix(l.memory), key...)
	return l.memory[start:len(l.memory):len(l.memory)]
}

// commit begins to commit the transaction, with the record of what has been
// added, and waits only for those before the last.
func (l *Loader) commit() error {
	if l.txn == nil {
		return nil
	}
	s, txn, memory := l.store, l.txn, l.memory
	l.txn, l.memory, l.size, l.count = nil, nil, 0, 0
	record := l.load.loadRecord
	record.loaded = l.loaded
	if err := txn.Set(loadKey(l.generation.partition), record.encode()); err != nil {
		txn.Discard()
		return s.fail("load", err)
	}
	l.underway <- struct{}{}
	txn.CommitWith(func(err error) {
		if err != nil {
			err = s.fail("load", err)
			l.failed.Store(&err)
		}
		l.free <- memory[:0]
		<-l.underway
	})
	if err := l.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// Flush returns when all that was added is durable.
func (l *Loader) Flush() error {
	if err := l.check(); err != nil {
		return err
	}
	return l.flush()
}

func (l *Loader) flush() error {
	err := l.commit()
	l.settle()
	if failed := l.failed.Load(); failed != nil {
		return *failed
	}
	return err
}

// settle waits until no transaction is being committed.
func (l *Loader) settle() {
	for range commitsUnderway {
		l.underway <- struct{}{}
	}
	for range commitsUnderway {
		<-l.underway
	}
}

// Commit makes the items the partition's data, as of the position of the
// origin, in one transaction. The data before become garbage. If the items do
// not add up to the sum of the origin, it aborts the load and returns
// [ErrCorrupt]: the copy, or the source, is damaged.
func (l *Loader) Commit() error {
	err := l.Flush()
	if want, got := l.load.origin.Sum, l.loaded.Sum; err == nil && want != got {
		err = fmt.Errorf("%w: the copy of partition %d has %d items with digest %x, its source %d with %x",
			ErrCorrupt, l.generation.partition, got.Count, got.Digest, want.Count, want.Digest)
	}
	if err != nil {
		l.Abort()
		return err
	}
	l.ended = true
	defer l.store.users.Done()
	return l.store.replace(l.generation.partition, &Checkpoint{l.generation.number, l.load.origin.Base, l.loaded.Sum}, l.load)
}

// Suspend makes durable what has been added and leaves it to
// [Store.Resume]. After Commit, Abort or another Suspend it has no effect.
func (l *Loader) Suspend() error {
	if l.ended {
		return nil
	}
	if err := l.Flush(); err != nil {
		l.Abort()
		return err
	}
	s := l.store
	s.mu.Lock()
	l.load.loaded = l.loaded
	l.load.active = l.load.unwanted
	s.mu.Unlock()
	if l.load.active {
		l.Abort()
		return ErrUnwanted
	}
	l.ended = true
	s.users.Done()
	return nil
}

// Abort gives up the load; its items become garbage. After Commit, Suspend or
// another Abort it has no effect.
func (l *Loader) Abort() {
	if l.ended {
		return
	}
	l.ended = true
	if l.txn != nil {
		l.txn.Discard()
	}
	l.settle()
	_ = l.store.forgetLoad(l.generation.partition, l.load) // a store that fails says so by itself
	l.store.users.Done()
}
