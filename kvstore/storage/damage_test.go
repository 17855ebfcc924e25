package storage

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
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
			if _, err := s.Get(1, []byte("key")); !errors.Is(err, ErrCorrupt) {
				t.Errorf("Get = %v, want ErrCorrupt", err)
			}
			wantCorruptSnapshot(t, s)
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

// TestDamagedBlockIsNotTheEnd damages a block of a table: Badger's iterator
// then leaves out keys without an error.
func TestDamagedBlockIsNotTheEnd(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	fill(t, s, 1, 5000)
	mustClose(t, s)
	mustClose(t, mustOpen(t, Options{Dir: dir}))

	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil || len(tables) == 0 {
		t.Fatalf("there are no tables: %v", err)
	}
	damaged := false
	for _, name := range tables {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if at := bytes.Index(b, []byte("value 2500")); at >= 0 {
			b[at] ^= 1
			damaged = true
		}
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if !damaged {
		t.Fatal("the value is in no table")
	}
	s = mustOpen(t, Options{Dir: dir})
	wantCorruptSnapshot(t, s)
	if v, err := s.Get(1, []byte("key 002500")); err == nil {
		t.Errorf("Get of a key in the damaged block = %q", v.Data)
	}
	wantValue(t, s, 1, "key 000001", "value 1")
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

func TestLostCheckpointIsDetected(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	mustApply(t, s, batch(1, set(1, "a", "b")), batch(2, set(1, "a", "b")))
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Delete(checkpointKey(1)) }); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, err := Open(Options{Dir: dir, StoreID: "store"}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Open = %v, want ErrCorrupt", err)
	}
}

func TestDamagedCheckpointIsDetected(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir})
	mustApply(t, s, batch(1, set(1, "a", "b")))
	c, _ := s.Checkpoint(1)
	b := c.encode()
	b[9] ^= 1
	if err := s.db.Update(func(txn *badger.Txn) error { return txn.Set(checkpointKey(1), b) }); err != nil {
		t.Fatal(err)
	}
	mustClose(t, s)
	if _, err := Open(Options{Dir: dir, StoreID: "store"}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Open = %v, want ErrCorrupt", err)
	}
}
