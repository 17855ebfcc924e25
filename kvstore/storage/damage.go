package storage

import (
	"encoding/binary"
	"errors"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// damage is why the data of a partition are not what was written.
type damage struct {
	cause error
	// lost are the generations in which the data may be, if it is not the
	// checkpoint that says so.
	lost []uint64
	// marked: the mark is on disk, and the owner of the store has been told.
	marked bool
}

// Damaged returns why the data of a partition must not be trusted, nil if
// nothing is known against them. It wraps [ErrCorrupt]. The data are read as
// far as they go, except for snapshots, and what is known of them survives a
// restart, until a [Loader] or [Store.Drop] puts others or none in their
// place.
func (s *Store) Damaged(partition uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.damaged[partition].cause
}

// DamagedPartitions returns what [Store.Damaged] does, of all partitions for
// which it returns something.
func (s *Store) DamagedPartitions() map[uint32]error {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[uint32]error, len(s.damaged))
	for partition, d := range s.damaged {
		all[partition] = d.cause
	}
	return all
}

// notice takes down that reading g has failed because of damage, and returns
// err as it is.
func (s *Store) notice(g generation, err error) error {
	if !errors.Is(err, ErrCorrupt) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.damaged[g.partition]; known || s.checkpoints[g.partition].Generation != g.number {
		return err
	}
	s.damaged[g.partition] = damage{cause: err}
	signal(s.noticed)
	return err
}

// Condemn takes down that the data of a generation of the partition are not
// those of the other replicas. It has no effect if others have taken their
// place.
func (s *Store) Condemn(partition uint32, number uint64, why string) {
	_ = s.notice(generation{partition, number}, fmt.Errorf("%w: %s", ErrCorrupt, why))
}

// recordDamage makes durable what has been noticed, and then tells the owner
// of the store.
func (s *Store) recordDamage() error {
	for partition := range s.DamagedPartitions() {
		cause, err := s.mark(partition)
		if err != nil {
			return err
		}
		if cause == nil {
			continue
		}
		s.opts.Logger.Error("the data of a partition are damaged and must be loaded anew", "dir", s.opts.Dir, "partition", partition, "error", cause)
		if s.opts.OnDamage != nil {
			s.opts.OnDamage(partition, cause)
		}
	}
	return nil
}

// mark makes the damage of a partition durable. The cause is nil if there is
// none any more, or if it was marked before.
func (s *Store) mark(partition uint32) (cause error, err error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	s.mu.Lock()
	d := s.damaged[partition]
	s.mu.Unlock()
	if d.cause == nil || d.marked {
		return nil, nil
	}
	err = s.db.Update(func(txn *badger.Txn) error {
		return txn.Set(damageKey(partition), []byte(d.cause.Error()))
	})
	if err != nil {
		return nil, s.fail("mark damaged data", err)
	}
	d.marked = true
	s.mu.Lock()
	s.damaged[partition] = d
	s.mu.Unlock()
	return d.cause, nil
}

// held returns the generations with data of the partition. s.mu is held.
func (s *Store) held(partition uint32) []generation {
	var all []generation
	if c, ok := s.checkpoints[partition]; ok {
		all = append(all, generation{partition, c.Generation})
	}
	for _, number := range s.damaged[partition].lost {
		all = append(all, generation{partition, number})
	}
	return all
}

// withoutCheckpoint returns an error for a partition whose data nobody can
// add to.
func (s *Store) withoutCheckpoint(partition uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.checkpoints[partition]; ok {
		return nil
	}
	return s.damaged[partition].cause
}

// surveyDamage takes over the marks of damage that the store left.
func (s *Store) surveyDamage(it *badger.Iterator) error {
	prefix := damagePrefix()
	for it.Seek(prefix); it.ValidForPrefix(prefix); it.Next() {
		key := it.Item().Key()[len(prefix):]
		if len(key) != 4 {
			return fmt.Errorf("%w: mark of damage with a key of %d bytes", ErrCorrupt, len(key))
		}
		err := it.Item().Value(func(why []byte) error {
			s.damaged[binary.BigEndian.Uint32(key)] = damage{cause: fmt.Errorf("%w: found before the start: %s", ErrCorrupt, why), marked: true}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// lose takes down that the checkpoint of a partition is damaged, or that a
// generation of its data is not accounted for.
func (s *Store) lose(partition uint32, cause error, generations ...uint64) {
	d, known := s.damaged[partition]
	if !known {
		d.cause = cause
	}
	d.lost = append(d.lost, generations...)
	s.damaged[partition] = d
	signal(s.noticed)
}
