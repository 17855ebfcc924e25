package wal

import (
	"errors"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"
	"time"
)

// eventually polls a condition that another goroutine will make true.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
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

func TestWriteErrorIsFailStop(t *testing.T) {
	for _, op := range []string{"write", "sync"} {
		for _, cause := range []error{syscall.EIO, syscall.ENOSPC} {
			t.Run(op+" "+cause.Error(), func(t *testing.T) {
				fs := newMemFS()
				l, _ := mustOpen(t, Options{Dir: "log", FS: fs})
				mustAppend(t, l, entry(1, 1, 1, "acknowledged"))
				eventually(t, "the next segment is prepared", l.prepared)
				fs.setFault(func(got, _ string) error {
					if got == op {
						return cause
					}
					return nil
				})
				const pending = 5
				results := make(chan error, pending)
				appended := 0
				for i := range uint64(pending) {
					err := begin(l, []Record{entry(1, 1, i+2, "lost")}, func(err error) { results <- err })
					if err == nil {
						appended++
					} else if !errors.Is(err, ErrFailed) {
						t.Errorf("Append = %v, want ErrFailed", err)
					}
				}
				for range appended {
					if err := <-results; !errors.Is(err, ErrFailed) || !errors.Is(err, cause) {
						t.Errorf("Append ended with %v, want ErrFailed because of %v", err, cause)
					}
				}
				fs.setFault(nil)
				if err := l.Append([]Record{StateRecord(1, nil)}); !errors.Is(err, ErrFailed) {
					t.Errorf("Append after the failure = %v, want ErrFailed", err)
				}
				if _, err := l.Read(1, 1, 1); !errors.Is(err, ErrFailed) {
					t.Errorf("Read after the failure = %v, want ErrFailed", err)
				}
				if err := l.Close(); !errors.Is(err, ErrFailed) {
					t.Errorf("Close = %v, want ErrFailed", err)
				}
				l, _ = mustOpen(t, Options{Dir: "log", FS: fs.crash(nil)})
				wantContents(t, l, 1, "1.1=acknowledged")
			})
		}
	}
}

func TestFailureToPrepareASegmentIsFailStop(t *testing.T) {
	for _, op := range []string{"create", "write", "sync", "syncdir"} {
		t.Run(op, func(t *testing.T) {
			fs := newMemFS()
			l, _ := mustOpen(t, Options{Dir: "log", FS: fs, SegmentBytes: 4 << 10})
			mustAppend(t, l, entry(1, 1, 1, "a"))
			eventually(t, "the next segment is prepared", l.prepared)
			fs.setFault(func(got, name string) error {
				third := strings.HasSuffix(name, "00000003"+segmentSuffix)
				if got == op && (third || op == "syncdir") {
					return syscall.EIO
				}
				return nil
			})
			lsn := uint64(2)
			eventually(t, "the log fails", func() bool {
				err := l.Append([]Record{entry(1, 1, lsn, string(make([]byte, 500)))})
				lsn++
				return errors.Is(err, ErrFailed) && errors.Is(err, syscall.EIO)
			})
		})
	}
}

// prepared reports whether the segment after the current one is ready.
func (l *Log) prepared() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.next != nil
}

func TestFullDiskIsRefusedCleanly(t *testing.T) {
	for name, fill := range map[string]func(*memFS, bool){
		"below the reserve": func(fs *memFS, full bool) {
			fs.setFree(1 << 40)
			if full {
				fs.setFree(1 << 20)
			}
		},
		"no space for the next segment": func(fs *memFS, full bool) {
			fs.setFault(func(op, name string) error {
				if full && op == "write" && strings.HasSuffix(name, "00000003"+segmentSuffix) {
					return syscall.ENOSPC
				}
				return nil
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			fs := newMemFS()
			l, _ := mustOpen(t, Options{Dir: "log", FS: fs, SegmentBytes: 4 << 10})
			mustAppend(t, l, entry(1, 1, 1, "a"))
			eventually(t, "the next segment is prepared", l.prepared)
			fill(fs, true)
			lsn := uint64(2)
			var err error
			eventually(t, "an entry is refused", func() bool {
				if err = l.Append([]Record{entry(1, 1, lsn, string(make([]byte, 500)))}); err == nil {
					lsn++
				}
				return err != nil
			})
			if !errors.Is(err, ErrNoSpace) || errors.Is(err, ErrFailed) {
				t.Fatalf("Append = %v, want ErrNoSpace", err)
			}
			mustAppend(t, l, StateRecord(1, []byte("a promise still fits")))
			if held := len(contents(t, l, 1)); uint64(held) != lsn-1 {
				t.Errorf("the log holds %d entries, want the %d acknowledged", held, lsn-1)
			}
			fill(fs, false)
			eventually(t, "entries are taken again", func() bool {
				return l.Append([]Record{entry(1, 1, lsn, "b")}) == nil
			})
		})
	}
}

// TestAcknowledgedRecordsSurviveCrashes crashes the file system at every
// change it makes, under each of which a log must open that holds every
// acknowledged entry and no other than the appended ones, in order.
func TestAcknowledgedRecordsSurviveCrashes(t *testing.T) {
	for seed := range uint64(30) {
		rng := rand.New(rand.NewPCG(seed, 0))
		fs := newMemFS()
		opts := Options{Dir: "log", FS: fs, SegmentBytes: 4 << 10, RetainBytes: 8 << 10}
		type crashed struct {
			fs           *memFS
			acked, known uint64
		}
		var crashes []crashed
		var acked, known uint64
		changes := 0
		fs.setFault(func(string, string) error {
			if changes++; rng.IntN(4) == 0 {
				crashes = append(crashes, crashed{fs.crashNow(rng), acked, known})
			}
			return nil
		})
		l, _ := mustOpen(t, opts)
		for range 40 {
			fs.mu.Lock()
			known++
			lsn, size := known, rng.IntN(700)
			fs.mu.Unlock()
			mustAppend(t, l, entry(1, 1, lsn, string(make([]byte, size))))
			fs.mu.Lock()
			acked = lsn
			fs.mu.Unlock()
			if lsn > 10 {
				l.Applied(1, lsn-10)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
		if len(crashes) < 5 {
			t.Fatalf("only %d crashes in %d changes", len(crashes), changes)
		}
		for i, c := range crashes {
			opts.FS = c.fs
			l, found, err := Open(opts)
			if err != nil {
				t.Fatalf("seed %d, crash %d: Open: %v", seed, i, err)
			}
			last := found.Partitions[1].Last.LSN
			if last < c.acked || last > c.known {
				t.Errorf("seed %d, crash %d: the log ends at %d, acknowledged %d, appended %d", seed, i, last, c.acked, c.known)
			}
			if first := l.FirstLSN(1); first > 1 && first > c.acked-9 {
				t.Errorf("seed %d, crash %d: the log begins at %d, applied is %d", seed, i, first, c.acked-10)
			}
			if got := contents(t, l, 1); uint64(len(got)) != last-l.FirstLSN(1)+1 {
				t.Errorf("seed %d, crash %d: %d entries can be read", seed, i, len(got))
			}
			if err := l.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}
