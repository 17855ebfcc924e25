package storage

import (
	"context"

	"github.com/dgraph-io/badger/v4"
)

const (
	// reclaimBytes and reclaimShare say what is a lot to be deleted: so much,
	// and more than one part in so many of all tables.
	reclaimBytes = 32 << 20
	reclaimShare = 4
)

// worthReclaiming reports whether to have all tables written anew for the space
// of what was deleted. That is only marked as deleted; it goes when it is
// compacted with its marks, and Badger compacts a level only when it has grown.
// What an open snapshot still shows would stay, so those that are older are
// waited for. Only the collector calls it.
func (s *Store) worthReclaiming() bool {
	if s.deletedBytes < reclaimBytes {
		return false
	}
	s.mu.Lock()
	for _, opened := range s.snapshots {
		if opened <= s.deletedAt {
			s.mu.Unlock()
			return false
		}
	}
	s.mu.Unlock()
	var tables int64
	for _, level := range s.db.Levels() {
		tables += level.Size
	}
	return s.deletedBytes > tables/reclaimShare
}

// reclaim has Badger compact everything into one level. Writes go on meanwhile,
// as long as level zero takes them. Close waits for it only for a time.
func (s *Store) reclaim(ctx context.Context) error {
	if err := s.writeOut(ctx); err != nil {
		return err
	}
	s.turn <- struct{}{}
	s.publish(false) // the view before still shows what was deleted
	<-s.turn
	s.deletedBytes = 0
	done := make(chan struct{})
	s.flattening.Go(func() {
		defer close(done)
		if err := s.db.Flatten(1); err != nil {
			s.opts.Logger.Warn("the space of deleted data is not reclaimed yet", "error", err)
			return
		}
		s.reclaims.Add(1)
		s.opts.Logger.Info("the space of deleted data is reclaimed")
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (s *Store) hasSpace() bool { return s.checkSpace() == nil }

// writeOut fills Badger's memtable with what is overwritten again and again, so
// that a table is made of it, and of the deletions in it: Badger has no call
// for that.
func (s *Store) writeOut(ctx context.Context) error {
	key, padding := ownKey('p'), make([]byte, inlineLimit-1)
	for written := int64(0); written <= s.opts.MemTableBytes; written += inlineLimit {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !s.hasSpace() {
			return nil
		}
		if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(key, padding) }); err != nil {
			return s.fail("write the memtable out", err)
		}
	}
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Delete(key) }); err != nil {
		return s.fail("write the memtable out", err)
	}
	return nil
}
