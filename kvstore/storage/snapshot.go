package storage

import (
	"bytes"
	"fmt"
	"io"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"
)

// Item is a key and its value.
type Item struct {
	Key []byte
	Value
}

// size is what the item counts for in chunks.
func (i *Item) size() int { return len(i.Key) + len(i.Data) + valueHeader }

// Snapshot is an unchanging picture of a partition. It is used by one
// goroutine. While it is open, Badger keeps what it shows: it should not be
// open for hours.
type Snapshot struct {
	store      *Store
	generation generation
	checkpoint Checkpoint
	txn        *badger.Txn
	it         *badger.Iterator
	sum        Sum
	hasher
	err error
}

// Snapshot opens a snapshot of the last transaction applied, or returns
// [ErrNotFound] if there are no data of the partition, and [ErrCorrupt] if they
// are known to be damaged. The caller closes it.
func (s *Store) Snapshot(partition uint32) (_ *Snapshot, err error) {
	if err := s.Damaged(partition); err != nil {
		return nil, err
	}
	if err := s.begin(); err != nil {
		return nil, err
	}
	txn := s.db.NewTransaction(false)
	defer func() {
		if err != nil {
			txn.Discard()
			s.users.Done()
		}
	}()
	c, err := readCheckpoint(txn, partition)
	if err != nil {
		return nil, err
	}
	g := generation{partition, c.Generation}
	it := txn.NewIterator(badger.IteratorOptions{Prefix: g.appendPrefix(nil)})
	it.Rewind()
	return &Snapshot{store: s, generation: g, checkpoint: c, txn: txn, it: it}, nil
}

// Checkpoint says what the snapshot shows, read in the same transaction.
func (s *Snapshot) Checkpoint() Checkpoint { return s.checkpoint }

// Next returns the next items in order of their keys: at least one and, but
// for that, at most maxBytes. They belong to the caller. At the end it
// returns [io.EOF], but only if all items of the partition have been
// returned, by the number and the digest of the checkpoint; otherwise
// [ErrCorrupt]. After an error it returns the same again.
func (s *Snapshot) Next(maxBytes int) (items []Item, err error) {
	if s.err != nil {
		return nil, s.err
	}
	defer func() { s.err = s.store.notice(s.generation, err) }()
	defer recovered(&err, debug.SetPanicOnFault(true))
	for size := 0; s.it.Valid(); s.it.Next() {
		item := s.it.Item()
		if len(items) > 0 && size+int(item.EstimatedSize()) > maxBytes {
			return items, nil
		}
		raw, v, err := readItem(s.txn, item, s.generation)
		if err != nil {
			return nil, err
		}
		i := Item{bytes.Clone(item.Key()[itemPrefix:]), v}
		s.sum.add(s.hash(raw, i.Key))
		size += i.size()
		items = append(items, i)
	}
	if len(items) > 0 {
		return items, nil
	}
	return nil, s.end()
}

// verify does what Next does, without a copy of the items, and returns how
// many bytes it has gone through: about maxBytes, less at the end.
func (s *Snapshot) verify(maxBytes int) (n int, err error) {
	if s.err != nil {
		return 0, s.err
	}
	defer func() { s.err = s.store.notice(s.generation, err) }()
	defer recovered(&err, debug.SetPanicOnFault(true))
	for ; s.it.Valid(); s.it.Next() {
		if n >= maxBytes {
			return n, nil
		}
		item := s.it.Item()
		key := item.Key()[itemPrefix:]
		n += int(item.EstimatedSize())
		err := item.Value(func(b []byte) error {
			rest, err := verifyItem(s.txn, s.generation, key, b)
			n += rest
			if err == nil {
				s.sum.add(s.hash(b, key))
			}
			return err
		})
		if err != nil {
			return n, err
		}
	}
	return n, s.end()
}

// end returns io.EOF if all that was written has been seen.
func (s *Snapshot) end() error {
	if s.sum != s.checkpoint.Sum {
		return fmt.Errorf("%w: %d items of partition %d were found and %d were written: its data must be loaded anew",
			ErrCorrupt, s.sum.Count, s.generation.partition, s.checkpoint.Sum.Count)
	}
	return io.EOF
}

// Close releases the snapshot. A second Close has no effect.
func (s *Snapshot) Close() {
	if s.txn == nil {
		return
	}
	s.it.Close()
	s.txn.Discard()
	s.txn = nil
	s.err = ErrClosed
	s.store.users.Done()
}
