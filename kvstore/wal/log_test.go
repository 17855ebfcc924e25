package wal

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// mustOpen opens a log that the test closes, unless the test has. Segments
// are small unless the test says otherwise.
func mustOpen(t testing.TB, opts Options) (*Log, *Recovery) {
	t.Helper()
	if opts.SegmentBytes == 0 {
		opts.SegmentBytes = 16 << 10
	}
	l, found, err := Open(opts)
	if err != nil {
		t.Fatalf("Open: %v", err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l, found
}

// begin appends batch and returns before it is durable; done is told what
// became of it.
func begin(l *Log, batch []Record, done func(error)) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, err := l.gather(batch)
	if err != nil {
		return err
	}
	seq := g.seq
	go func() {
		l.mu.Lock()
		err := l.commit(g, seq)
		l.mu.Unlock()
		done(err)
	}()
	return nil
}

func mustAppend(t testing.TB, l *Log, batch ...Record) {
	t.Helper()
	if err := l.Append(batch); err != nil {
		t.Fatalf("Append: %v", err)
	}
}

func entry(partition uint32, epoch, lsn uint64, data string) Record {
	return EntryRecord(partition, Entry{epoch, lsn, []byte(data)})
}

// contents returns all entries held of a partition, as "epoch.lsn=data".
func contents(t testing.TB, l *Log, partition uint32) []string {
	t.Helper()
	var all []string
	for from := l.FirstLSN(partition); ; {
		entries, err := l.Read(partition, from, 100)
		if err != nil {
			t.Fatalf("Read(%d, %d): %v", partition, from, err)
		}
		if len(entries) == 0 {
			return all
		}
		for _, e := range entries {
			if e.LSN != from {
				t.Fatalf("Read returned entry %d, want %d", e.LSN, from)
			}
			all = append(all, fmt.Sprintf("%d.%d=%s", e.Epoch, e.LSN, e.Data))
			from++
		}
	}
}

func wantContents(t testing.TB, l *Log, partition uint32, want ...string) {
	t.Helper()
	if got := contents(t, l, partition); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("partition %d holds %v, want %v", partition, got, want)
	}
}

