package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"
)

func TestDamagedValueIsDetected(t *testing.T) {
	for name, change := range map[string]func(b []byte) []byte{
		"data":       func(b []byte) []byte { b[len(b)-1] ^= 1; return b },
		"version":    func(b []byte) []byte { b[3] ^= 1; return b },
		"format":     func(b []byte) []byte { b[0] = 7; return b },
		"rest claim": func(b []byte) []byte { b[0] = formatSplit; return b },
		"cut":        func(b []byte) []byte { return b[:valueHeader-1] },
		"empty":      func([]byte) []byte { return nil },
	} {
		t.Run(name, func(t *testing.T) {
			s := mustOpen(t, Options{Dir: t.TempDir()})
			mustApply(t, s, batch(1, set(1, "key", "value")))
			c, _ := s.Checkpoint(1)
			key := generation{1, c.Generation}.key([]byte("key"))
			err := s.db.Update(func(txn *badger.Txn) error {
				item, err := txn.Get(key)
				if err != nil {
					return err
				}
				b, err := item.ValueCopy(nil)
				if err != nil {
					return err
				}
				return txn.Set(key, change(b))
			})
			if err != nil {
				t.Fatal(err)
			}
			s.publish(true)
			wantCorruptSnapshot(t, s)
			if _, err := s.Get(1, []byte("key")); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Get = %v, want ErrCorrupt", err)
			}
		})
	}
}

func wantCorruptSnapshot(t *testing.T, s *Store) {
	t.Helper()
	snap, err := s.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	for range 2 {
		if items, err := readAll(snap); !errors.Is(err, ErrCorrupt) {
			t.Errorf("the snapshot ended after %d items with %v, want ErrCorrupt", len(items), err)
		}
	}
}

func TestValueUnderAnotherKeyIsDetected(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	mustApply(t, s, batch(1, set(1, "key", "value")))
	c, _ := s.Checkpoint(1)
	g := generation{1, c.Generation}
	err := s.db.Update(func(txn *badger.Txn) error {
		main, _ := encodeValue(1, []byte("key"), Value{Data: []byte("value"), Epoch: 1, LSN: 1})
		return txn.Set(g.key([]byte("other")), main)
	})
	if err != nil {
		t.Fatal(err)
	}
	s.publish(true)
	if _, err := s.Get(1, []byte("other")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Get = %v, want ErrCorrupt", err)
	}
}

// tablesOf returns the tables that the data of a closed store are in.
func tablesOf(t *testing.T, dir string) []string {
	t.Helper()
	mustClose(t, mustOpen(t, Options{Dir: dir})) // what the log of Badger holds goes into tables
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("there are no tables: %v", err)
	}
	return tables
}

