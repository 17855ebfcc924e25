package kvstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/wal"
)

// disk is the file system of a node, which can fill up, and fail under its log.
type disk struct {
	wal.FS

	mu    sync.Mutex
	fault map[string]error // by operation, "write" or "sync"
	left  uint64           // at most, unless 0
}

func (d *disk) fail(op string, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault = map[string]error{op: err}
}

func (d *disk) setFull(full bool) {
	if full {
		d.leave(1 << 20)
	} else {
		d.leave(0)
	}
}

// leave has the disk say that so many bytes are free, or with 0 how many are.
func (d *disk) leave(bytes uint64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.left = bytes
}

func (d *disk) check(op string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fault[op]
}

// broken returns the error that the disk has begun to fail with.
func (d *disk) broken() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, err := range d.fault {
		return err
	}
	return nil
}

func (d *disk) Free(dir string) (uint64, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.left > 0 {
		return d.left, nil
	}
	return d.FS.Free(dir)
}

func (d *disk) Open(name string, create bool) (wal.File, error) {
	f, err := d.FS.Open(name, create)
	if err != nil {
		return nil, err
	}
	return &diskFile{f, d}, nil
}

type diskFile struct {
	wal.File
	disk *disk
}

func (f *diskFile) WriteAt(p []byte, off int64) (int, error) {
	if err := f.disk.check("write"); err != nil {
		return 0, err
	}
	return f.File.WriteAt(p, off)
}

func (f *diskFile) Sync() error {
	if err := f.disk.check("sync"); err != nil {
		return err
	}
	return f.File.Sync()
}

func (f *diskFile) WriteSync(p []byte, off int64) error {
	if err := errors.Join(f.disk.check("write"), f.disk.check("sync")); err != nil {
		return err
	}
	return f.File.WriteSync(p, off)
}

// A disk that fails under a primary stops its node, with the reason; what
// waits is of unknown outcome, and the others go on.
func TestFailedDiskStopsTheNode(t *testing.T) {
	for op, cause := range map[string]error{"write": syscall.ENOSPC, "sync": syscall.EIO} {
		t.Run(op+" "+cause.Error(), func(t *testing.T) {
			c := newControl(1, "a", "b", "c")
			nodes := startAll(t, c, "a", "b", "c")
			a := nodes["a"]
			a.set("key", "old")
			a.disk.fail(op, cause)

			began := time.Now()
			_, err := a.router.Set(t.Context(), kvstore.Request{Key: []byte("key")}, []byte("new"))
			if !errors.Is(err, api.ErrOutcomeUnknown) {
				t.Errorf("the write was answered with %v, want that its outcome is unknown", err)
			}
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("it was answered after %v", took)
			}
			select {
			case <-a.node.Failed():
			case <-time.After(patience):
				t.Fatal("the node goes on")
			}
			why := a.node.Failure()
			if !errors.Is(why, wal.ErrFailed) || !errors.Is(why, cause) || !strings.Contains(why.Error(), ".wal") {
				t.Errorf("the last word is %v, want the file and the cause", why)
			}
			_, err = a.router.Set(t.Context(), kvstore.Request{Key: []byte("key")}, []byte("newer"))
			if e := (*api.Error)(nil); !errors.As(err, &e) || e.Code != api.CodeUnavailable {
				t.Errorf("a write after the failure: %v, want unavailable", err)
			}
			c.depose("a")
			nodes["b"].set("other", "value")
			if got, err := nodes["b"].request(t.Context(), http.MethodGet, "key", ""); err != nil || got != "old" && got != "new" {
				t.Errorf("the key is %q, %v", got, err)
			}
		})
	}
}

// fillLog writes through p, more than the segments hold that a log has ready,
// until done.
func fillLog(t *testing.T, p *process, done func(error) bool) {
	t.Helper()
	value := make([]byte, api.MaxValueBytes)
	for i := range 60 {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		_, err := p.router.Set(ctx, kvstore.Request{Key: fmt.Append(nil, "filler ", i%4)}, value)
		cancel()
		if done(err) {
			return
		}
	}
	t.Fatal("the disk is full and takes everything")
}

// A primary without disk space refuses writes and answers reads, until there
// is space again.
func TestPrimaryWithAFullDisk(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	a := nodes["a"]
	a.set("key", "value")
	a.disk.setFull(true)
	fillLog(t, a, func(err error) bool {
		if err != nil && !errors.Is(err, api.ErrOutcomeUnknown) {
			t.Errorf("the write that was begun: %v, want that its outcome is unknown", err)
		}
		return err != nil
	})
	_, err := a.router.Set(t.Context(), kvstore.Request{Key: []byte("key")}, []byte("refused"))
	if e := (*api.Error)(nil); !errors.As(err, &e) || e.Code != api.CodeUnavailable || !strings.Contains(e.Message, "disk") {
		t.Errorf("a write to the full disk: %v, want unavailable because of the disk", err)
	}
	nodes["b"].want("key", "value")
	a.disk.setFull(false)
	eventually(t, "writes are taken again", func() bool {
		_, err := a.request(t.Context(), http.MethodPut, "key", "after")
		return err == nil
	})
	nodes["c"].want("key", "after")
	if err := a.node.Failure(); err != nil {
		t.Errorf("the node has failed: %v", err)
	}
}

// A replica without disk space leaves the in-sync set, and returns when there
// is space.
func TestReplicaWithAFullDisk(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["a"].set("key", "1")
	nodes["b"].disk.setFull(true)
	fillLog(t, nodes["a"], func(err error) bool {
		if err != nil {
			t.Errorf("a write while a replica's disk is full: %v", err)
		}
		m, _ := c.current()
		return len(m.Partitions[0].InSync) == 2
	})
	nodes["a"].set("key", "2")
	nodes["b"].disk.setFull(false)
	c.waitInSync(t, 3)
	c.elect("b")
	nodes["b"].want("key", "2")
}

// eventually polls a condition that another goroutine will make true.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.After(patience)
	poll := time.NewTicker(10 * time.Millisecond)
	defer poll.Stop()
	for !condition() {
		select {
		case <-poll.C:
		case <-deadline:
			t.Fatalf("never: %s", what)
		}
	}
}
