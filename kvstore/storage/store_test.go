package storage

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skshohagmiah/clusterkit/kvstore/op"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func mustOpen(t testing.TB, opts Options) *Store {
	t.Helper()
	if opts.StoreID == "" {
		opts.StoreID = "store"
	}
	s, err := Open(opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return s
}

func mustClose(t testing.TB, s *Store) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
}

func set(lsn uint64, key, value string) Write {
	return Write{op.Op{Kind: op.Set, Key: []byte(key), Value: []byte(value)}, 1, lsn}
}

func del(lsn uint64, key string) Write {
	return Write{op.Op{Kind: op.Delete, Key: []byte(key)}, 1, lsn}
}

// batch returns the writes as one of a partition, through the last of them.
func batch(partition uint32, writes ...Write) Batch {
	last := writes[len(writes)-1]
	return Batch{Partition: partition, Through: Position{last.Epoch, last.LSN}, Writes: writes}
}

func mustApply(t testing.TB, s *Store, batches ...Batch) {
	t.Helper()
	if err := s.Apply(batches); err != nil {
		t.Fatalf("Apply: %v", err)
	}
}

// wantValue checks what Get returns for a key; "" stands for ErrNotFound.
func wantValue(t testing.TB, s *Store, partition uint32, key, want string) {
	t.Helper()
	v, err := s.Get(partition, []byte(key))
	switch {
	case want == "" && !errors.Is(err, ErrNotFound):
		t.Errorf("Get(%d, %q) = %.40q, %v, want ErrNotFound", partition, key, v.Data, err)
	case want != "" && (err != nil || string(v.Data) != want):
		t.Errorf("Get(%d, %q) = %.40q, %v, want %.40q", partition, key, v.Data, err, want)
	}
}

// dump reads a whole snapshot.
func dump(t testing.TB, s *Store, partition uint32) []Item {
	t.Helper()
	snap, err := s.Snapshot(partition)
	if err != nil {
		t.Fatalf("Snapshot: %v", err)
	}
	defer snap.Close()
	items, err := readAll(snap)
	if err != nil {
		t.Fatalf("Next: %v", err)
	}
	return items
}

func readAll(snap *Snapshot) ([]Item, error) {
	var all []Item
	for {
		items, err := next(snap, 1000)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, items...)
	}
}

// next returns the items of the next chunk.
func next(snap *Snapshot, maxBytes int) ([]Item, error) {
	chunk, err := snap.Next(nil, maxBytes)
	if err != nil {
		return nil, err
	}
	return DecodeChunk(chunk)
}

// eventually polls a condition that another goroutine will make true.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	poll := time.NewTicker(time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}

