package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"math"
	"runtime/debug"

	"github.com/dgraph-io/badger/v4"
)

// Position is a place in the log of a partition. Its fields are those of
// wal.Position.
type Position struct{ Epoch, LSN uint64 }

// Sum describes a set of items, whatever their order. Replicas that have
// applied the same entries have equal sums.
type Sum struct {
	// Count is the number of items.
	Count uint64
	// Digest is the sum of a hash of each item's key, value and version.
	Digest uint64
}

func (s *Sum) add(item uint64)    { s.Count++; s.Digest += item }
func (s *Sum) remove(item uint64) { s.Count--; s.Digest -= item }

// Checkpoint says what the data of a partition stand for. It is written in
// the same transaction as the data.
type Checkpoint struct {
	// Generation is the local incarnation of the data.
	Generation uint64
	// Position is that of the last entry applied.
	Position
	// Sum is that of all items.
	Sum Sum
}

const (
	layoutVersion   = 1
	checkpointBytes = 1 + 5*8 + 4
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func (c Checkpoint) encode() []byte {
	b := make([]byte, 0, checkpointBytes)
	b = append(b, layoutVersion)
	for _, n := range []uint64{c.Generation, c.Epoch, c.LSN, c.Sum.Count, c.Sum.Digest} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

func decodeCheckpoint(b []byte) (Checkpoint, error) {
	if len(b) != checkpointBytes || crc32.Checksum(b[:checkpointBytes-4], castagnoli) != binary.LittleEndian.Uint32(b[checkpointBytes-4:]) {
		return Checkpoint{}, fmt.Errorf("%w: damaged checkpoint", ErrCorrupt)
	}
	if b[0] != layoutVersion {
		return Checkpoint{}, fmt.Errorf("storage: checkpoint of version %d, this program knows version %d", b[0], layoutVersion)
	}
	n := func(i int) uint64 { return binary.LittleEndian.Uint64(b[1+8*i:]) }
	return Checkpoint{Generation: n(0), Position: Position{n(1), n(2)}, Sum: Sum{n(3), n(4)}}, nil
}

// readCheckpoint returns the partition's checkpoint in txn, or ErrNotFound.
func readCheckpoint(txn *badger.Txn, partition uint32) (Checkpoint, error) {
	item, err := txn.Get(checkpointKey(partition))
	if err != nil {
		return Checkpoint{}, fmt.Errorf("checkpoint of partition %d: %w", partition, translate(err))
	}
	var c Checkpoint
	err = item.Value(func(b []byte) error {
		c, err = decodeCheckpoint(b)
		return err
	})
	return c, err
}

// translate maps what Badger returns for reads to this package's errors.
func translate(err error) error {
	if errors.Is(err, badger.ErrKeyNotFound) {
		return ErrNotFound
	}
	return err
}

// identify compares the directory's identity with Options.StoreID, or writes
// it to a new directory.
func (s *Store) identify() error {
	return s.db.Update(func(txn *badger.Txn) error {
		item, err := txn.Get(identityKey())
		if errors.Is(err, badger.ErrKeyNotFound) {
			return txn.Set(identityKey(), append([]byte{layoutVersion}, s.opts.StoreID...))
		}
		if err != nil {
			return fmt.Errorf("storage: identity of %s: %w", s.opts.Dir, err)
		}
		return item.Value(func(b []byte) error {
			switch {
			case len(b) == 0 || b[0] != layoutVersion:
				return fmt.Errorf("storage: %s has a layout that this program does not know", s.opts.Dir)
			case string(b[1:]) != s.opts.StoreID:
				return fmt.Errorf("%w: %s is of store %q, not %q: give the node its own directory, or empty this one",
					ErrOtherStore, s.opts.Dir, b[1:], s.opts.StoreID)
			}
			return nil
		})
	})
}

// survey reads all checkpoints and all marks of garbage and damage. Items of
// any other generation prove that a checkpoint or a mark is lost.
func (s *Store) survey() (err error) {
	defer recovered(&err, debug.SetPanicOnFault(true))
	s.checkpoints = make(map[uint32]Checkpoint)
	return s.db.View(func(txn *badger.Txn) error {
		it := txn.NewIterator(badger.IteratorOptions{})
		defer it.Close()
		if err := s.surveyDamage(it); err != nil {
			return err
		}
		if err := s.surveyCheckpoints(txn, it); err != nil {
			return err
		}
		if err := s.surveyLoads(it); err != nil {
			return err
		}
		known := make(map[generation]bool)
		for partition, c := range s.checkpoints {
			known[generation{partition, c.Generation}] = true
		}
		prefix := garbagePrefix()
		for it.Seek(prefix); it.ValidForPrefix(prefix); it.Next() {
			g, _ := parseGeneration(it.Item().Key()[len(prefix):])
			known[g] = true
			if l := s.loads[g.partition]; l == nil || l.generation != g.number {
				s.garbage = append(s.garbage, g)
			}
		}
		for it.Rewind(); it.Valid(); it.Seek(after(it.Item().Key())) {
			g, ok := parseGeneration(it.Item().Key())
			if !ok {
				break
			}
			if !known[g] {
				known[g] = true
				s.lose(g.partition, fmt.Errorf("%w: there are items of partition %d without its checkpoint", ErrCorrupt, g.partition), g.number)
			}
		}
		for g := range known {
			s.nextGeneration = max(s.nextGeneration, g.number)
		}
		return nil
	})
}

func (s *Store) surveyCheckpoints(txn *badger.Txn, it *badger.Iterator) error {
	prefix := checkpointPrefix()
	for it.Seek(prefix); it.ValidForPrefix(prefix); it.Next() {
		key := it.Item().Key()[len(prefix):]
		if len(key) != 4 {
			return fmt.Errorf("%w: checkpoint with a key of %d bytes", ErrCorrupt, len(key))
		}
		partition := binary.BigEndian.Uint32(key)
		c, err := readCheckpoint(txn, partition)
		switch {
		case errors.Is(err, ErrCorrupt):
			s.lose(partition, err)
		case err != nil:
			return fmt.Errorf("storage: %w", err)
		default:
			s.checkpoints[partition] = c
		}
	}
	return nil
}

// after returns the first possible key behind those that share the
// generation of the given one.
func after(key []byte) []byte {
	number := binary.BigEndian.Uint64(key[4:])
	if number == math.MaxUint64 {
		return binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(key)+1)
	}
	return generation{binary.BigEndian.Uint32(key), number + 1}.appendPrefix(nil)
}
