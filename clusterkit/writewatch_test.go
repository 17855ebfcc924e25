package clusterkit

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
	"go.etcd.io/bbolt"
)

func TestWriteWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &writeWatch{}
		logs, stable := watchedLogs{raft.NewInmemStore(), w}, watchedStable{raft.NewInmemStore(), w}
		if err := errors.Join(
			logs.StoreLog(&raft.Log{Index: 1}), logs.StoreLogs([]*raft.Log{{Index: 2}}), logs.DeleteRange(1, 1),
			stable.Set([]byte("vote"), []byte("n1")), stable.SetUint64([]byte("term"), 7),
		); err != nil {
			t.Fatal(err)
		}
		if last, err := logs.LastIndex(); last != 2 || err != nil {
			t.Errorf("the last index is %d: %v", last, err)
		}
		sleep(t.Context(), time.Hour)
		if w.stalled() {
			t.Error("stalled although nothing is being written")
		}
		release := make(chan struct{})
		failure := errors.New("disk failure")
		ended := make(chan error)
		go func() {
			ended <- w.during(func() error {
				<-release
				return failure
			})
		}()
		sleep(t.Context(), stalledAfter)
		if w.stalled() {
			t.Error("stalled too early")
		}
		sleep(t.Context(), 1)
		if !w.stalled() {
			t.Error("a write that does not end was not noticed")
		}
		close(release)
		if err := <-ended; !errors.Is(err, failure) {
			t.Errorf("the write returned %v", err)
		}
		if w.stalled() {
			t.Error("stalled after the write")
		}
	})
}

// hangDisk makes every write of the node's Raft wait until the returned function
// is called.
func hangDisk(t *testing.T, ck *ClusterKit) (release func()) {
	t.Helper()
	db := (*bbolt.DB)(reflect.ValueOf(ck.store.bolt).Elem().FieldByName("conn").UnsafePointer())
	tx, err := db.Begin(true)
	if err != nil {
		t.Fatal(err)
	}
	return func() {
		if err := tx.Rollback(); err != nil {
			t.Error(err)
		}
	}
}

func TestALeaderWhoseDiskHangsIsReplaced(t *testing.T) {
	c := startThree(t, managed)
	hung := c.leader()
	ck := c.nodes[hung]
	release := hangDisk(t, ck)
	defer func() { release() }()
	delete(c.nodes, hung)
	c.leader()
	c.servedWithout(hung)
	if ck.HoldsLease() {
		t.Errorf("%s holds its lease although others took over", hung)
	}
	release()
	release = func() {}
	c.nodes[hung] = ck
	c.eventually("old leader to step down", func() bool { return ck.book.raft.Load().State() == raft.Follower })
	c.eventually("return of the old leader", ck.HoldsLease)
}

func TestShutdownDoesNotWaitForADiskThatHangs(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.start(nil, "node-1")
	c.ready("node-1")
	ck := c.nodes["node-1"]
	release := hangDisk(t, ck)
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	err := ck.Shutdown(ctx)
	if !errors.Is(err, ErrDataDir) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shut down with a disk that hangs: %v", err)
	}
	if dir, err := openDataDir(ck.opts.DataDir, "node-1"); err == nil {
		t.Errorf("the directory was released although it is being written to: %v", dir.close())
	}
	release()
	c.eventually("release of the directory", func() bool {
		dir, err := openDataDir(ck.opts.DataDir, "node-1")
		return err == nil && dir.close() == nil
	})
}
