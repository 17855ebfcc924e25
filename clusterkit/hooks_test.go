package clusterkit

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

// TestAStopDoesNotLetRaftWaitForHooks stops a node while a hook is running: Raft
// must not be led by a node that does nothing else any more.
func TestAStopDoesNotLetRaftWaitForHooks(t *testing.T) {
	c := newTestCluster(t, Config{PartitionCount: 1})
	release := make(chan struct{})
	c.start(func(ck *ClusterKit) {
		ck.OnPartitionChange(func(string, *Node, *Node) { <-release })
	}, "node-1")
	ck := c.nodes["node-1"]
	stopped := make(chan error, 1)
	go func() { stopped <- ck.Shutdown(t.Context()) }()
	c.eventually("end of Raft and the release of the directory", func() bool {
		dir, err := openDataDir(ck.opts.DataDir, "node-1")
		return err == nil && dir.close() == nil && ck.book.raft.Load().State() == raft.Shutdown
	})
	select {
	case err := <-stopped:
		t.Errorf("did not wait for the hook: %v", err)
	default:
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

func TestHooksAreAddedBeforeTheStart(t *testing.T) {
	c := newTestCluster(t, Config{PartitionCount: 1})
	ck, err := NewClusterKit(c.options("node-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, ck)
	refused := func(what string, add func()) {
		t.Helper()
		defer func() {
			if recover() == nil {
				t.Errorf("%s was taken", what)
			}
		}()
		add()
	}
	refused("no hook", func() { ck.OnPartitionChange(nil) })
	refused("no hook that can fail", func() { ck.HandlePartitionChange(nil) })
	refused("no event handler", func() { ck.OnEvent(nil) })
	if err := ck.Start(); err != nil {
		t.Fatal(err)
	}
	refused("a late hook", func() { ck.OnPartitionChange(func(string, *Node, *Node) {}) })
	refused("a late hook that can fail", func() { ck.HandlePartitionChange(func(context.Context, PartitionChange) error { return nil }) })
	refused("a late event handler", func() { ck.OnEvent(func(Event) {}) })
}

// TestExplicitAcknowledgement copies in the background.
func TestExplicitAcknowledgement(t *testing.T) {
	c := newTestCluster(t, Config{PartitionCount: 1, ReplicationFactor: 2})
	c.edit = func(o *Options) { o.ExplicitAcknowledge = true }
	told := make(chan PartitionChange, 16)
	c.start(nil, "node-1")
	c.start(func(ck *ClusterKit) {
		ck.HandlePartitionChange(func(_ context.Context, change PartitionChange) error {
			if change.CopyTo.ID == "node-2" && change.CopyFrom != nil {
				told <- change
			}
			return nil
		})
	}, "node-2")
	c.ready("node-1", "node-2")
	one, two := c.nodes["node-1"], c.nodes["node-2"]
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	change := <-told
	if got, ok := two.hooks.progress(0, change.Member); !ok || got.Phase == copyQueued {
		t.Errorf("progress of the copy: %+v", got)
	}
	elsewhere, earlier := change, change
	elsewhere.Member.Store = one.StoreID()
	earlier.Member.Incarnation--
	for name, wrong := range map[string]PartitionChange{"on another disk": elsewhere, "assigned earlier": earlier} {
		if err := two.Acknowledge(ctx, wrong); !errors.Is(err, ErrStale) {
			t.Errorf("acknowledgement of a copy %s: %v", name, err)
		}
	}
	if err := one.Acknowledge(ctx, change); !errors.Is(err, ErrStale) {
		t.Errorf("acknowledgement by another node: %v", err)
	}
	if p := one.Map().Partitions[0]; p.IsInSync(change.Member) {
		t.Error("in sync before it was acknowledged")
	}
	c.eventually("word that the copy waits for the application", func() bool {
		moves := two.Moves()
		return len(moves) > 0 && moves[0].Node == "node-2" && moves[0].Waiting == "it is not acknowledged yet"
	})
	for range 2 {
		if err := two.Acknowledge(ctx, change); err != nil {
			t.Errorf("acknowledgement: %v", err)
		}
	}
	c.eventually("copy in sync", func() bool { return two.Map().Partitions[0].IsInSync(change.Member) })
	gone, end := context.WithCancel(ctx)
	end()
	if err := two.Acknowledge(gone, change); err != nil {
		t.Errorf("acknowledgement of what is in sync, with a context that has ended: %v", err)
	}
	c.settled(2)
}

func TestTheReturnIsTheAcknowledgement(t *testing.T) {
	c := newTestCluster(t, Config{PartitionCount: 1})
	c.start(nil, "node-1")
	if err := c.nodes["node-1"].Acknowledge(t.Context(), PartitionChange{}); !errors.Is(err, ErrOptions) {
		t.Errorf("got %v, want an error that names the option", err)
	}
}

// TestAHookMayStopItsNode calls Shutdown inside of a hook: the node stops, all
// but the hook that waits for it.
func TestAHookMayStopItsNode(t *testing.T) {
	c := newTestCluster(t, Config{PartitionCount: 2})
	started, stopped := make(chan struct{}), make(chan error, 2)
	c.start(func(ck *ClusterKit) {
		ck.OnPartitionChange(func(id string, _, _ *Node) {
			if id == "partition-0" {
				<-started // Start fails in a node that is stopped meanwhile
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				defer cancel()
				stopped <- ck.Shutdown(ctx)
			}
		})
	}, "node-1")
	close(started)
	ck := c.nodes["node-1"]
	select {
	case err := <-stopped:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop in a hook returned %v, although that hook was running", err)
		}
	case <-time.After(testWait):
		t.Fatal("a hook that stops its node waits for ever")
	}
	if !errors.Is(ck.Err(), ErrStopped) {
		t.Errorf("the node runs on: %v", ck.Err())
	}
	c.eventually("end of Raft and release of the directory", func() bool {
		dir, err := openDataDir(ck.opts.DataDir, "node-1")
		return err == nil && dir.close() == nil && ck.book.raft.Load().State() == raft.Shutdown
	})
	if err := ck.Stop(); err != nil && !errors.Is(err, ErrDataDir) {
		t.Errorf("stop after the hook has returned: %v", err)
	}
}
