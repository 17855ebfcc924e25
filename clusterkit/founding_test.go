package clusterkit

import (
	"errors"
	"testing"

	"github.com/hashicorp/raft"
)

// TestFounderCrashesBeforeItsFirstEntry ends the founder when Raft has its
// configuration, and the cluster is not in the log yet.
func TestFounderCrashesBeforeItsFirstEntry(t *testing.T) {
	c := newTestCluster(t, Config{})
	founded := c.crashFounder()
	c.start(nil, "node-1", "node-2")
	c.ready("node-1", "node-2")
	for id, ck := range c.nodes {
		if m := ck.Map(); m.ClusterUUID != founded.ClusterUUID || len(m.Partitions) != founded.Config.PartitionCount {
			t.Errorf("%s is in cluster %q with %d partitions, founded were %q and %d", id, m.ClusterUUID, len(m.Partitions), founded.ClusterUUID, founded.Config.PartitionCount)
		}
	}
}

// TestLeaderWithoutAClusterDecidesNothing leads on a log without a cluster
// that this node has not founded.
func TestLeaderWithoutAClusterDecidesNothing(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.crashFounder()
	dir, err := openDataDir(c.options("node-1").DataDir, "node-1")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dir.update(func(id *identity) { id.Founder = false }), dir.close()); err != nil {
		t.Fatal(err)
	}
	c.start(nil, "node-1")
	ck := c.nodes["node-1"]
	r := ck.book.raft.Load()
	c.eventually("leadership", func() bool { return r.State() == raft.Leader })
	if err := ck.controller.leadOnce(t.Context()); !errors.Is(err, ErrNoCluster) {
		t.Errorf("got %v, want %v", err, ErrNoCluster)
	}
	if m := ck.Map(); m != nil {
		t.Errorf("a cluster came from nowhere: %+v", m)
	}
}

func TestBootstrapNeedsAClusterAndPartitions(t *testing.T) {
	for name, c := range map[string]bootstrapCommand{
		"no UUID":       {Config: Config{PartitionCount: 1}},
		"no partitions": {ClusterUUID: "u"},
	} {
		if m, verdict := c.apply(nil, testTerm); m != nil || verdict.Code != codeRefused {
			t.Errorf("%s: got %+v, %+v", name, m, verdict)
		}
	}
}

// crashFounder returns what node-1 had decided when it died.
func (c *testCluster) crashFounder() identity {
	c.t.Helper()
	ck, err := NewClusterKit(c.options("node-1"))
	if err != nil {
		c.t.Fatal(err)
	}
	c.t.Cleanup(func() { _ = ck.Stop() })
	if _, err := ck.start(); err != nil {
		c.t.Fatal(err)
	}
	id := ck.dir.identity()
	ck.abort()
	if ck.Map() != nil {
		c.t.Fatal("the founder has led before it could be ended")
	}
	return id
}
