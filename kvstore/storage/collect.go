package storage

import (
	"bytes"
	"context"
	"fmt"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// collectBatch is how many keys of garbage one transaction deletes.
const collectBatch = 1000

// Garbage is what is left of data that nobody refers to any more.
type Garbage struct {
	// Generations are those with keys that are not deleted yet.
	Generations int
	// Deleted counts the keys that were, and Reclaims how often the space of a
	// lot of them was returned to the file system, since the store was opened.
	Deleted, Reclaims uint64
}

// Garbage returns how far the collector is.
func (s *Store) Garbage() Garbage {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := Garbage{Generations: len(s.garbage), Deleted: s.deleted.Load(), Reclaims: s.reclaims.Load()}
	if s.collecting {
		g.Generations++
	}
	return g
}

// discard makes the collector delete g, which no checkpoint names any more.
func (s *Store) discard(g generation) {
	s.mu.Lock()
	s.garbage = append(s.garbage, g)
	s.mu.Unlock()
	signal(s.collect)
}

// collectGarbage is the collector goroutine: it deletes garbage key by key,
// at a limited rate, and then its mark. What is still marked when the store
// closes, the next Open goes on with.
func (s *Store) collectGarbage(ctx context.Context) {
	var reclaim <-chan time.Time // when to see whether to reclaim space
	fruitless := 0               // attempts in a row
	for {
		if g, ok := s.nextGarbage(); ok {
			if err := s.deleteGeneration(ctx, g); err != nil {
				return
			}
			reclaim, fruitless = time.After(s.reclaimDelay(0)), 0
			continue
		}
		select {
		case <-ctx.Done():
			return
		case <-s.collect:
		case <-reclaim:
			reclaim = nil
			switch {
			case !s.worthReclaiming():
			case s.shown():
				reclaim = time.After(s.reclaimDelay(fruitless))
			default:
				again, err := s.reclaim(ctx)
				if err != nil {
					return
				}
				if again {
					fruitless++
					reclaim = time.After(s.reclaimDelay(fruitless))
				}
			}
		}
	}
}

func (s *Store) nextGarbage() (g generation, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.collecting = len(s.garbage) > 0
	if !s.collecting {
		return generation{}, false
	}
	g, s.garbage = s.garbage[0], s.garbage[1:]
	return g, true
}

// deleteGeneration deletes all items of g and their rests.
func (s *Store) deleteGeneration(ctx context.Context, g generation) error {
	deleted, size, err := s.deleteKeys(ctx, g, false)
	if err != nil {
		return err
	}
	s.deleted.Add(uint64(deleted))
	s.unreclaimed = append(s.unreclaimed, g)
	s.deletedBytes += size
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Delete(g.mark()) }); err != nil {
		return s.fail("delete garbage", err)
	}
	s.gone()
	if deleted > 0 {
		s.opts.Logger.Info("garbage deleted", "partition", g.partition, "generation", g.number, "keys", deleted)
	}
	return nil
}

// deleteKeys deletes the keys of g and of its rests, with again also those that
// are deleted and still take space. It returns how many there were, and about
// how much they take with their values.
func (s *Store) deleteKeys(ctx context.Context, g generation, again bool) (deleted int, size int64, err error) {
	for _, part := range []generation{g, g.rest()} {
		prefix := part.appendPrefix(nil)
		from := prefix
		for {
			keys, takes := s.keysFrom(prefix, from, again)
			if len(keys) == 0 {
				break
			}
			if err := s.collectLimit.WaitN(ctx, len(keys)); err != nil {
				return deleted, size, err
			}
			err := s.db.Update(func(txn *badger.Txn) error {
				for _, key := range keys {
					if err := txn.Delete(key); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				return deleted, size, s.fail("delete garbage", err)
			}
			deleted, size = deleted+len(keys), size+takes
			from = append(keys[len(keys)-1], 0)
		}
	}
	return deleted, size, nil
}

// keysFrom returns the first keys with the prefix, from the given one on, those
// that are deleted included if all is set, and what they take with their values.
func (s *Store) keysFrom(prefix, from []byte, all bool) (keys [][]byte, size int64) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, AllVersions: all})
	defer it.Close()
	defer func() {
		if p := recover(); p != nil {
			s.opts.Logger.Warn("garbage is left behind in a damaged block", "error", fmt.Sprint(p))
			keys = nil
		}
	}()
	for it.Seek(from); it.Valid() && len(keys) < collectBatch; it.Next() {
		size += it.Item().EstimatedSize()
		if n := len(keys); n == 0 || !bytes.Equal(keys[n-1], it.Item().Key()) {
			keys = append(keys, it.Item().KeyCopy(nil))
		}
	}
	return keys, size
}
