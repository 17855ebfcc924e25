package storage

import (
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

// fill applies n keys to a partition.
func fill(t testing.TB, s *Store, partition uint32, n int) {
	t.Helper()
	var writes []Write
	for i := range n {
		writes = append(writes, set(uint64(i+1), fmt.Sprintf("key %06d", i), fmt.Sprintf("value %d", i)))
	}
	mustApply(t, s, batch(partition, writes...))
}

// rawKeys counts the keys of a partition in Badger, of all generations.
func rawKeys(s *Store, partition uint32) int {
	txn := s.db.NewTransaction(false)
	defer txn.Discard()
	it := txn.NewIterator(badger.IteratorOptions{Prefix: generation{partition: partition}.appendPrefix(nil)[:4]})
	defer it.Close()
	n := 0
	for it.Rewind(); it.Valid(); it.Next() {
		n++
	}
	return n
}

// transfer copies a partition through chunks, as replicas do.
func transfer(t testing.TB, from, to *Store, partition uint32) *Loader {
	t.Helper()
	snap, err := from.Snapshot(partition)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	l, err := to.Load(partition, Origin{Base: snap.Checkpoint().Position, Sum: snap.Checkpoint().Sum})
	if err != nil {
		t.Fatal(err)
	}
	for {
		items, err := next(snap, 10_000)
		if errors.Is(err, io.EOF) {
			if l.Loaded().Sum != snap.Checkpoint().Sum {
				t.Fatalf("loaded %+v, the source has %+v", l.Loaded().Sum, snap.Checkpoint().Sum)
			}
			return l
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Add(items); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoadReplacesAPartition(t *testing.T) {
	source := mustOpen(t, Options{Dir: t.TempDir()})
	fill(t, source, 1, 3000)
	mustApply(t, source, batch(1, set(3001, "long", string(make([]byte, 1<<20-1)))))

	opts := Options{Dir: t.TempDir()}
	s := mustOpen(t, opts)
	mustApply(t, s, batch(1, set(1, "stale", "x"), set(2, "key 000001", "y")), batch(2, set(1, "key 000001", "untouched")))
	l := transfer(t, source, s, 1)
	wantValue(t, s, 1, "stale", "x")
	if c, _ := s.Checkpoint(1); c.LSN != 2 {
		t.Errorf("the checkpoint moved to %d before the load was committed", c.LSN)
	}
	if err := l.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Commit = %v, want ErrClosed", err)
	}
	l.Abort()
	for range 2 {
		wantValue(t, s, 1, "stale", "")
		wantValue(t, s, 1, "key 000001", "value 1")
		wantValue(t, s, 1, "long", string(make([]byte, 1<<20-1)))
		wantValue(t, s, 2, "key 000001", "untouched")
		if got, want := fmt.Sprint(dump(t, s, 1)), fmt.Sprint(dump(t, source, 1)); got != want {
			t.Error("the copies differ")
		}
		from, _ := source.Checkpoint(1)
		if c, _ := s.Checkpoint(1); c.Position != (Position{1, 3001}) || c.Sum != from.Sum {
			t.Errorf("the checkpoint is %+v, want that of the source, %+v", c, from)
		}
		eventually(t, "the old generation is deleted", func() bool { return rawKeys(s, 1) == 3002 })
		mustClose(t, s)
		s = mustOpen(t, opts)
	}
	mustApply(t, s, batch(1, del(3002, "long"), set(3003, "key 000001", "new")))
	mustApply(t, source, batch(1, del(3002, "long"), set(3003, "key 000001", "new")))
	a, _ := s.Checkpoint(1)
	b, _ := source.Checkpoint(1)
	if a.Sum != b.Sum {
		t.Errorf("the same entries lead to %+v and %+v", a.Sum, b.Sum)
	}
}

func TestAbortedAndForgottenLoadsAreCollected(t *testing.T) {
	source := mustOpen(t, Options{Dir: t.TempDir()})
	fill(t, source, 1, 2500)
	opts := Options{Dir: t.TempDir()}
	s := mustOpen(t, opts)
	mustApply(t, s, batch(1, set(1, "a", "kept")))
	transfer(t, source, s, 1).Abort()
	eventually(t, "the aborted load is deleted", func() bool { return rawKeys(s, 1) == 1 })

	l := transfer(t, source, s, 1)
	crashed := Options{Dir: copyDir(t, opts.Dir)}
	l.Abort()
	s = mustOpen(t, crashed)
	eventually(t, "the load that a crash cut off is deleted", func() bool { return rawKeys(s, 1) == 1 })
	wantValue(t, s, 1, "a", "kept")
}

func TestLoadRefusesDisorder(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	for name, keys := range map[string][]string{
		"repeated":  {"a", "b", "b"},
		"backwards": {"b", "a"},
		"empty":     {""},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := s.Load(1, Origin{})
			if err != nil {
				t.Fatal(err)
			}
			defer l.Abort()
			for i, key := range keys {
				err = l.Add([]Item{{[]byte(key), Value{Data: []byte("v"), Epoch: 1, LSN: 1}}})
				if (err != nil) != (i == len(keys)-1) {
					t.Fatalf("Add(%q) = %v", key, err)
				}
			}
			if !errors.Is(err, ErrOrder) {
				t.Errorf("Add = %v, want ErrOrder", err)
			}
		})
	}
}

func TestDrop(t *testing.T) {
	opts := Options{Dir: t.TempDir()}
	s := mustOpen(t, opts)
	fill(t, s, 1, 2500)
	fill(t, s, 2, 10)
	snap, err := s.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Drop(1); err != nil {
			t.Fatal(err)
		}
	}
	wantValue(t, s, 1, "key 000001", "")
	if _, ok := s.Checkpoint(1); ok {
		t.Error("a dropped partition has a checkpoint")
	}
	if _, err := s.Snapshot(1); !errors.Is(err, ErrNotFound) {
		t.Errorf("Snapshot of a dropped partition = %v, want ErrNotFound", err)
	}
	eventually(t, "the data are deleted", func() bool { return rawKeys(s, 1) == 0 })
	if items, err := readAll(snap); err != nil || len(items) != 2500 {
		t.Errorf("an older snapshot has %d items, %v, want 2500", len(items), err)
	}
	snap.Close()
	mustApply(t, s, batch(1, set(1, "again", "x")))
	mustClose(t, s)
	s = mustOpen(t, opts)
	wantValue(t, s, 1, "again", "x")
	wantValue(t, s, 1, "key 000001", "")
	wantValue(t, s, 2, "key 000001", "value 1")
}

