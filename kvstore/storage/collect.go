package storage

import (
	"context"
	"fmt"

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
	for {
		if g, ok := s.nextGarbage(); ok {
			if err := s.deleteGeneration(ctx, g); err != nil {
				return
			}
			continue
		}
		if s.worthReclaiming() {
			if err := s.reclaim(ctx); err != nil {
				return
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-s.collect:
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
	deleted := 0
	for _, part := range []generation{g, g.rest()} {
		prefix := part.appendPrefix(nil)
		from := prefix
		for {
			keys, size := s.keysFrom(prefix, from)
			if len(keys) == 0 {
				break
			}
			if err := s.collectLimit.WaitN(ctx, len(keys)); err != nil {
				return err
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
				return s.fail("delete garbage", err)
			}
			deleted += len(keys)
			s.deleted.Add(uint64(len(keys)))
			s.deletedBytes += size
			from = keys[len(keys)-1]
		}
	}
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Delete(g.mark()) }); err != nil {
		return s.fail("delete garbage", err)
	}
	s.mu.Lock()
	s.deletedAt = s.opened
	s.mu.Unlock()
	if deleted > 0 {
		s.opts.Logger.Info("garbage deleted", "partition", g.partition, "generation", g.number, "keys", deleted)
	}
	return nil
}

// keysFrom returns the first keys with the prefix, from the given one on, and
// what they take with their values.
func (s *Store) keysFrom(prefix, from []byte) (keys [][]byte, size int64) {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix})
	defer it.Close()
	defer func() {
		if p := recover(); p != nil {
			s.opts.Logger.Warn("garbage is left behind in a damaged block", "error", fmt.Sprint(p))
			keys = nil
		}
	}()
	for it.Seek(from); it.Valid() && len(keys) < collectBatch; it.Next() {
		keys = append(keys, it.Item().KeyCopy(nil))
		size += it.Item().EstimatedSize()
	}
	return keys, size
}