func TestEntriesSurviveAReopen(t *testing.T) {
	opts := Options{Dir: t.TempDir() + "/a/log", SegmentBytes: 8 << 10}
	l, found := mustOpen(t, opts)
	if len(found.Partitions) != 0 || found.Torn {
		t.Errorf("a new log holds %v", found)
	}
	mustAppend(t, l, entry(1, 1, 1, "a"), entry(2, 7, 1, "x"), entry(1, 1, 2, "b"), StateRecord(1, []byte("promise 3")))
	mustAppend(t, l, entry(1, 3, 3, "c"), entry(2, 7, 2, "y"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	l, found = mustOpen(t, opts)
	wantContents(t, l, 1, "1.1=a", "1.2=b", "3.3=c")
	wantContents(t, l, 2, "7.1=x", "7.2=y")
	got := found.Partitions[1]
	if string(got.State) != "promise 3" || got.Base != (Position{}) || got.Last != (Position{3, 3}) ||
		fmt.Sprint(got.Runs) != "[{1 1} {3 3}]" {
		t.Errorf("recovered %+v", got)
	}
	if found.Torn {
		t.Error("a log that was closed reads as torn")
	}
}

func TestPhysicalOrderWins(t *testing.T) {
	opts := Options{Dir: "log", FS: newMemFS()}
	l, _ := mustOpen(t, opts)
	mustAppend(t, l, entry(1, 1, 1, "a"), entry(1, 1, 2, "b"), entry(1, 2, 3, "c"))
	mustAppend(t, l, entry(1, 2, 2, "no-op"))
	wantContents(t, l, 1, "1.1=a", "2.2=no-op")
	mustAppend(t, l, entry(1, 1, 2, "b"), entry(1, 3, 3, "d"))
	want := []string{"1.1=a", "1.2=b", "3.3=d"}
	wantContents(t, l, 1, want...)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l, _ = mustOpen(t, opts)
	wantContents(t, l, 1, want...)
}

func TestReset(t *testing.T) {
	opts := Options{Dir: "log", FS: newMemFS()}
	l, _ := mustOpen(t, opts)
	mustAppend(t, l, StateRecord(1, []byte("s")), entry(1, 1, 1, "a"), ResetRecord(1, Position{4, 90}), entry(1, 5, 91, "b"))
	for range 2 {
		wantContents(t, l, 1, "5.91=b")
		if _, err := l.Read(1, 90, 1); !errors.Is(err, ErrTruncated) {
			t.Errorf("Read below the base = %v, want ErrTruncated", err)
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		var found *Recovery
		l, found = mustOpen(t, opts)
		if got := found.Partitions[1]; string(got.State) != "s" || got.Base != (Position{4, 90}) {
			t.Errorf("recovered %+v", got)
		}
	}
	mustAppend(t, l, StateRecord(1, nil), ResetRecord(1, Position{}))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if _, found := mustOpen(t, opts); len(found.Partitions) != 0 {
		t.Errorf("a forgotten partition is still known: %v", found.Partitions)
	}
}

func TestAppendRefuses(t *testing.T) {
	l, _ := mustOpen(t, Options{Dir: "log", FS: newMemFS(), SegmentBytes: 8 << 10})
	mustAppend(t, l, entry(1, 1, 1, "a"), entry(1, 1, 2, "b"), entry(1, 1, 3, "c"), ResetRecord(2, Position{1, 10}))
	l.Applied(1, 2)
	for name, test := range map[string]struct {
		batch []Record
		want  error
	}{
		"a gap":                     {[]Record{entry(1, 1, 5, "")}, ErrOrder},
		"a gap inside a batch":      {[]Record{entry(1, 1, 4, ""), entry(3, 1, 1, ""), entry(1, 1, 6, "")}, ErrOrder},
		"a gap in a new partition":  {[]Record{entry(3, 1, 2, "")}, ErrOrder},
		"LSN 0":                     {[]Record{entry(3, 1, 0, "")}, ErrOrder},
		"an applied entry":          {[]Record{entry(1, 2, 2, "")}, ErrOrder},
		"the base":                  {[]Record{entry(2, 2, 10, "")}, ErrOrder},
		"below a reset in the same": {[]Record{ResetRecord(1, Position{1, 7}), entry(1, 2, 7, "")}, ErrOrder},
		"an unknown kind":           {[]Record{{Kind: 9}}, ErrOrder},
		"more than half a segment":  {[]Record{entry(1, 1, 4, string(make([]byte, 4<<10)))}, ErrTooLarge},
		"states beyond a quarter":   {[]Record{StateRecord(4, make([]byte, 2<<10))}, ErrTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			if err := l.Append(test.batch); !errors.Is(err, test.want) {
				t.Errorf("Append = %v, want %v", err, test.want)
			}
		})
	}
	wantContents(t, l, 1, "1.1=a", "1.2=b", "1.3=c")
}

func TestReadBounds(t *testing.T) {
	l, _ := mustOpen(t, Options{Dir: "log", FS: newMemFS()})
	if entries, err := l.Read(1, 1, 100); len(entries) != 0 || err != nil {
		t.Errorf("Read of an unknown partition = %v, %v", entries, err)
	}
	mustAppend(t, l, entry(1, 1, 1, "aaaa"), entry(1, 1, 2, "bbbb"), entry(1, 1, 3, "cccc"))
	for _, test := range []struct {
		from uint64
		max  int
		want int
	}{{1, 0, 1}, {1, 81, 1}, {1, 82, 2}, {1, 1000, 3}, {3, 1000, 1}, {4, 1000, 0}, {9, 1000, 0}} {
		entries, err := l.Read(1, test.from, test.max)
		if err != nil || len(entries) != test.want {
			t.Errorf("Read(%d, %d) = %d entries, %v, want %d", test.from, test.max, len(entries), err, test.want)
		}
	}
}

func TestReadFindsWhatIsNotYetDurable(t *testing.T) {
	fs := newMemFS()
	l, _ := mustOpen(t, Options{Dir: "log", FS: fs})
	mustAppend(t, l, entry(1, 1, 1, "a"))
	eventually(t, "the next segment is prepared", l.prepared)
	inSync, goOn := fs.holdSync("")
	result := make(chan error, 2)
	for i, data := range []string{"in the group being written", "in the one that gathers"} {
		if err := begin(l, []Record{entry(1, 1, uint64(2+i), data)}, func(err error) { result <- err }); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-inSync
		}
	}
	wantContents(t, l, 1, "1.1=a", "1.2=in the group being written", "1.3=in the one that gathers")
	if len(result) > 0 {
		t.Error("acknowledged before the sync")
	}
	close(goOn)
	for range 2 {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	wantContents(t, l, 1, "1.1=a", "1.2=in the group being written", "1.3=in the one that gathers")
}

// TestAppendersShareGroups holds one group back while others gather: one more
// sync makes all of them durable.
func TestAppendersShareGroups(t *testing.T) {
	fs := newMemFS()
	l, _ := mustOpen(t, Options{Dir: "log", FS: fs})
	mustAppend(t, l, entry(1, 1, 1, "a"))
	eventually(t, "the next segment is prepared", l.prepared)
	inSync, goOn, syncs := make(chan struct{}), make(chan struct{}), 0
	fs.setFault(func(op, _ string) error {
		if op != "sync" {
			return nil
		}
		if syncs++; syncs == 1 {
			close(inSync)
			fs.mu.Unlock()
			<-goOn
			fs.mu.Lock()
		}
		return nil
	})
	const n = 50
	result := make(chan error, n)
	for i := range n {
		if err := begin(l, []Record{entry(1, 1, uint64(i+2), "data")}, func(err error) { result <- err }); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			<-inSync
		}
	}
	close(goOn)
	for range n {
		if err := <-result; err != nil {
			t.Error(err)
		}
	}
	fs.setFault(nil)
	if syncs != 2 {
		t.Errorf("%d syncs for one batch and the %d that gathered meanwhile, want 2", syncs, n-1)
	}
}

func TestReadDetectsDamage(t *testing.T) {
	fs := newMemFS()
	l, _ := mustOpen(t, Options{Dir: "log", FS: fs})
	mustAppend(t, l, entry(1, 1, 1, "precious"))
	fs.mu.Lock()
	data := fs.names[segmentName("log", 1)].data
	data[bytes.Index(data, []byte("precious"))] ^= 4
	fs.mu.Unlock()
	var damage *CorruptError
	if _, err := l.Read(1, 1, 100); !errors.As(err, &damage) || damage.File != segmentName("log", 1) || !errors.Is(err, ErrCorrupt) {
		t.Errorf("Read = %v, want a CorruptError of the segment", err)
	}
}

func TestClosedLog(t *testing.T) {
	l, _ := mustOpen(t, Options{Dir: "log", FS: newMemFS()})
	mustAppend(t, l, entry(1, 1, 1, "a"))
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := l.Append([]Record{entry(1, 1, 2, "b")}); !errors.Is(err, ErrClosed) {
		t.Errorf("Append = %v, want ErrClosed", err)
	}
	if _, err := l.Read(1, 1, 1); !errors.Is(err, ErrClosed) {
		t.Errorf("Read = %v, want ErrClosed", err)
	}
	if err := l.Close(); !errors.Is(err, ErrClosed) {
		t.Errorf("second Close = %v, want ErrClosed", err)
	}
}

func TestOptionsAreChecked(t *testing.T) {
	for name, opts := range map[string]Options{
		"no directory":      {},
		"tiny segments":     {Dir: "log", SegmentBytes: 100},
		"negative retained": {Dir: "log", RetainBytes: -1},
	} {
		t.Run(name, func(t *testing.T) {
			opts.FS = newMemFS()
			if _, _, err := Open(opts); err == nil {
				t.Error("Open accepted it")
			}
		})
	}
}