func TestSnapshotDoesNotChange(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	fill(t, s, 1, 1000)
	snap, err := s.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	first, err := next(snap, 1)
	if err != nil || len(first) != 1 {
		t.Fatalf("Next(1) = %d items, %v, want one", len(first), err)
	}
	done := make(chan error)
	go func() {
		var err error
		for i := range 20 {
			lsn := uint64(1001 + i)
			err = errors.Join(err, s.Apply([]Batch{batch(1, set(lsn, fmt.Sprintf("key %06d", i), "changed"), set(lsn, fmt.Sprint("new ", i), "x"), del(lsn, fmt.Sprintf("key %06d", 900+i)))}))
		}
		done <- err
	}()
	rest, err := readAll(snap)
	if err != nil || len(rest) != 999 {
		t.Errorf("the snapshot has %d more items, %v, want 999", len(rest), err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i, item := range append(first, rest...) {
		if string(item.Data) != fmt.Sprintf("value %d", i) || item.LSN != uint64(i+1) {
			t.Fatalf("item %d is %q at %d", i, item.Data, item.LSN)
		}
	}
	if c := snap.Checkpoint(); c.LSN != 1000 || c.Sum.Count != 1000 {
		t.Errorf("the snapshot's checkpoint is %+v", c)
	}
	if _, err := next(snap, 1); !errors.Is(err, io.EOF) {
		t.Errorf("Next after the end = %v, want io.EOF", err)
	}
	snap.Close()
	snap.Close()
	if _, err := next(snap, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Next after Close = %v, want ErrClosed", err)
	}
	if n := len(dump(t, s, 1)); n != 1000 {
		t.Errorf("a new snapshot has %d items, want 1000", n)
	}
}
