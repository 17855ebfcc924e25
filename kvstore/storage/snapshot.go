package storage

import (
	"bytes"
	"errors"
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
	hasher
	// progress is behind the last chunk, and before that chunk.
	progress
	before progress
	err    error
}

// progress is how far a snapshot has been read.
type progress struct {
	sum  Sum
	last []byte
	// partial: the sum is not that of everything through last.
	partial bool
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
	snap := &Snapshot{store: s}
	s.opening(snap)
	snap.txn = s.db.NewTransaction(false)
	defer func() {
		if err != nil {
			snap.txn.Discard()
			s.hasClosed(snap)
			s.users.Done()
		}
	}()
	if snap.checkpoint, err = readCheckpoint(snap.txn, partition); err != nil {
		return nil, err
	}
	snap.generation = generation{partition, snap.checkpoint.Generation}
	snap.it = snap.txn.NewIterator(badger.IteratorOptions{Prefix: snap.generation.appendPrefix(nil)})
	snap.it.Rewind()
	return snap, nil
}

// Checkpoint says what the snapshot shows, read in the same transaction.
func (s *Snapshot) Checkpoint() Checkpoint { return s.checkpoint }

// After has the snapshot go on behind a key, from the beginning if it is nil.
// That costs nothing where the last chunk ended.
func (s *Snapshot) After(key []byte) {
	switch {
	case s.err == nil && bytes.Equal(key, s.last):
		return
	case bytes.Equal(key, s.before.last) && !s.before.partial:
		s.sum, s.partial = s.before.sum, false
	case len(key) == 0:
		s.sum, s.partial = Sum{}, false
	default:
		s.partial = true
	}
	if s.err != nil && !errors.Is(s.err, io.EOF) {
		return
	}
	s.err = nil
	s.last = bytes.Clone(key)
	if len(key) == 0 {
		s.it.Rewind()
		return
	}
	at := s.generation.key(key)
	if s.it.Seek(at); s.it.Valid() && bytes.Equal(s.it.Item().Key(), at) {
		s.it.Next()
	}
}

// Next appends to dst a chunk with the next items in order of their keys: at
// least one and, but for that, at most maxBytes of them. At the end it returns
// [io.EOF], but only if all items of the partition have been seen, by the
// number and the digest of the checkpoint; otherwise [ErrCorrupt]. A snapshot
// that has left out or repeated some, other than the last chunk, leaves that
// comparison to who has the items. After an error it returns the same again.
func (s *Snapshot) Next(dst []byte, maxBytes int) (chunk []byte, err error) {
	if s.err != nil {
		return dst, s.err
	}
	defer func() { s.err = s.store.notice(s.generation, err) }()
	defer recovered(&err, debug.SetPanicOnFault(true))
	s.before = progress{s.sum, bytes.Clone(s.last), s.partial}
	w := beginChunk(dst)
	for ; s.it.Valid(); s.it.Next() {
		item := s.it.Item()
		if w.count > 0 && len(w.buf)-w.start+int(item.EstimatedSize()) > maxBytes {
			break
		}
		if err := s.append(&w, item); err != nil {
			return dst, err
		}
	}
	if w.count == 0 {
		return dst, s.end()
	}
	return w.end(), nil
}

// append adds the verified item to the chunk.
func (s *Snapshot) append(w *chunkWriter, item *badger.Item) error {
	key := item.Key()[itemPrefix:]
	return item.Value(func(b []byte) error {
		if err := stored(b).check(); err != nil {
			return fmt.Errorf("key %q of partition %d: %w", key, s.generation.partition, err)
		}
		v := stored(b).value()
		w.begin(key, v)
		if stored(b).split() {
			if err := viewRest(s.txn, s.generation, key, w.more); err != nil {
				return err
			}
		}
		v.Data = w.itemEnd()
		if valueCRC(s.generation.partition, key, v) != stored(b).crc() {
			return s.generation.mismatch(key)
		}
		s.sum.add(s.hash(b, key))
		s.last = append(s.last[:0], key...)
		return nil
	})
}

// verify does what Next does, without a chunk, and returns how
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
	if !s.partial && s.sum != s.checkpoint.Sum {
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
	s.store.hasClosed(s)
	s.store.users.Done()
}
