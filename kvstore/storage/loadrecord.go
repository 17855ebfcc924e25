package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"github.com/dgraph-io/badger/v4"
)

// Origin says what a load copies, so that whoever finds it unfinished knows
// whether it can go on.
type Origin struct {
	// Incarnation is the assignment that the copy is made for.
	Incarnation uint64
	// Node and Store name the source, and Pin the snapshot that it holds for
	// this load. Each is shorter than 64 KiB.
	Node, Store, Pin string
	// Base and Sum are those of the snapshot.
	Base Position
	Sum  Sum
}

// Loaded is how much of a snapshot a load has.
type Loaded struct {
	// Sum is that of the items, and Bytes their keys and values.
	Sum   Sum
	Bytes uint64
	// Last is the greatest key, nil before the first.
	Last []byte
}

// loadRecord is what stands on disk of an unfinished load. It is written with
// the items that it counts, in one transaction.
type loadRecord struct {
	generation uint64
	origin     Origin
	loaded     Loaded
}

const loadRecordVersion = 1

// A load record is
//
//	version (1) | 9 numbers (8 each) | node | store | pin | last key | CRC32C (4)
//
// where a string is its length (2) and its bytes.
func (r *loadRecord) encode() []byte {
	o, l := &r.origin, &r.loaded
	b := []byte{loadRecordVersion}
	for _, n := range []uint64{
		r.generation, o.Incarnation, o.Base.Epoch, o.Base.LSN, o.Sum.Count, o.Sum.Digest,
		l.Sum.Count, l.Sum.Digest, l.Bytes,
	} {
		b = binary.LittleEndian.AppendUint64(b, n)
	}
	for _, s := range []string{o.Node, o.Store, o.Pin, string(l.Last)} {
		b = binary.LittleEndian.AppendUint16(b, uint16(len(s)))
		b = append(b, s...)
	}
	return binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
}

// decodeLoadRecord returns an error that wraps ErrCorrupt for anything that
// encode does not return.
func decodeLoadRecord(b []byte) (r loadRecord, err error) {
	const numbers = 9
	if len(b) < 1+8*numbers+4*2+4 || b[0] != loadRecordVersion {
		return r, fmt.Errorf("%w: not a load record", ErrCorrupt)
	}
	rest := b[:len(b)-4]
	if crc32.Checksum(rest, castagnoli) != binary.LittleEndian.Uint32(b[len(rest):]) {
		return r, fmt.Errorf("%w: damaged load record", ErrCorrupt)
	}
	rest = rest[1:]
	for _, n := range []*uint64{
		&r.generation, &r.origin.Incarnation, &r.origin.Base.Epoch, &r.origin.Base.LSN, &r.origin.Sum.Count, &r.origin.Sum.Digest,
		&r.loaded.Sum.Count, &r.loaded.Sum.Digest, &r.loaded.Bytes,
	} {
		*n, rest = binary.LittleEndian.Uint64(rest), rest[8:]
	}
	var last string
	for _, s := range []*string{&r.origin.Node, &r.origin.Store, &r.origin.Pin, &last} {
		if len(rest) < 2 || len(rest)-2 < int(binary.LittleEndian.Uint16(rest)) {
			return loadRecord{}, fmt.Errorf("%w: load record ends early", ErrCorrupt)
		}
		end := 2 + int(binary.LittleEndian.Uint16(rest))
		*s, rest = string(rest[2:end]), rest[end:]
	}
	if len(rest) > 0 {
		return loadRecord{}, fmt.Errorf("%w: bytes behind a load record", ErrCorrupt)
	}
	if last != "" {
		r.loaded.Last = []byte(last)
	}
	return r, nil
}

// load is an unfinished load of a partition.
type load struct {
	// loadRecord is as it was when the load was last suspended, or found.
	loadRecord
	// active: a Loader goes on with it. unwanted: it is to abort it.
	active, unwanted bool
}

// surveyLoads takes over the loads that the store left unfinished. One whose
// record cannot be read is the garbage as which it is marked.
func (s *Store) surveyLoads(it *badger.Iterator) error {
	prefix := loadPrefix()
	for it.Seek(prefix); it.ValidForPrefix(prefix); it.Next() {
		key := it.Item().Key()[len(prefix):]
		if len(key) != 4 {
			return fmt.Errorf("%w: load record with a key of %d bytes", ErrCorrupt, len(key))
		}
		partition := binary.BigEndian.Uint32(key)
		err := it.Item().Value(func(b []byte) error {
			r, err := decodeLoadRecord(b)
			if err == nil {
				s.loads[partition] = &load{loadRecord: r}
			}
			return err
		})
		if err != nil && !errors.Is(err, ErrCorrupt) {
			return err
		}
	}
	return nil
}

// Unfinished returns the loads that [Store.Resume] can go on with, by
// partition.
func (s *Store) Unfinished() map[uint32]Origin {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[uint32]Origin)
	for partition, l := range s.loads {
		if !l.active && !l.unwanted {
			all[partition] = l.origin
		}
	}
	return all
}

// claim makes the caller the only one who goes on with the unfinished load of
// a partition. It returns nil if there is none, and ErrLoading if another does.
func (s *Store) claim(partition uint32) (*load, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.loads[partition]
	if l == nil {
		return nil, nil
	}
	if l.active {
		return nil, fmt.Errorf("partition %d: %w", partition, ErrLoading)
	}
	l.active = true
	return l, nil
}

// DiscardLoad makes the unfinished load of a partition garbage, or has it
// aborted by whoever goes on with it. It has no effect if there is none.
func (s *Store) DiscardLoad(partition uint32) error {
	if err := s.begin(); err != nil {
		return err
	}
	defer s.users.Done()
	return s.discardLoad(partition)
}

func (s *Store) discardLoad(partition uint32) error {
	l, err := s.claim(partition)
	if errors.Is(err, ErrLoading) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if l := s.loads[partition]; l != nil {
			l.unwanted = true
		}
		return nil
	}
	if l == nil {
		return err
	}
	return s.forgetLoad(partition, l)
}

// forgetLoad deletes the record of a load that the caller has claimed, whose
// items thereby become garbage.
func (s *Store) forgetLoad(partition uint32, l *load) error {
	err := s.db.Update(func(txn *badger.Txn) error { return txn.Delete(loadKey(partition)) })
	if err != nil {
		return s.fail("forget a load", err)
	}
	s.mu.Lock()
	if s.loads[partition] == l {
		delete(s.loads, partition)
	}
	s.mu.Unlock()
	s.discard(generation{partition, l.generation})
	return nil
}