// changeTable changes the tables that contain the text, at its place.
func changeTable(t *testing.T, dir, text string, change func(b []byte)) {
	t.Helper()
	found := false
	for _, name := range tablesOf(t, dir) {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, []byte(text)); at >= 0 {
			change(b[at:])
			found = true
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !found {
		t.Fatalf("%q is in no table", text)
	}
}

func TestDamageInATableHidesNoOtherKeys(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	fill(t, s, 1, 5000)
	mustClose(t, s)
	changeTable(t, dir, "value 2500", func(b []byte) { b[0] ^= 1 })
	s = mustOpen(t, Options{Dir: dir, ScrubBytesPerSecond: -1})
	wantCorruptSnapshot(t, s)
	if v, err := s.Get(1, []byte("key 002500")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Get of the damaged value = %q, %v, want ErrCorrupt", v.Data, err)
	}
	for _, i := range []int{1, 2499, 2501, 4999} {
		wantValue(t, s, 1, fmt.Sprintf("key %06d", i), fmt.Sprint("value ", i))
	}
}

// TestFlippedBytesAreFound flips bytes all over a table. Reads answer most of
// that damage with ErrCorrupt, and scrubbing finds all of it.
func TestFlippedBytesAreFound(t *testing.T) {
	const keys = 1000
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	var writes []Write
	for i := range keys {
		writes = append(writes, set(uint64(i+1), fmt.Sprintf("key %06d", i), fmt.Sprintf("%0256d", i)))
	}
	mustApply(t, s, batch(1, writes...))
	mustClose(t, s)
	table := tablesOf(t, dir)[0]
	intact, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	end := bytes.LastIndex(intact, fmt.Appendf(nil, "%0256d", keys-1)) // behind it stands the index, without which Badger does not open
	silent, flips := 0, 0
	for at := bytes.Index(intact, fmt.Appendf(nil, "%0256d", 0)); at < end; at += 7001 {
		b := bytes.Clone(intact)
		b[at] ^= 0x10
		if err := os.WriteFile(table, b, 0o600); err != nil {
			t.Fatal(err)
		}
		s := mustOpen(t, Options{Dir: dir, ScrubBytesPerSecond: -1})
		absent, corrupt := 0, 0
		for i := range keys {
			switch _, err := s.Get(1, fmt.Appendf(nil, "key %06d", i)); {
			case errors.Is(err, ErrNotFound):
				absent++
			case errors.Is(err, ErrCorrupt):
				corrupt++
			}
		}
		if flips++; absent > 0 {
			silent++
		}
		if snap, err := s.Snapshot(1); err == nil {
			if items, err := readAll(snap); absent+corrupt > 0 && !errors.Is(err, ErrCorrupt) {
				t.Errorf("flipped at %d: %d keys are absent and %d corrupt, the snapshot ended after %d with %v", at, absent, corrupt, len(items), err)
			}
			snap.Close()
		} else if !errors.Is(err, ErrCorrupt) {
			t.Error(err)
		}
		mustClose(t, s)
	}
	t.Logf("%d bytes flipped, %d of them made keys look absent", flips, silent)
	if flips < 30 || silent > flips/5 {
		t.Errorf("%d of %d flips made keys look absent", silent, flips)
	}
}

// TestUnreadableTable takes the end of a table away under an open store, as a
// disk does that no longer reads a sector: a fault in the mapped file.
func TestUnreadableTable(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	fill(t, s, 1, 5000)
	mustClose(t, s)
	tables := tablesOf(t, dir)
	s = mustOpen(t, Options{Dir: dir, ScrubBytesPerSecond: -1})
	for _, name := range tables {
		if err := os.Truncate(name, 4<<10); err != nil {
			t.Fatal(err)
		}
	}
	if v, err := s.Get(1, []byte("key 004000")); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Get = %q, %v, want ErrCorrupt", v.Data, err)
	}
	if err := s.Scrub(t.Context()); err != nil {
		t.Errorf("Scrub = %v", err)
	}
	if err := s.Damaged(1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Damaged = %v, want ErrCorrupt", err)
	}
}

// TestCrashLeavesACheckpointedPrefix copies the directory between and during
// Applies: whatever it holds must be what its checkpoint says.
func TestCrashLeavesACheckpointedPrefix(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	const keys = 50
	for lsn := uint64(1); lsn <= 60; lsn++ {
		w := set(lsn, fmt.Sprint("key ", lsn%keys), fmt.Sprint("value ", lsn))
		if lsn%7 == 0 {
			w = del(lsn, fmt.Sprint("key ", lsn%keys))
		}
		mustApply(t, s, batch(1, w))
		if lsn%20 != 0 {
			continue
		}
		crashed := mustOpen(t, Options{Dir: copyDir(t, dir)})
		c, ok := crashed.Checkpoint(1)
		if !ok || c.LSN != lsn {
			t.Errorf("after a crash at %d the checkpoint is %+v", lsn, c)
		}
		if got, want := fmt.Sprint(dump(t, crashed, 1)), fmt.Sprint(dump(t, s, 1)); got != want {
			t.Errorf("after a crash at %d the data are %s, want %s", lsn, got, want)
		}
		mustClose(t, crashed)
	}
}

