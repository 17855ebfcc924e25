package clusterkit

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/internal/freeport"
)

// testWait bounds every wait for a condition; no test waits for it to pass.
const testWait = 30 * time.Second

// testCluster is a cluster of real nodes over loopback TCP. Its tests wait for
// elections and leases most of the time, so those that take long run in parallel.
type testCluster struct {
	t      *testing.T
	dir    string
	config Config
	edit   func(*Options)
	// http and raft have the addresses of each node; they stay the same over
	// restarts.
	http, raft map[string]string
	nodes      map[string]*ClusterKit
}

func newTestCluster(t *testing.T, config Config) *testCluster {
	t.Helper()
	return &testCluster{
		t: t, dir: t.TempDir(), config: config,
		http: make(map[string]string), raft: make(map[string]string), nodes: make(map[string]*ClusterKit),
	}
}

// options returns those of a node; node-1 bootstraps, the others join it.
func (c *testCluster) options(id string) Options {
	c.t.Helper()
	if c.http[id] == "" {
		c.http[id], c.raft[id] = freeport.Addr(c.t), freeport.Addr(c.t)
	}
	config := c.config
	o := Options{
		NodeID:   id,
		HTTPAddr: c.http[id],
		RaftAddr: c.raft[id],
		DataDir:  filepath.Join(c.dir, id),
		Config:   &config,
		Logger:   testLogger(c.t),
	}
	if id == "node-1" {
		o.Bootstrap = true
	} else {
		if c.http["node-1"] == "" {
			c.options("node-1")
		}
		o.JoinAddr = c.http["node-1"]
	}
	if c.edit != nil {
		c.edit(&o)
	}
	return o
}

// start starts nodes without waiting for them to be ready. prepare is called
// before Start.
func (c *testCluster) start(prepare func(*ClusterKit), ids ...string) {
	c.t.Helper()
	for _, id := range ids {
		ck, err := NewClusterKit(c.options(id))
		if err != nil {
			c.t.Fatal(err)
		}
		c.t.Cleanup(func() { _ = ck.Stop() })
		if prepare != nil {
			prepare(ck)
		}
		if err := ck.Start(); err != nil {
			c.t.Fatal(err)
		}
		c.nodes[id] = ck
	}
}

// withoutProbation has a node, when it leads, make voters of the others soon.
func withoutProbation(ck *ClusterKit) { ck.controller.patience.probation = 200 * time.Millisecond }

func (c *testCluster) ready(ids ...string) {
	c.t.Helper()
	ctx, cancel := context.WithTimeout(c.t.Context(), testWait)
	defer cancel()
	for _, id := range ids {
		if err := c.nodes[id].Ready(ctx); err != nil {
			c.t.Fatalf("%s is not ready: %v", id, err)
		}
	}
}

// kill ends a node as kill -9 would: nobody is told.
func (c *testCluster) kill(id string) {
	c.t.Helper()
	if err := c.nodes[id].Abort(c.t.Context()); err != nil {
		c.t.Fatalf("kill %s: %v", id, err)
	}
	delete(c.nodes, id)
}

func (c *testCluster) stop(id string) {
	c.t.Helper()
	if err := c.nodes[id].Stop(); err != nil {
		c.t.Fatalf("stop %s: %v", id, err)
	}
	delete(c.nodes, id)
}

// leader returns the node that leads the control plane.
func (c *testCluster) leader() string {
	c.t.Helper()
	leader := ""
	c.eventually("a leader", func() bool {
		for id, ck := range c.nodes {
			if ck.controller.keeper.Load() != nil {
				leader = id
				return true
			}
		}
		return false
	})
	return leader
}

// settled waits until the copies of every partition are where they should be,
// with so many of them in sync, in the eyes of all nodes.
func (c *testCluster) settled(copies int) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%d settled copies of each partition", copies), func() bool {
		for _, ck := range c.nodes {
			m := ck.Map()
			if m == nil {
				return false
			}
			for i := range m.Partitions {
				p := &m.Partitions[i]
				if n := m.Node(p.Primary); !p.settled(m) || len(p.InSync) != copies || n == nil || !n.Alive {
					return false
				}
			}
		}
		return true
	})
}

// electorate waits until so many nodes vote in Raft, in the eyes of each, since
// one that does not know yet that it votes would not stand for election: from
// then on a minority of them may be lost.
func (c *testCluster) electorate(voters int) {
	c.t.Helper()
	c.eventually(fmt.Sprintf("%d voters", voters), func() bool {
		for _, ck := range c.nodes {
			if len(votersOf(ck)) != voters {
				return false
			}
		}
		return true
	})
}

// stop fails the test of a node that does not stop.
func stop(t *testing.T, ck *ClusterKit) {
	t.Helper()
	if err := ck.Stop(); err != nil {
		t.Errorf("%s: stop: %v", ck.GetMyNodeID(), err)
	}
}

// singlePrimaries looks at all nodes at once, until the returned function is
// called, for two that are the primary of one partition at the same moment.
func (c *testCluster) singlePrimaries() (stop func()) {
	nodes := slices.Collect(maps.Values(c.nodes))
	done, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		for {
			select {
			case <-done:
				return
			case <-time.After(time.Millisecond):
			}
			for _, a := range nodes {
				for i := range a.Map().Partitions {
					c.checkSinglePrimary(a, nodes, i)
				}
			}
		}
	}()
	return func() {
		close(done)
		<-ended
	}
}

// checkSinglePrimary fails if a is the primary before and after another is, in
// one epoch.
func (c *testCluster) checkSinglePrimary(a *ClusterKit, nodes []*ClusterKit, i int) {
	p := &a.Map().Partitions[i]
	if !a.IsPrimary(p) {
		return
	}
	for _, b := range nodes {
		if b != a && b.IsPrimary(p) && a.IsPrimary(p) && a.Map().Partitions[i].Epoch == p.Epoch {
			c.t.Errorf("%s and %s are both the primary of %s", a.GetMyNodeID(), b.GetMyNodeID(), p.ID)
		}
	}
}

func (c *testCluster) eventually(what string, condition func() bool) {
	c.t.Helper()
	eventually(c.t, what, condition)
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(testWait)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within %s", what, testWait)
		}
		select {
		case <-t.Context().Done():
			t.Fatalf("no %s: the test is over", what)
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func testLogger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelInfo}))
}
