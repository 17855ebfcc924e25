package wal

import (
	"errors"
	"syscall"
	"testing"
	"testing/synctest"
)

// whileOneIsWritten runs f with a log of which one group is being written, and
// another waits, until goOn is closed; results tells what became of both.
func whileOneIsWritten(t *testing.T, f func(t *testing.T, l *Log, fs *memFS, goOn chan struct{}, results chan error)) {
	synctest.Test(t, func(t *testing.T) {
		fs := newMemFS()
		l, _, err := Open(Options{Dir: "log", FS: fs, SegmentBytes: 16 << 10})
		if err != nil {
			t.Fatal(err)
		}
		mustAppend(t, l, entry(1, 1, 1, "first"))
		synctest.Wait() // the next segment is prepared
		inSync, goOn := fs.holdSync("")
		results := make(chan error, 2)
		go func() { results <- l.Append([]Record{entry(2, 1, 1, "being written")}) }()
		<-inSync
		go func() { results <- l.Append([]Record{entry(3, 1, 1, "waits")}) }()
		synctest.Wait()
		f(t, l, fs, goOn, results)
	})
}

// Nobody comes anew: one of those who wait has to write the next group.
func TestOneOfThoseWhoWaitWritesTheNextGroup(t *testing.T) {
	whileOneIsWritten(t, func(t *testing.T, l *Log, _ *memFS, goOn chan struct{}, results chan error) {
		for i := range uint32(8) {
			go func() { results <- l.Append([]Record{entry(4+i, 1, 1, "waits as well")}) }()
		}
		synctest.Wait()
		close(goOn)
		for range 10 {
			if err := <-results; err != nil {
				t.Error(err)
			}
		}
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
}

// closeWhileWritten closes the log, and only then lets the group that is being
// written go on.
func closeWhileWritten(t *testing.T, l *Log, goOn chan struct{}) error {
	t.Helper()
	closed := make(chan error, 1)
	go func() { closed <- l.Close() }()
	synctest.Wait()
	if len(closed) > 0 {
		t.Error("Close returned while a group was being written")
	}
	close(goOn)
	return <-closed
}

func TestCloseWaitsForWhatWasAppended(t *testing.T) {
	whileOneIsWritten(t, func(t *testing.T, l *Log, fs *memFS, goOn chan struct{}, _ chan error) {
		if err := closeWhileWritten(t, l, goOn); err != nil {
			t.Error(err)
		}
		after, found, err := Open(Options{Dir: "log", FS: fs.crash(nil)})
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = after.Close() }()
		if len(found.Partitions) != 3 {
			t.Errorf("%d partitions are on disk, want 3", len(found.Partitions))
		}
	})
}

func TestCloseOfALogThatFailsDuringAWrite(t *testing.T) {
	whileOneIsWritten(t, func(t *testing.T, l *Log, _ *memFS, goOn chan struct{}, results chan error) {
		l.mu.Lock()
		l.fail("prepare a segment", syscall.EIO)
		l.mu.Unlock()
		closed := closeWhileWritten(t, l, goOn)
		for _, err := range []error{closed, <-results, <-results} {
			if !errors.Is(err, ErrFailed) {
				t.Errorf("it ended with %v, want ErrFailed", err)
			}
		}
	})
}

// A group that has been written serves anew. Who waited for it before does not
// wait for what it holds now.
func TestAGroupServesAnew(t *testing.T) {
	l, _ := mustOpen(t, Options{Dir: "log", FS: newMemFS()})
	mustAppend(t, l, entry(1, 1, 1, "a"))
	l.mu.Lock()
	defer l.mu.Unlock()
	gather := func(r Record) *group {
		g, err := l.gather([]Record{r})
		if err != nil {
			t.Fatal(err)
		}
		return g
	}
	g := gather(entry(1, 1, 2, "b"))
	seq := g.seq
	l.writeOldest()
	if gather(entry(1, 1, 3, "c")) != g {
		t.Fatal("the group does not serve anew")
	}
	if err := l.commit(g, seq); err != nil {
		t.Error(err)
	}
	if l.written != seq {
		t.Errorf("group %d was written, want none after %d", l.written, seq)
	}
	if err := l.commit(g, g.seq); err != nil {
		t.Error(err)
	}
}
