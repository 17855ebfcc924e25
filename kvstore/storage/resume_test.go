package storage

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// origin is where the loads of these tests come from.
func origin(snap *Snapshot) Origin {
	c := snap.Checkpoint()
	return Origin{Incarnation: 7, Node: "a", Store: "disk-a", Pin: "pin", Base: c.Position, Sum: c.Sum}
}

// A load that a crash cuts off, at any step, goes on behind what it has on
// disk, and leads to the same data.
func TestLoadsGoOnAfterACrashAtAnyStep(t *testing.T) {
	source := mustOpen(t, Options{Dir: t.TempDir()})
	fill(t, source, 1, 500)
	mustApply(t, source, batch(1, set(501, "long", strings.Repeat("x", inlineLimit-1))))
	snap, err := source.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	want := fmt.Sprint(dump(t, source, 1))

	opts := Options{Dir: t.TempDir(), MemTableBytes: minMemTableBytes}
	s := mustOpen(t, opts)
	mustApply(t, s, batch(1, set(1, "stale", "x")))
	l, err := s.Load(1, origin(snap))
	if err != nil {
		t.Fatal(err)
	}
	flushed, steps := uint64(0), 0
	crash := func() {
		steps++
		s := mustOpen(t, Options{Dir: copyDir(t, opts.Dir), MemTableBytes: minMemTableBytes})
		wantValue(t, s, 1, "stale", "x")
		if got := s.Unfinished()[1]; got != origin(snap) {
			t.Errorf("step %d: the unfinished load is %+v, want %+v", steps, got, origin(snap))
		}
		l, err := s.Resume(1)
		if err != nil {
			t.Fatal(err)
		}
		if got := l.Loaded().Sum.Count; got < flushed {
			t.Errorf("step %d: %d items are there, %d had been flushed", steps, got, flushed)
		}
		own, err := source.Snapshot(1)
		if err != nil {
			t.Fatal(err)
		}
		defer own.Close()
		own.After(l.Loaded().Last)
		goOn(t, own, l)
		if err := l.Commit(); err != nil {
			t.Fatalf("step %d: %v", steps, err)
		}
		if got := fmt.Sprint(dump(t, s, 1)); got != want {
			t.Errorf("step %d: the copies differ", steps)
		}
		wantValue(t, s, 1, "stale", "")
		eventually(t, "nothing else is left", func() bool { return rawKeys(s, 1) == 502 && s.Garbage().Generations == 0 })
		mustClose(t, s)
	}
	crash()
	for i := 0; ; i++ {
		items, err := next(snap, 4<<10)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Add(items); err != nil {
			t.Fatal(err)
		}
		if i%2 == 0 {
			if err := l.Flush(); err != nil {
				t.Fatal(err)
			}
			flushed = l.Loaded().Sum.Count
		}
		crash()
	}
	if err := l.Suspend(); err != nil {
		t.Fatal(err)
	}
	crash()
	if l, err = s.Resume(1); err != nil || l.Loaded().Sum != snap.Checkpoint().Sum {
		t.Fatalf("what was suspended is resumed with %+v, %v", l.Loaded(), err)
	}
	if err := l.Commit(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if got := fmt.Sprint(dump(t, s, 1)); got != want {
			t.Error("the copies differ")
		}
		if _, err := s.Resume(1); !errors.Is(err, ErrNotFound) {
			t.Errorf("a load that is complete is resumed: %v", err)
		}
		mustClose(t, s)
		s = mustOpen(t, Options{Dir: copyDir(t, opts.Dir), MemTableBytes: minMemTableBytes})
	}
	if steps < 8 {
		t.Errorf("only %d steps", steps)
	}
}

// goOn adds what is left of the snapshot.
func goOn(t testing.TB, snap *Snapshot, l *Loader) {
	t.Helper()
	for {
		items, err := next(snap, 10_000)
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Add(items); err != nil {
			t.Fatal(err)
		}
	}
}