// TestLostCheckpoint loses the checkpoint of one of two partitions: the other
// is served, and the first can be loaded anew or dropped.
func TestLostCheckpoint(t *testing.T) {
	for name, damage := range map[string]func(txn *badger.Txn, c Checkpoint) error{
		"missing": func(txn *badger.Txn, _ Checkpoint) error { return txn.Delete(checkpointKey(1)) },
		"damaged": func(txn *badger.Txn, c Checkpoint) error {
			b := c.encode()
			b[9] ^= 1
			return txn.Set(checkpointKey(1), b)
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			s := mustOpen(t, Options{Dir: dir})
			mustApply(t, s, batch(1, set(1, "a", "b")), batch(2, set(1, "c", "d")))
			c, _ := s.Checkpoint(1)
			if err := s.db.Update(func(txn *badger.Txn) error { return damage(txn, c) }); err != nil {
				t.Fatal(err)
			}
			mustClose(t, s)

			told := make(chan uint32, 1)
			s = mustOpen(t, Options{Dir: dir, OnDamage: func(partition uint32, _ error) { told <- partition }})
			if partition := <-told; partition != 1 {
				t.Errorf("told of partition %d", partition)
			}
			wantValue(t, s, 2, "c", "d")
			if _, ok := s.Checkpoint(1); ok {
				t.Error("there is a checkpoint")
			}
			for range 2 {
				if err := s.Damaged(1); !errors.Is(err, ErrCorrupt) {
					t.Errorf("Damaged = %v, want ErrCorrupt", err)
				}
				if err := s.Apply([]Batch{batch(1, set(2, "e", "f"))}); !errors.Is(err, ErrCorrupt) {
					t.Errorf("Apply = %v, want ErrCorrupt", err)
				}
				mustClose(t, s)
				s = mustOpen(t, Options{Dir: dir})
			}
			if err := s.Drop(1); err != nil {
				t.Fatal(err)
			}
			mustApply(t, s, batch(1, set(1, "new", "value")))
			eventually(t, "the lost data are collected", func() bool { return rawKeys(s, 1) == 1 })
			mustClose(t, s)
			s = mustOpen(t, Options{Dir: dir})
			if all := s.DamagedPartitions(); len(all) > 0 {
				t.Errorf("damaged is still %v", all)
			}
			wantValue(t, s, 1, "new", "value")
		})
	}
}

func TestCheckpointsBehindBatches(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	defer mustClose(t, s)
	first, second := batch(1, set(1, "a", "1")), batch(1, set(2, "b", "2"))
	first.Then, second.Then = new(Checkpoint), new(Checkpoint)
	mustApply(t, s, first, second, batch(1, set(3, "c", "3")))
	for i, c := range []*Checkpoint{first.Then, second.Then} {
		if c.LSN != uint64(i+1) || c.Sum.Count != c.LSN {
			t.Errorf("batch %d ends with %+v", i+1, c)
		}
	}
	other := mustOpen(t, Options{Dir: t.TempDir()})
	defer mustClose(t, other)
	mustApply(t, other, batch(1, set(1, "a", "1"), set(2, "b", "2")))
	if c, _ := other.Checkpoint(1); c.Sum != second.Then.Sum {
		t.Errorf("behind the same entries are %+v and %+v", c.Sum, second.Then.Sum)
	}
}

func TestCondemnedDataAreDamaged(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	mustApply(t, s, batch(1, set(1, "a", "1")))
	c, _ := s.Checkpoint(1)
	s.Condemn(1, c.Generation+1, "others")
	s.Condemn(2, 1, "none")
	if all := s.DamagedPartitions(); len(all) != 0 {
		t.Fatalf("what is not there is damaged: %v", all)
	}
	s.Condemn(1, c.Generation, "they differ")
	if err := s.Damaged(1); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), "they differ") {
		t.Errorf("condemned data: %v", err)
	}
	if _, err := s.Snapshot(1); !errors.Is(err, ErrCorrupt) {
		t.Errorf("a snapshot of condemned data: %v", err)
	}
	mustClose(t, s)
}
