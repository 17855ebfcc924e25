package storage

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// ErrOrder is returned by [Loader.Add] for items that do not follow those
// before them.
var ErrOrder = errors.New("storage: items out of order")

// Loader fills a new generation of a partition, unseen by anyone until it is
// committed. It is used by one goroutine, beside any number of other calls.
type Loader struct {
	store      *Store
	generation generation
	sum        Sum
	last       []byte
	hasher
	ended bool
}

// Load begins a new generation of the partition and durably marks it as
// garbage, which it is until Commit. The caller ends it with Commit or Abort.
func (s *Store) Load(partition uint32) (*Loader, error) {
	if err := checkPartition(partition); err != nil {
		return nil, err
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	g := generation{partition, s.newGeneration()}
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(g.mark(), nil) }); err != nil {
		s.users.Done()
		return nil, s.fail("begin a load", err)
	}
	return &Loader{store: s, generation: g}, nil
}

// Sum is that of the items added so far. At the end it must equal that of
// the snapshot they come from.
func (l *Loader) Sum() Sum { return l.sum }

// Add adds items, whose keys must rise, also from one Add to the next, and
// makes them durable. It keeps no reference to them. With [ErrNoSpace] none
// were added; after any other error the load must be aborted.
func (l *Loader) Add(items []Item) error {
	if l.ended {
		return ErrClosed
	}
	s := l.store
	if err := s.checkSpace(); err != nil {
		return err
	}
	txn := s.db.NewTransaction(true)
	defer func() { txn.Discard() }()
	var size, count int64
	for i := range items {
		item := &items[i]
		if len(item.Key) == 0 || bytes.Compare(item.Key, l.last) <= 0 {
			return fmt.Errorf("%w: key %q after %q", ErrOrder, item.Key, l.last)
		}
		cost := int64(item.size() + 2*(itemPrefix+len(item.Key)+entryOverhead))
		if cost >= s.db.MaxBatchSize()*9/10 {
			return fmt.Errorf("%w: key %q with %d bytes, the limit is %d: raise Options.MemTableBytes",
				ErrTooLarge, item.Key, cost, s.db.MaxBatchSize()*9/10)
		}
		if count > 0 && (size+cost >= s.db.MaxBatchSize()/2 || count+2 >= s.db.MaxBatchCount()/2) {
			if err := txn.Commit(); err != nil {
				return s.fail("load", err)
			}
			txn, size, count = s.db.NewTransaction(true), 0, 0
		}
		if err := l.set(txn, item); err != nil {
			return fmt.Errorf("storage: load key %q: %w", item.Key, err)
		}
		size, count = size+cost, count+2
		l.last = append(l.last[:0], item.Key...)
	}
	if err := txn.Commit(); err != nil {
		return s.fail("load", err)
	}
	return nil
}

func (l *Loader) set(txn *badger.Txn, item *Item) error {
	main, rest := encodeValue(l.generation.partition, item.Key, item.Value)
	if err := txn.Set(l.generation.key(item.Key), main); err != nil {
		return err
	}
	l.sum.add(l.hash(main, item.Key))
	if rest == nil {
		return nil
	}
	return txn.Set(l.generation.rest().key(item.Key), rest)
}

// Commit makes the items the partition's data, as of position base, in one
// transaction. The data before become garbage.
func (l *Loader) Commit(base Position) error {
	if l.ended {
		return ErrClosed
	}
	l.ended = true
	s := l.store
	defer s.users.Done()
	return s.replace(l.generation.partition, &Checkpoint{l.generation.number, base, l.sum})
}

// Abort gives up the load; its items become garbage. After Commit or another
// Abort it has no effect.
func (l *Loader) Abort() {
	if l.ended {
		return
	}
	l.ended = true
	l.store.discard(l.generation)
	l.store.users.Done()
}

// Drop forgets the data of a partition. They become garbage. It has no
// effect if there are none.
func (s *Store) Drop(partition uint32) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.users.Done()
	return s.replace(partition, nil)
}

// replace makes c the partition's checkpoint, or leaves it without one, and
// its data so far garbage.
func (s *Store) replace(partition uint32, c *Checkpoint) error {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	garbage := s.held(partition)
	_, had := s.checkpoints[partition]
	_, damaged := s.damaged[partition]
	s.mu.Unlock()
	if !had && !damaged && c == nil {
		return nil
	}
	err := s.db.Update(func(txn *badger.Txn) error {
		for _, g := range garbage {
			if err := txn.Set(g.mark(), nil); err != nil {
				return err
			}
		}
		if damaged {
			if err := txn.Delete(damageKey(partition)); err != nil {
				return err
			}
		}
		if c == nil {
			return txn.Delete(checkpointKey(partition))
		}
		if err := txn.Delete(generation{partition, c.Generation}.mark()); err != nil {
			return err
		}
		return txn.Set(checkpointKey(partition), c.encode())
	})
	if err != nil {
		return s.fail("switch generations", err)
	}
	s.mu.Lock()
	if c == nil {
		delete(s.checkpoints, partition)
	} else {
		s.checkpoints[partition] = *c
	}
	delete(s.damaged, partition)
	s.mu.Unlock()
	s.publish(true)
	for _, g := range garbage {
		s.discard(g)
	}
	return nil
}