// copyDir copies the files of a store, as a crash at this moment would leave
// them: all that was synced, and perhaps more.
func copyDir(t testing.TB, dir string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(filepath.Join(to, "copy"), os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	return filepath.Join(to, "copy")
}

func TestAppliedDataSurviveAReopen(t *testing.T) {
	opts := Options{Dir: t.TempDir()}
	s := mustOpen(t, opts)
	mustApply(t, s,
		batch(1, set(1, "a", "1"), set(2, "b", "2"), set(3, "a", "3"), del(4, "b"), set(4, "c", "4")),
		batch(2, set(7, "a", "other partition")),
		Batch{Partition: 3, Through: Position{2, 9}})
	mustApply(t, s, Batch{Partition: 2, Through: Position{3, 8}})
	for range 2 {
		wantValue(t, s, 1, "a", "3")
		wantValue(t, s, 1, "b", "")
		wantValue(t, s, 1, "c", "4")
		wantValue(t, s, 2, "a", "other partition")
		wantValue(t, s, 4, "a", "")
		if v, err := s.Get(1, []byte("a")); err != nil || v.Epoch != 1 || v.LSN != 3 {
			t.Errorf("the version of a is %d.%d, %v, want 1.3", v.Epoch, v.LSN, err)
		}
		var positions []string
		for p := range uint32(5) {
			if c, ok := s.Checkpoint(p); ok {
				positions = append(positions, fmt.Sprintf("%d:%v/%d", p, c.Position, c.Sum.Count))
			}
		}
		if got := fmt.Sprint(positions); got != "[1:{1 4}/2 2:{3 8}/1 3:{2 9}/0]" {
			t.Errorf("checkpoints are %s", got)
		}
		if n := len(s.Checkpoints()); n != 3 {
			t.Errorf("there are %d checkpoints, want 3", n)
		}
		mustClose(t, s)
		s = mustOpen(t, opts)
	}
}

func TestLargestValuesAndKeys(t *testing.T) {
	opts := Options{Dir: t.TempDir()}
	s := mustOpen(t, opts)
	key := string(bytes.Repeat([]byte{0xff}, 4<<10))
	large := string(bytes.Repeat([]byte("large"), 1<<18))[:1<<20-1]
	edge := large[:inlineLimit-valueHeader-1]
	mustApply(t, s, batch(1, set(1, key, large), set(2, "edge", edge), set(3, "beyond", large[:len(edge)+1]), set(4, "shrinks", large), set(5, "goes", large)))
	mustApply(t, s, batch(1, set(6, "shrinks", "small"), del(7, "goes")))
	for range 2 {
		wantValue(t, s, 1, key, large)
		wantValue(t, s, 1, "edge", edge)
		wantValue(t, s, 1, "beyond", large[:len(edge)+1])
		wantValue(t, s, 1, "shrinks", "small")
		wantValue(t, s, 1, "goes", "")
		if n := len(dump(t, s, 1)); n != 4 {
			t.Errorf("the snapshot has %d items, want 4", n)
		}
		c, _ := s.Checkpoint(1)
		if keys, _ := s.keysFrom(generation{1, c.Generation}.rest().appendPrefix(nil), generation{1, c.Generation}.rest().appendPrefix(nil), false); len(keys) != 2 {
			t.Errorf("there are rests of %d values, want 2", len(keys))
		}
		mustClose(t, s)
		s = mustOpen(t, opts)
	}
	mustClose(t, s)
	logs, err := filepath.Glob(filepath.Join(opts.Dir, "*.vlog"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range logs {
		if stat, err := os.Stat(name); err != nil || stat.Size() > 1<<10 {
			t.Errorf("%s has %d bytes, %v: want no value in the value log", name, stat.Size(), err)
		}
	}
}

func TestTransactionsHoldWholeEntries(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	var writes []Write
	value := string(make([]byte, 100<<10))
	for lsn := range uint64(40) {
		for i := range 5 {
			writes = append(writes, set(lsn+1, fmt.Sprintf("key %d.%d", lsn, i), value))
		}
	}
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for {
			select {
			case <-stop:
				return
			default:
			}
			snap, err := s.Snapshot(1)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				t.Error(err)
				return
			}
			items, err := readAll(snap)
			if c := snap.Checkpoint(); err != nil || uint64(len(items)) != 5*c.LSN {
				t.Errorf("a snapshot at %d has %d items, %v: want 5 of each entry", c.LSN, len(items), err)
			}
			snap.Close()
		}
	}()
	mustApply(t, s, batch(1, writes...))
	close(stop)
	<-stopped
	if got := len(dump(t, s, 1)); got != 200 {
		t.Errorf("%d items were applied, want 200", got)
	}
}

func TestGetsDuringApplies(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	mustApply(t, s, batch(1, set(1, "counter", "1")))
	var readers sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		readers.Go(func() {
			for last := uint64(0); ; {
				select {
				case <-stop:
					return
				default:
				}
				v, err := s.Get(1, []byte("counter"))
				if err != nil || v.LSN < last {
					t.Errorf("Get = %d after %d, %v", v.LSN, last, err)
					return
				}
				last = v.LSN
			}
		})
	}
	for lsn := uint64(2); lsn <= 200; lsn++ {
		mustApply(t, s, batch(1, set(lsn, "counter", fmt.Sprint(lsn))))
		wantValue(t, s, 1, "counter", fmt.Sprint(lsn))
	}
	close(stop)
	readers.Wait()
}

