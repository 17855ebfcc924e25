package storage

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

func diskUsage(t testing.TB, dir string) (size int64) {
	t.Helper()
	tables, err := filepath.Glob(filepath.Join(dir, "*.sst"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range tables {
		// One that a compaction has just removed takes nothing.
		if info, err := os.Stat(name); err == nil {
			size += info.Size()
		}
	}
	return size
}

// The disk space of dropped data comes back, when nobody looks at them any
// more, and the data beside them stay.
func TestSpaceOfDroppedDataComesBack(t *testing.T) {
	t.Parallel() // it mostly waits
	opts := Options{Dir: t.TempDir(), MemTableBytes: minMemTableBytes, CollectPerSecond: 1 << 20, ReclaimDelay: 100 * time.Millisecond}
	s := mustOpen(t, opts)
	value := strings.Repeat("v", 16<<10)
	for partition := range uint32(2) {
		for from := range 40 {
			var writes []Write
			for i := range 64 {
				n := from*64 + i
				writes = append(writes, set(uint64(n+1), fmt.Sprintf("key %06d", n), value))
			}
			mustApply(t, s, batch(partition, writes...))
		}
	}
	eventually(t, "both are in tables", func() bool { return diskUsage(t, opts.Dir) > 60<<20 })
	full := diskUsage(t, opts.Dir)
	snap, err := s.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(1); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is marked as deleted", func() bool { return s.Garbage().Generations == 0 })
	if items, err := readAll(snap); err != nil || len(items) != 40*64 {
		t.Errorf("the snapshot has %d items, %v", len(items), err)
	}
	if g := s.Garbage(); g.Reclaims != 0 {
		t.Errorf("%+v under an open snapshot", g)
	}
	snap.Close()
	eventually(t, "the space comes back", func() bool {
		// Half of 80 MiB is left, and perhaps a table of what only fills it up.
		return s.Garbage().Reclaims == 1 && diskUsage(t, opts.Dir) < 54<<20
	})
	t.Logf("%d MiB of tables before, %d after", full>>20, diskUsage(t, opts.Dir)>>20)
	if n := len(dump(t, s, 0)); n != 40*64 {
		t.Errorf("%d items of the other partition are left", n)
	}
	began := time.Now()
	mustClose(t, s)
	t.Logf("closed in %v", time.Since(began))
}

// What is all in few tables that Badger would leave alone is reclaimed as well,
// once for all that is dropped in a row, and after the last picture of it is
// closed.
func TestSpaceComesBackFromFewTables(t *testing.T) {
	t.Parallel() // it mostly waits
	opts := Options{Dir: t.TempDir(), CollectPerSecond: 1 << 20, ReclaimDelay: 100 * time.Millisecond}
	s := mustOpen(t, opts)
	value := strings.Repeat("v", 64<<10)
	const partitions, items = 3, 256
	for partition := range uint32(partitions) {
		for from := 0; from < items; from += 16 {
			var writes []Write
			for i := from; i < from+16; i++ {
				writes = append(writes, set(uint64(i+1), fmt.Sprintf("key %06d", i), value))
			}
			mustApply(t, s, batch(partition, writes...))
		}
	}
	picture, err := s.Picture(0)
	if err != nil {
		t.Fatal(err)
	}
	for partition := range uint32(partitions) {
		if err := s.Drop(partition); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, "all is marked as deleted", func() bool { return s.Garbage().Generations == 0 })
	shown := 0
	if err := picture.Items(nil, nil, func(Item) bool { shown++; return true }); err != nil || shown != items {
		t.Errorf("the picture has %d items, %v", shown, err)
	}
	if !s.shown() {
		t.Error("a picture that is open is not heeded")
	}
	picture.Close()
	if s.shown() {
		t.Error("a picture that is closed is heeded")
	}
	// A memtable of what only fills them up stays.
	eventually(t, "the space comes back", func() bool { return s.Garbage().Reclaims > 0 && diskUsage(t, opts.Dir) < 20<<20 })
	if n := s.Garbage().Reclaims; n != 1 {
		t.Errorf("it came back in %d parts", n)
	}
}

// fillLarge writes 40 MiB into partition 0.
func fillLarge(t *testing.T, s *Store) {
	t.Helper()
	value := strings.Repeat("v", 64<<10)
	for from := range 40 {
		var writes []Write
		for i := range 16 {
			n := from*16 + i
			writes = append(writes, set(uint64(n+1), fmt.Sprintf("key %06d", n), value))
		}
		mustApply(t, s, batch(0, writes...))
	}
}

// Data that were compacted with their deletions while somebody read an older
// state, so that both were kept, are reclaimed when nobody does any more.
func TestSpaceComesBackFromTheLowestLevel(t *testing.T) {
	t.Parallel() // it mostly waits
	opts := Options{Dir: t.TempDir(), CollectPerSecond: 1 << 20, ReclaimDelay: 100 * time.Millisecond}
	s := mustOpen(t, opts)
	fill(t, s, 1, 10)
	fillLarge(t, s)
	snap, err := s.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Drop(0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is marked as deleted", func() bool { return s.Garbage().Generations == 0 })
	if err := s.compactAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if kept := diskUsage(t, opts.Dir); kept < 40<<20 {
		t.Fatalf("an older reader keeps only %d bytes", kept)
	}
	snap.Close()
	eventually(t, "the space comes back", func() bool { return s.Garbage().Reclaims == 1 && diskUsage(t, opts.Dir) < 20<<20 })
}

// Reclaiming takes space first: none is touched below the reserve, and the store
// goes on.
func TestNothingIsReclaimedWithoutSpace(t *testing.T) {
	var full atomic.Bool
	opts := Options{Dir: t.TempDir(), CollectPerSecond: 1 << 20, ReclaimDelay: time.Hour, Free: func(string) (uint64, error) {
		if full.Load() {
			return defaultReserveBytes - 1, nil
		}
		return 1 << 40, nil
	}}
	s := mustOpen(t, opts)
	fillLarge(t, s)
	if err := s.Drop(0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all is marked as deleted", func() bool { return s.Garbage().Generations == 0 })
	full.Store(true)
	last := s.db.MaxVersion()
	if again, err := s.reclaim(t.Context()); err != nil || !again {
		t.Fatalf("without space: again %t, %v", again, err)
	}
	if now := s.db.MaxVersion(); now != last {
		t.Errorf("%d transactions were committed without space", now-last)
	}
	full.Store(false)
	if again, err := s.reclaim(t.Context()); err != nil || again {
		t.Fatalf("with space: again %t, %v", again, err)
	}
	eventually(t, "the space comes back", func() bool { return diskUsage(t, opts.Dir) < 20<<20 })
	mustApply(t, s, batch(1, set(1, "a", "b")))
}

func TestReclaimingIsTriedEverMoreRarely(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir(), ReclaimDelay: 8 * time.Second})
	for fruitless, want := range map[int]time.Duration{0: time.Second, 1: 2 * time.Second, 6: 64 * time.Second, 70: 64 * time.Second} {
		if got := s.reclaimDelay(fruitless); got != want {
			t.Errorf("after %d attempts: %v, want %v", fruitless, got, want)
		}
	}
}

func TestWhatIsALotToBeDeleted(t *testing.T) {
	const mib = 1 << 20
	for _, tc := range []struct {
		deleted, tables int64
		want            bool
	}{
		{0, 0, false},
		{31 * mib, 40 * mib, false},
		{32 * mib, 40 * mib, true},
		{40 * mib, 160 * mib, true}, // of a node that gives a fourth away
		{40 * mib, 1024 * mib, false},
		{65 * mib, 1024 * mib, true},
	} {
		if got := aLot(tc.deleted, tc.tables); got != tc.want {
			t.Errorf("%d MiB of %d: %t", tc.deleted/mib, tc.tables/mib, got)
		}
	}
}
