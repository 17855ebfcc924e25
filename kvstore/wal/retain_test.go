package wal

import (
	"errors"
	"fmt"
	"testing"
)

// fillLog appends n entries of 500 bytes to partition 1, from LSN on, and
// waits between them for the log to be tended.
func fillLog(t *testing.T, l *Log, lsn uint64, n int) uint64 {
	t.Helper()
	for range n {
		mustAppend(t, l, entry(1, 1, lsn, string(make([]byte, 500))))
		lsn++
	}
	return lsn
}

func TestAppliedSegmentsAreWrittenAnew(t *testing.T) {
	fs := newMemFS()
	opts := Options{Dir: "log", FS: fs, SegmentBytes: 4 << 10, RetainBytes: 12 << 10}
	l, _ := mustOpen(t, opts)
	mustAppend(t, l, StateRecord(7, []byte("old promise")), ResetRecord(8, Position{3, 33}), entry(9, 4, 1, "idle"))
	created := 0
	fs.setFault(func(op, _ string) error {
		if op == "create" {
			created++
		}
		return nil
	})
	lsn := uint64(1)
	for range 30 {
		lsn = fillLog(t, l, lsn, 4)
		l.Applied(1, lsn-1)
		l.Applied(9, 1)
		eventually(t, "no more is held than is retained", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.next != nil && l.held() <= opts.RetainBytes+opts.SegmentBytes
		})
	}
	fs.mu.Lock()
	if created > 7 || len(fs.names) > 7 {
		t.Errorf("%d files were created and %d are there for a log of at most 3 segments", created, len(fs.names))
	}
	fs.mu.Unlock()
	first := l.FirstLSN(1)
	if first < lsn-40 {
		t.Errorf("the log begins at %d, want no earlier than %d", first, lsn-40)
	}
	if _, err := l.Read(1, first-1, 1); !errors.Is(err, ErrTruncated) {
		t.Errorf("Read of a dropped entry = %v, want ErrTruncated", err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}

	opts.FS = fs.crash(nil)
	_, found := mustOpen(t, opts)
	for p, want := range map[uint32]string{
		7: "state old promise base {0 0} last {0 0} runs []",
		8: "state  base {3 33} last {3 33} runs []",
		9: "state  base {4 1} last {4 1} runs []",
	} {
		r := found.Partitions[p]
		if got := fmt.Sprintf("state %s base %v last %v runs %v", r.State, r.Base, r.Last, r.Runs); got != want {
			t.Errorf("partition %d recovered as %s, want %s", p, got, want)
		}
	}
	if r := found.Partitions[1]; r.Last != (Position{1, lsn - 1}) || r.Base.Epoch != 1 || r.Base.LSN+1 > first {
		t.Errorf("partition 1 recovered as %+v, want entries %d to %d", r, first, lsn-1)
	}
}

func TestWhatIsNotAppliedOrIsPinnedStays(t *testing.T) {
	l, _ := mustOpen(t, Options{Dir: "log", FS: newMemFS(), SegmentBytes: 4 << 10, RetainBytes: 4 << 10})
	lsn := fillLog(t, l, 1, 50)
	if first := l.FirstLSN(1); first != 1 {
		t.Fatalf("the log begins at %d although nothing is applied", first)
	}
	release := l.Pin(1, 20)
	second := l.Pin(1, 30)
	l.Applied(1, lsn-1)
	eventually(t, "entries below the pin are dropped", func() bool { return l.FirstLSN(1) > 10 })
	if first := l.FirstLSN(1); first > 21 {
		t.Errorf("the log begins at %d, pinned above 20", first)
	}
	release()
	release()
	eventually(t, "entries below the second pin are dropped", func() bool { return l.FirstLSN(1) > 21 })
	if first := l.FirstLSN(1); first > 31 {
		t.Errorf("the log begins at %d, pinned above 30", first)
	}
	second()
	eventually(t, "entries are dropped", func() bool { return l.FirstLSN(1) > 31 })
}