func TestThereIsOneLoadOfAPartition(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	one := []Item{{[]byte("a"), Value{Data: []byte("x"), Epoch: 1, LSN: 1}}}
	l, err := s.Load(1, Origin{Pin: "first"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.Load(1, Origin{}); !errors.Is(err, ErrLoading) {
		t.Errorf("a second load begins: %v", err)
	}
	if _, err := s.Resume(1); !errors.Is(err, ErrLoading) {
		t.Errorf("a load that goes on is resumed: %v", err)
	}
	if err := errors.Join(l.Add(one), l.Suspend(), l.Suspend()); err != nil {
		t.Fatal(err)
	}
	if err := l.Add(one); !errors.Is(err, ErrClosed) {
		t.Errorf("Add after Suspend = %v", err)
	}
	if l, err = s.Load(1, Origin{Pin: "second"}); err != nil {
		t.Fatal(err)
	}
	if err := l.Add(one); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the first load is deleted", func() bool { return s.Garbage().Generations == 0 })

	// Whoever drops the partition takes the load with it.
	if err := s.Drop(1); err != nil {
		t.Fatal(err)
	}
	if err := l.Add(one); !errors.Is(err, ErrUnwanted) {
		t.Errorf("Add to a dropped partition = %v, want ErrUnwanted", err)
	}
	if err := l.Suspend(); !errors.Is(err, ErrUnwanted) {
		t.Errorf("Suspend of a dropped partition = %v, want ErrUnwanted", err)
	}
	eventually(t, "the second load is deleted", func() bool { return rawKeys(s, 1) == 0 && s.Garbage().Generations == 0 })

	if l, err = s.Load(1, Origin{}); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(l.Add(one), l.Suspend(), s.DiscardLoad(1), s.DiscardLoad(1)); err != nil {
		t.Fatal(err)
	}
	if all := s.Unfinished(); len(all) != 0 {
		t.Errorf("unfinished are %v", all)
	}
	eventually(t, "the third load is deleted", func() bool { return rawKeys(s, 1) == 0 })
}

// A copy that does not add up is never used.
func TestCopiesThatDoNotAddUpAreRefused(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	mustApply(t, s, batch(1, set(1, "a", "kept")))
	l, err := s.Load(1, Origin{Base: Position{1, 9}, Sum: Sum{Count: 1, Digest: 1}})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Add([]Item{{[]byte("a"), Value{Data: []byte("x"), Epoch: 1, LSN: 1}}}); err != nil {
		t.Fatal(err)
	}
	if err := l.Commit(); !errors.Is(err, ErrCorrupt) {
		t.Errorf("Commit = %v, want ErrCorrupt", err)
	}
	wantValue(t, s, 1, "a", "kept")
	if err := s.Damaged(1); err != nil {
		t.Errorf("the data before are held responsible: %v", err)
	}
	eventually(t, "the copy is deleted", func() bool { return rawKeys(s, 1) == 1 })
}

// A snapshot goes on from wherever it is asked to, and ends well only if
// everything was there.
func TestSnapshotsGoOnBehindAnyKey(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	fill(t, s, 1, 100)
	snap, err := s.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	first := func(after string) string {
		snap.After([]byte(after))
		items, err := next(snap, 1)
		if err != nil {
			return err.Error()
		}
		return string(items[0].Key)
	}
	for _, tc := range []struct{ after, want string }{
		{"", "key 000000"},
		{"key 000000", "key 000001"},
		{"key 000000", "key 000001"}, // once more
		{"key 000050", "key 000051"},
		{"key 000050x", "key 000051"},
		{"key 000099", "EOF"},
		{"", "key 000000"},
		{"key 000000", "key 000001"},
	} {
		if got := first(tc.after); got != tc.want {
			t.Errorf("after %q comes %q, want %q", tc.after, got, tc.want)
		}
	}
	if items, err := readAll(snap); err != nil || len(items) != 98 {
		t.Errorf("%d items are left, %v", len(items), err)
	}
	if snap.partial || snap.sum != snap.Checkpoint().Sum {
		t.Error("a snapshot read from the beginning to the end does not know that it is whole")
	}
}