func TestEntryTooLargeIsRefused(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir(), MemTableBytes: 8 << 20})
	value := string(make([]byte, 450<<10))
	writes := []Write{set(1, "a", value), set(1, "b", value), set(1, "c", value)}
	if err := s.Apply([]Batch{batch(1, writes...)}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("Apply = %v, want ErrTooLarge", err)
	}
	if err := s.CheckEntry([]op.Op{writes[0].Op, writes[1].Op, writes[2].Op}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("CheckEntry = %v, want ErrTooLarge", err)
	}
	if err := s.CheckEntry([]op.Op{writes[0].Op, writes[1].Op}); err != nil {
		t.Errorf("CheckEntry of two = %v", err)
	}
	wantValue(t, s, 1, "a", "")
	mustApply(t, s, batch(1, set(1, "a", value), set(1, "b", value)))
	wantValue(t, s, 1, "b", value)
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	mustClose(t, mustOpen(t, Options{Dir: dir, StoreID: "one"}))
	for name, test := range map[string]struct {
		opts Options
		want error
	}{
		"another store":   {Options{Dir: dir, StoreID: "two"}, ErrOtherStore},
		"no directory":    {Options{StoreID: "one"}, nil},
		"no identity":     {Options{Dir: dir}, nil},
		"small memtables": {Options{Dir: dir, StoreID: "one", MemTableBytes: 1 << 20}, nil},
		"negative delay":  {Options{Dir: dir, StoreID: "one", ReclaimDelay: -1}, nil},
		"negative rate":   {Options{Dir: dir, StoreID: "one", CollectPerSecond: -1}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Open(test.opts)
			if err == nil {
				_ = s.Close()
				t.Fatal("Open accepted it")
			}
			if test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("Open = %v, want %v", err, test.want)
			}
		})
	}
	mustOpen(t, Options{Dir: dir, StoreID: "one"})
}

func TestPartitionOutOfRange(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	if err := s.Apply([]Batch{batch(1<<24, set(1, "a", "b"))}); err == nil {
		t.Error("Apply took partition 2^24")
	}
	if _, err := s.Load(1<<24, Origin{}); err == nil {
		t.Error("Load took partition 2^24")
	}
}

func TestNoSpace(t *testing.T) {
	dir := t.TempDir()
	s := mustOpen(t, Options{Dir: dir, ReserveBytes: 1 << 62})
	if err := s.Apply([]Batch{batch(1, set(1, "a", "b"))}); !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrFailed) {
		t.Errorf("Apply = %v, want ErrNoSpace", err)
	}
	l, err := s.Load(1, Origin{})
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Add([]Item{{[]byte("k"), Value{}}}); !errors.Is(err, ErrNoSpace) {
		t.Errorf("Add = %v, want ErrNoSpace", err)
	}
	l.Abort()
	mustClose(t, s)
	s = mustOpen(t, Options{Dir: dir})
	mustApply(t, s, batch(1, set(1, "a", "b")))
}

func TestCommitErrorIsFailStop(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	mustApply(t, s, batch(1, set(1, "a", "durable")))
	if err := s.db.Close(); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := s.Apply([]Batch{{Partition: 1, Through: Position{1, 2}}}); !errors.Is(err, ErrFailed) {
			t.Fatalf("Apply = %v, want ErrFailed", err)
		}
	}
	if err := s.Drop(1); !errors.Is(err, ErrFailed) {
		t.Errorf("Drop = %v, want ErrFailed", err)
	}
	if c, _ := s.Checkpoint(1); c.LSN != 1 {
		t.Errorf("the checkpoint is at %d, want 1", c.LSN)
	}
	if err := s.Close(); !errors.Is(err, ErrFailed) {
		t.Errorf("Close = %v, want ErrFailed", err)
	}
}

func TestClosedStore(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir()})
	mustClose(t, s)
	if _, err := s.Get(1, []byte("a")); !errors.Is(err, ErrClosed) {
		t.Errorf("Get = %v, want ErrClosed", err)
	}
	if err := s.Apply(nil); !errors.Is(err, ErrClosed) {
		t.Errorf("Apply = %v, want ErrClosed", err)
	}
	if _, err := s.Snapshot(1); !errors.Is(err, ErrClosed) {
		t.Errorf("Snapshot = %v, want ErrClosed", err)
	}
	if err := s.Drop(1); !errors.Is(err, ErrClosed) {
		t.Errorf("Drop = %v, want ErrClosed", err)
	}
	if err := s.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close = %v, want ErrClosed", err)
	}
}
