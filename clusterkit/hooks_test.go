package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
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

// TestSeedScenarioNodeDies is the first scenario of "When Hooks Fire": of four
// nodes with three copies, one dies.
func TestSeedScenarioNodeDies(t *testing.T) {
	c := newTestCluster(t, Config{})
	four := []string{"node-1", "node-2", "node-3", "node-4"}
	logs := make(map[string]*hookLog)
	for _, id := range four {
		logs[id] = &hookLog{}
		c.start(func(ck *ClusterKit) { ck.OnPartitionChange(logs[id].hook) }, id)
	}
	c.ready(four...)
	c.settled(3)
	before := c.nodes["node-2"].Map()
	seen := len(logs["node-2"].all())
	c.kill("node-1")
	c.eventually("return to three live copies", func() bool {
		for _, ck := range c.nodes {
			m := ck.Map()
			for i := range m.Partitions {
				p := &m.Partitions[i]
				if _, stays := p.MemberOf("node-1"); stays || len(p.InSync) != 3 {
					return false
				}
			}
		}
		return true
	})
	after := c.nodes["node-2"].Map()
	calls := logs["node-2"].all()[seen:]
	for i := range after.Partitions {
		was, is := &before.Partitions[i], &after.Partitions[i]
		if _, had := was.MemberOf("node-1"); !had {
			continue
		}
		for _, member := range is.Members {
			if _, had := was.MemberOf(member.Node); had {
				continue
			}
			fired := slices.ContainsFunc(was.InSync, func(source Member) bool {
				return source.Node != "node-1" && slices.Contains(calls, fmt.Sprintf("%s: %s from %s", is.ID, member.Node, source.Node))
			})
			if !fired {
				t.Errorf("no hook for the copy of %s on %s: %q", is.ID, member.Node, calls)
			}
		}
	}
	// The others saw the same.
	c.eventually("calls on the other nodes", func() bool {
		for _, call := range calls {
			if !slices.Contains(logs["node-3"].all(), call) || !slices.Contains(logs["node-4"].all(), call) {
				return false
			}
		}
		return true
	})
}

// TestSeedScenarioNodeJoins is the second: a fourth node joins three, and the
// copies that move to it are made before anything points at it.
func TestSeedScenarioNodeJoins(t *testing.T) {
	c := startThree(t, nil)
	var log hookLog
	release := make(chan struct{})
	var early atomic.Bool
	c.start(func(ck *ClusterKit) {
		ck.OnPartitionChange(func(partition string, from, to *Node) {
			if to.ID != "node-4" {
				return
			}
			<-release
			for _, p := range ck.Map().Partitions {
				if p.ID == partition && p.Primary == "node-4" {
					early.Store(true)
				}
			}
			log.hook(partition, from, to)
		})
	}, "node-4")
	c.ready("node-4")
	defer c.singlePrimaries()()
	c.eventually("learner on node-4", func() bool {
		return slices.ContainsFunc(c.partitions(), func(p Partition) bool { _, ok := p.MemberOf("node-4"); return ok })
	})
	for _, p := range c.partitions() {
		if member, ok := p.MemberOf("node-4"); ok && p.IsInSync(member) {
			t.Errorf("%s counts a copy that was not made", p.ID)
		}
	}
	close(release)
	c.settled(3)
	if early.Load() {
		t.Error("node-4 was a primary before it had the data")
	}
	copies := 0
	for _, p := range c.partitions() {
		if _, ok := p.MemberOf("node-4"); ok {
			copies++
			if !slices.ContainsFunc(log.all(), func(call string) bool { return len(call) > len(p.ID) && call[:len(p.ID)+1] == p.ID+":" }) {
				t.Errorf("%s moved to node-4 without a hook", p.ID)
			}
		}
	}
	if copies != 12 {
		t.Errorf("node-4 has %d of 48 copies on 4 nodes", copies)
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

// TestHooksCallBack has fifty hooks in two forms that call everything there is,
// at once, while the map changes under them.
func TestHooksCallBack(t *testing.T) {
	const partitions = 50
	c := newTestCluster(t, Config{PartitionCount: partitions, ReplicationFactor: 2})
	var mu sync.Mutex
	running := make(map[string]bool)
	together := make(chan struct{})
	callAll := func(ck *ClusterKit, ctx context.Context, id string) {
		mu.Lock()
		if !running[id] {
			if running[id] = true; len(running) == partitions {
				close(together)
			}
		}
		mu.Unlock()
		<-together // the first assignment, of all partitions
		p, err := ck.GetPartition(id)
		if err != nil {
			t.Error(err)
			return
		}
		_, _, _, _, _ = ck.GetPrimary(p), ck.GetReplicas(p), ck.GetNodes(p), ck.IsPrimary(p), ck.IsReplica(p)
		_, _, _, _, _, _ = ck.Map(), ck.Self(), ck.StoreID(), ck.HoldsLease(), ck.Err(), ck.Returning()
		if err := ck.Ready(ctx); err != nil {
			t.Error(err)
		}
		watch, cancel := context.WithCancel(ctx)
		if m := <-ck.Watch(watch); m == nil {
			t.Error("nothing to watch")
		}
		cancel()
		if err := ck.ProposeInSync(ctx, InSyncChange{Partition: p.Index}); !errors.Is(err, ErrStale) {
			t.Errorf("proposal: %v", err)
		}
		if err := ck.Transfer(ctx, TransferRequest{Partition: p.Index}); !errors.Is(err, ErrStale) {
			t.Errorf("transfer: %v", err)
		}
		ck.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/health/detailed", nil))
		if err := ck.Start(); err == nil {
			t.Error("started twice")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	c.start(func(ck *ClusterKit) {
		ck.OnPartitionChange(func(id string, _, _ *Node) { callAll(ck, ctx, id) })
	}, "node-1")
	c.start(func(ck *ClusterKit) {
		ck.HandlePartitionChange(func(ctx context.Context, change PartitionChange) error {
			if change.CopyTo.ID == "node-2" {
				callAll(ck, ctx, change.PartitionID)
			}
			return nil
		})
	}, "node-2")
	c.ready("node-1", "node-2")
	c.settled(2)
}

// TestAHookMayStopItsNode calls Shutdown inside of a hook: the node stops, all
// but the hook that waits for it.
func TestAHookMayStopItsNode(t *testing.T) {
	c := newTestCluster(t, Config{PartitionCount: 2})
	stopped := make(chan error, 2)
	c.start(func(ck *ClusterKit) {
		ck.OnPartitionChange(func(id string, _, _ *Node) {
			if id == "partition-0" {
				ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
				defer cancel()
				stopped <- ck.Shutdown(ctx)
			}
		})
	}, "node-1")
	ck := c.nodes["node-1"]
	select {
	case err := <-stopped:
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stop in a hook returned %v, although that hook was running", err)
		}
	case <-time.After(testWait):
		t.Fatal("a hook that stops its node waits for ever")
	}
	if !errors.Is(ck.Err(), ErrStopped) || ck.book.raft.Load().State() != raft.Shutdown {
		t.Errorf("the node runs on: %v", ck.Err())
	}
	dir, err := openDataDir(ck.opts.DataDir, "node-1")
	if err != nil {
		t.Fatalf("the directory is not free: %v", err)
	}
	if err := dir.close(); err != nil {
		t.Error(err)
	}
}