func TestOneUnappliedPartitionHoldsOnlyItsSegments(t *testing.T) {
	l, _ := mustOpen(t, Options{Dir: "log", FS: newMemFS(), SegmentBytes: 4 << 10, RetainBytes: 4 << 10})
	lsn := fillLog(t, l, 1, 20)
	mustAppend(t, l, entry(2, 1, 1, "not applied"))
	lsn = fillLog(t, l, lsn, 40)
	l.Applied(1, lsn-1)
	eventually(t, "older segments are dropped", func() bool { return l.FirstLSN(1) > 10 })
	wantContents(t, l, 2, "1.1=not applied")
	if first := l.FirstLSN(1); first > 22 {
		t.Errorf("the log of partition 1 begins at %d, beyond the segment that partition 2 needs", first)
	}
	l.Applied(2, 1)
	eventually(t, "the segments are dropped", func() bool { return l.FirstLSN(1) > 30 && l.FirstLSN(2) == 2 })
}

func TestWhatIsReplacedStaysUntilTheReplacementIsDurable(t *testing.T) {
	fs := newMemFS()
	l, _ := mustOpen(t, Options{Dir: "log", FS: fs, SegmentBytes: 4 << 10, RetainBytes: 1 << 20})
	mustAppend(t, l, entry(2, 1, 1, "in the first segment"))
	fillLog(t, l, 1, 20)
	l.Applied(1, 20)
	retirable := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.retirable(l.segments[0])
	}
	if retirable() {
		t.Fatal("the first segment may go although an entry in it is not applied")
	}
	// In this order: after the reset, no entry 1 can follow.
	for _, by := range []struct {
		name   string
		record Record
	}{
		{"entry", entry(2, 2, 1, "replacement")},
		{"reset", ResetRecord(2, Position{3, 7})},
	} {
		eventually(t, "the next segment is prepared", l.prepared)
		inSync, goOn := fs.holdSync("")
		result := make(chan error, 1)
		if err := begin(l, []Record{by.record}, func(err error) { result <- err }); err != nil {
			t.Fatal(err)
		}
		<-inSync
		if retirable() {
			t.Errorf("%s: the replaced entry may go before the replacement is durable", by.name)
		}
		close(goOn)
		if err := <-result; err != nil {
			t.Fatal(err)
		}
		if !retirable() {
			t.Errorf("%s: the replaced entry stays after the replacement is durable", by.name)
		}
	}
}

func TestManyRestartsLeaveFewSegments(t *testing.T) {
	opts := Options{Dir: "log", FS: newMemFS(), SegmentBytes: 4 << 10, RetainBytes: 8 << 10}
	for i := range uint64(60) {
		l, _ := mustOpen(t, opts)
		mustAppend(t, l, entry(1, 1, i+1, "x"))
		l.Applied(1, i+1)
		eventually(t, "no more is held than is retained", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.held() <= opts.RetainBytes
		})
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(opts.FS.(*memFS).list()); n > 20 {
		t.Errorf("%d files are left", n)
	}
}

func TestSegmentsStayUntilTheNextHeadIsDurable(t *testing.T) {
	fs := newMemFS()
	l, _ := mustOpen(t, Options{Dir: "log", FS: fs, SegmentBytes: 4 << 10, RetainBytes: 1 << 20})
	mustAppend(t, l, entry(1, 1, 1, string(make([]byte, 1900))))
	mustAppend(t, l, StateRecord(1, []byte("kept in the head")))
	l.Applied(1, 1)
	eventually(t, "the next segment is prepared", l.prepared)
	inSync, goOn := fs.holdSync(segmentName("log", 2))
	result := make(chan error, 1)
	if err := begin(l, []Record{entry(1, 1, 2, string(make([]byte, 1900)))}, func(err error) { result <- err }); err != nil {
		t.Fatal(err)
	}
	<-inSync
	retirable := func() bool {
		l.mu.Lock()
		defer l.mu.Unlock()
		return l.retirable(l.segments[0])
	}
	if retirable() {
		t.Error("the first segment may go before the head of the second is durable")
	}
	close(goOn)
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	if !retirable() {
		t.Error("the first segment stays after the head of the second is durable")
	}
}
