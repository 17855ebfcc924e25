package storage

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/dgraph-io/badger/v4"
)

const (
	// reclaimBytes and reclaimShare say what is a lot to be deleted: so much,
	// and more than one part in so many of all tables. A node gives a fourth of
	// its data away when three become four, and a sixteenth when there were
	// fifteen.
	reclaimBytes = 32 << 20
	reclaimShare = 16
	// paddingBytesPerSecond is how fast memtables are filled up.
	paddingBytesPerSecond = 8 << 20
	// maxDoublings bounds how rarely it is tried to reclaim space: a bit more than
	// an hour by default.
	maxDoublings = 6
	// tableDelay is how long is waited for a memtable to become a table.
	tableDelay = 5 * time.Second
)

var errNoTable = errors.New("no table was made")

// worthReclaiming reports whether to have all tables written anew for the space
// of what was deleted. That is only marked as deleted; it goes when it is
// compacted with its marks, and Badger compacts a level only when it has grown.
// Only the collector calls it.
func (s *Store) worthReclaiming() bool {
	var tables int64
	for _, level := range s.db.Levels() {
		tables += level.Size
	}
	return aLot(s.deletedBytes, tables)
}

func aLot(deleted, tables int64) bool {
	return deleted >= reclaimBytes && deleted > tables/reclaimShare
}

// reclaimDelay returns how long to wait after the last deletion: more may follow,
// and nodes that have given copies away at the same time, and hold others of the
// same partitions, are not to be busy with it at the same time. With nothing else
// here nobody is in the way. After each attempt that was fruitless it is twice as
// long, for an attempt writes all tables anew.
func (s *Store) reclaimDelay(fruitless int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	delay := s.opts.ReclaimDelay << min(fruitless, maxDoublings)
	if len(s.checkpoints) == 0 {
		return delay / 8
	}
	return delay + rand.N(2*delay)
}

// shown reports whether somebody may still see some of what was deleted; it would
// stay.
func (s *Store) shown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, opened := range s.readers {
		if opened <= s.deletedAt {
			return true
		}
	}
	return false
}

// gone takes down that garbage has been deleted: who reads from now on does not
// see it.
func (s *Store) gone() {
	s.publishAnew()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.deletedAt = s.opened
}

// opening takes down that a snapshot or a picture is being opened, before it looks
// at anything, until hasClosed.
func (s *Store) opening(reader any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.opened++
	s.readers[reader] = s.opened
}

func (s *Store) hasClosed(reader any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.readers, reader)
}

// reclaim gives the space of what was deleted back, and reports whether some of it
// is left, to be tried again.
//
// Badger forgets a key when its deletion meets it in a compaction, if nobody reads
// who began before the deletion. If somebody does, both are kept; and once they are
// in the lowest level, no compaction comes by any more. So what is left is deleted
// again, by which it will be.
//
// All this takes space before it gives any: below the reserve it is put off.
func (s *Store) reclaim(ctx context.Context) (again bool, err error) {
	if err := s.compactAll(ctx); errors.Is(err, ErrNoSpace) {
		s.opts.Logger.Warn("the space of deleted data is not reclaimed for the time being", "error", err)
		return true, nil
	} else if err != nil {
		return false, err
	}
	left := int64(0)
	for _, g := range s.unreclaimed {
		_, size, err := s.deleteKeys(ctx, g, true)
		if err != nil {
			return false, err
		}
		left += size
	}
	if left > 0 {
		s.gone()
		s.deletedBytes = max(s.deletedBytes, left)
		s.opts.Logger.Info("the space of deleted data is not all reclaimed yet", "left", left)
		return true, nil
	}
	s.unreclaimed, s.deletedBytes = nil, 0
	s.reclaims.Add(1)
	s.opts.Logger.Info("the space of deleted data is reclaimed")
	return false, nil
}

// compactAll has Badger compact everything into one level. Writes go on meanwhile,
// as long as level zero takes them. Close waits for it only for a time. It begins
// nothing without space, and returns [ErrNoSpace] then.
func (s *Store) compactAll(ctx context.Context) error {
	s.publishAnew() // the view before still shows what was deleted
	if err := s.writeOut(ctx); err != nil {
		return err
	}
	// Badger finds nothing to do when all is in level zero, in few tables.
	for range numLevelZeroTables {
		if !s.shallow() {
			break
		}
		if err := s.writeOut(ctx); err != nil {
			return err
		}
	}
	done := make(chan struct{})
	s.flattening.Go(func() {
		defer close(done)
		if err := s.db.Flatten(1); err != nil {
			s.opts.Logger.Warn("deleted data could not all be compacted", "error", err)
		}
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// shallow reports whether nothing is below level zero, and that has not more
// tables than Badger leaves there.
func (s *Store) shallow() bool {
	for _, level := range s.db.Levels() {
		if level.Level > 0 && level.Size > 0 || level.NumTables > numLevelZeroTables {
			return false
		}
	}
	return true
}

// publishAnew has later reads see what was last committed, and Badger forget what
// was before, once nobody reads it any more.
func (s *Store) publishAnew() {
	s.turn <- struct{}{}
	s.publish(false)
	<-s.turn
}

// writeOut fills Badger's memtable with what is overwritten again and again, so
// that a table is made of it, and of the deletions in it: Badger has no call
// for that.
func (s *Store) writeOut(ctx context.Context) error {
	key, padding := ownKey('p'), make([]byte, inlineLimit-1)
	before := s.levelZero()
	for written := int64(0); written <= s.opts.MemTableBytes; written += inlineLimit {
		if err := s.paddingLimit.WaitN(ctx, inlineLimit); err != nil {
			return err
		}
		if err := s.checkSpace(); err != nil {
			return err
		}
		if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(key, padding) }); err != nil {
			return s.fail("write the memtable out", err)
		}
		s.publishAnew() // so that a compaction keeps none but the last
	}
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Delete(key) }); err != nil {
		return s.fail("write the memtable out", err)
	}
	s.publishAnew()
	return s.awaitTable(ctx, before)
}

func (s *Store) levelZero() int { return s.db.Levels()[0].NumTables }

// awaitTable waits until there is another number of tables in level zero, but not
// for long: one may come and another go.
func (s *Store) awaitTable(ctx context.Context, before int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, tableDelay, errNoTable)
	defer cancel()
	poll := time.NewTicker(tableDelay / 500)
	defer poll.Stop()
	for s.levelZero() == before {
		select {
		case <-poll.C:
		case <-ctx.Done():
			if errors.Is(context.Cause(ctx), errNoTable) {
				return nil
			}
			return ctx.Err()
		}
	}
	return nil
}
