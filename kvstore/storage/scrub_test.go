package storage

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/dgraph-io/badger/v4"
)

// spoil changes a byte of a value where Badger has it.
func spoil(t *testing.T, s *Store, partition uint32, key string) {
	t.Helper()
	c, ok := s.Checkpoint(partition)
	if !ok {
		t.Fatalf("there are no data of partition %d", partition)
	}
	at := generation{partition, c.Generation}.key([]byte(key))
	err := s.db.Update(func(txn *badger.Txn) error {
		item, err := txn.Get(at)
		if err != nil {
			return err
		}
		b, err := item.ValueCopy(nil)
		if err != nil {
			return err
		}
		b[len(b)-1] ^= 1
		return txn.Set(at, b)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.publish(true)
}

// wantDamaged wants exactly these partitions to be known as damaged.
func wantDamaged(t *testing.T, s *Store, partitions ...uint32) {
	t.Helper()
	all := s.DamagedPartitions()
	for _, p := range partitions {
		if !errors.Is(all[p], ErrCorrupt) || s.Damaged(p) == nil {
			t.Errorf("partition %d is not known as damaged: %v", p, all)
		}
	}
	if len(all) != len(partitions) {
		t.Errorf("damaged is %v, want %v", all, partitions)
	}
}

func TestScrubFindsWhatNobodyReads(t *testing.T) {
	dir := t.TempDir()
	told := make(chan uint32, 8)
	opts := Options{Dir: dir, ScrubBytesPerSecond: -1, OnDamage: func(partition uint32, _ error) { told <- partition }}
	s := mustOpen(t, opts)
	for p := range uint32(3) {
		mustApply(t, s, batch(p, set(1, "a", "value"), set(2, "b", string(make([]byte, 1<<20-1))), set(3, "c", "value")))
	}
	if err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantDamaged(t, s)
	bytes, passes := s.Scrubbed()
	if bytes < 3<<20 || passes != 1 {
		t.Errorf("verified %d bytes in %d passes", bytes, passes)
	}

	spoil(t, s, 1, "a")
	spoil(t, s, 2, "b")
	for range 2 {
		if err := s.Scrub(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if first, second := <-told, <-told; first+second != 3 || first == second {
		t.Errorf("told of partitions %d and %d", first, second)
	}
	wantDamaged(t, s, 1, 2)
	wantValue(t, s, 1, "c", "value")
	mustClose(t, s)

	// It is known after a restart, and until others take the place of the data.
	s = mustOpen(t, opts)
	wantDamaged(t, s, 1, 2)
	if _, err := s.Snapshot(1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Snapshot = %v, want ErrCorrupt", err)
	}
	if err := transfer(t, s, s, 0).Commit(); err != nil {
		t.Fatal(err)
	}
	l, err := s.Load(1, Origin{Base: Position{1, 3}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Add([]Item{{[]byte("a"), Value{Data: []byte("value"), Epoch: 1, LSN: 1}}}); err != nil {
		t.Fatal(err)
	}
	wantDamaged(t, s, 1, 2)
	l.load.origin.Sum = l.loaded.Sum
	if err := l.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(2); err != nil {
		t.Fatal(err)
	}
	wantDamaged(t, s)
	mustClose(t, s)
	s = mustOpen(t, opts)
	wantDamaged(t, s)
	if err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	wantDamaged(t, s)
	if len(told) > 0 {
		t.Errorf("told %d times more", len(told))
	}
}

func TestScrubRunsByItself(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir(), ScrubEvery: time.Millisecond})
	mustApply(t, s, batch(1, set(1, "a", "value")))
	spoil(t, s, 1, "a")
	eventually(t, "the damage is found", func() bool { return s.Damaged(1) != nil })
}

func TestReadsAndSnapshotsReportDamage(t *testing.T) {
	for name, read := range map[string]func(*Store){
		"get": func(s *Store) { _, _ = s.Get(1, []byte("a")) },
		"snapshot": func(s *Store) {
			snap, err := s.Snapshot(1)
			if err != nil {
				t.Fatal(err)
			}
			defer snap.Close()
			_, _ = readAll(snap)
		},
	} {
		t.Run(name, func(t *testing.T) {
			told := make(chan error, 1)
			s := mustOpen(t, Options{Dir: t.TempDir(), ScrubBytesPerSecond: -1, OnDamage: func(_ uint32, err error) { told <- err }})
			mustApply(t, s, batch(1, set(1, "a", "value")))
			spoil(t, s, 1, "a")
			read(s)
			if err := <-told; !errors.Is(err, ErrCorrupt) {
				t.Errorf("told of %v", err)
			}
		})
	}
}

// Entries go on to be applied to damaged data: the log must not wait for them.
func TestDamagedValuesAreWrittenOver(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir(), ScrubBytesPerSecond: -1})
	mustApply(t, s, batch(1, set(1, "a", "1"), set(1, "b", "1"), set(1, "c", "1")))
	c, _ := s.Checkpoint(1)
	for _, key := range []string{"a", "b"} {
		at := generation{1, c.Generation}.key([]byte(key))
		if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(at, []byte("not a value")) }); err != nil {
			t.Fatal(err)
		}
	}
	s.recent.clear() // what was written lately is not read when it is written over
	mustApply(t, s, batch(1, set(2, "a", "2"), del(2, "b")))
	wantDamaged(t, s, 1)
	wantValue(t, s, 1, "a", "2")
	wantValue(t, s, 1, "b", "")
	wantValue(t, s, 1, "c", "1")
	if c, _ := s.Checkpoint(1); c.LSN != 2 {
		t.Errorf("the checkpoint is at %d", c.LSN)
	}
}

func TestScrubKeepsToItsRate(t *testing.T) {
	const rate = 1 << 20
	s := mustOpen(t, Options{Dir: t.TempDir(), ScrubBytesPerSecond: -1})
	s.scrubLimit.SetLimit(rate)
	mustApply(t, s, batch(1, set(1, "a", string(make([]byte, 400<<10))), set(1, "b", "the end")))
	begun := time.Now()
	if err := s.Scrub(t.Context()); err != nil {
		t.Fatal(err)
	}
	// The first step is free.
	if took := time.Since(begun); took < 320*time.Millisecond {
		t.Errorf("400 KiB took %v at a rate of %d bytes a second", took, rate)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Scrub(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("Scrub = %v after the context has ended", err)
	}
}
