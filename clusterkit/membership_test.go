package clusterkit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hashicorp/raft"
)

// startFour returns a settled cluster of four nodes with three copies of each
// partition.
func startFour(t *testing.T) *testCluster {
	t.Helper()
	c := newTestCluster(t, Config{})
	ids := append(slices.Clone(three), "node-4")
	c.start(withoutProbation, ids...)
	c.ready(ids...)
	c.settled(3)
	c.electorate(4)
	return c
}

// voters returns those of Raft's configuration that the leader knows.
func (c *testCluster) voters() []string { return votersOf(c.nodes[c.leader()]) }

func votersOf(ck *ClusterKit) []string {
	var ids []string
	for _, s := range ck.book.raft.Load().GetConfiguration().Configuration().Servers {
		if s.Suffrage == raft.Voter {
			ids = append(ids, string(s.ID))
		}
	}
	return ids
}

func (c *testCluster) without(id string) *ClusterKit {
	for other, ck := range c.nodes {
		if other != id {
			return ck
		}
	}
	return nil
}

func TestDecommissionEmptiesAndRemovesANode(t *testing.T) {
	t.Parallel()
	c := startFour(t)
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	leader := c.leader()
	victim := "node-4"
	if leader == victim {
		victim = "node-3"
	}
	via := c.without(victim)
	if err := via.Remove(ctx, victim); !errors.Is(err, ErrRefused) {
		t.Fatalf("a node with copies was removed: %v", err)
	}
	if err := via.Decommission(ctx, victim); err != nil {
		t.Fatal(err)
	}
	gone := c.nodes[victim]
	was := gone.Self().RaftID
	select {
	case <-gone.Done():
	case <-ctx.Done():
		t.Fatal("the removed node was not told")
	}
	if err := gone.Err(); !errors.Is(err, ErrJoinRefused) || !errors.Is(err, ErrLeft) {
		t.Errorf("the removed node ended with %v", err)
	}
	c.stop(victim)
	c.settled(3)
	c.eventually("removal of the voter", func() bool { return len(c.voters()) == 3 })
	if err := via.Decommission(ctx, c.leader()); !errors.Is(err, ErrRefused) {
		t.Errorf("three nodes are decommissioned to two: %v", err)
	}

	// Another node joins under the ID. What was ordered of the first is over.
	if err := os.RemoveAll(filepath.Join(c.dir, victim)); err != nil {
		t.Fatal(err)
	}
	c.start(nil, victim)
	c.ready(victim)
	c.settled(3)
	for order, do := range map[string]func(context.Context, string) error{
		"decommission": via.Decommission, "drain": via.Drain, "remove": via.Remove,
	} {
		if err := do(ctx, was); err != nil && (order != "drain" || !errors.Is(err, ErrStale)) {
			t.Errorf("a late %s: %v", order, err)
		} else if err == nil && order == "drain" {
			t.Error("a node that is gone was drained")
		}
	}
	if n := via.Map().Node(victim); n == nil || n.Draining {
		t.Errorf("a late order hit %+v", n)
	}
	if err := via.Drain(ctx, victim); err != nil {
		t.Fatal(err)
	}
	c.eventually("drain of the new node", func() bool { return via.Map().Node(victim).Draining })
}

func TestTheLeaderLeaves(t *testing.T) {
	t.Parallel()
	c := startFour(t)
	ctx, cancel := context.WithTimeout(t.Context(), testWait)
	defer cancel()
	leader := c.leader()
	if err := c.nodes[leader].Leave(ctx); err != nil {
		t.Fatal(err)
	}
	delete(c.nodes, leader)
	c.settled(3)
	c.eventually("removal of the voter", func() bool { return len(c.voters()) == 3 })
	c.eventually("removal from the map", func() bool { return c.without(leader).Map().Node(leader) == nil })
}

func TestMetadataAndServicesReachEveryNode(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.edit = func(o *Options) { o.Services = map[string]string{"grpc": ":9090"} }
	c.start(nil, three...)
	c.ready(three...)
	if err := c.nodes["node-3"].SetMetadata(t.Context(), "schema", "2"); err != nil {
		t.Fatal(err)
	}
	c.eventually("metadata", func() bool {
		for _, ck := range c.nodes {
			m := ck.Map()
			if m.Metadata["schema"] != "2" || m.Node("node-2").Services["grpc"] != "127.0.0.1:9090" {
				return false
			}
		}
		return true
	})
	if err := c.nodes["node-2"].DeleteMetadata(t.Context(), "schema"); err != nil {
		t.Fatal(err)
	}
	c.eventually("deletion", func() bool { return len(c.nodes["node-1"].Map().Metadata) == 0 })
}

// TestEveryNodeMayPrepareItsStop asks the leader, and nodes that have to ask it.
func TestEveryNodeMayPrepareItsStop(t *testing.T) {
	c := startThree(t, managed)
	for _, id := range three {
		if err := c.nodes[id].PrepareStop(t.Context()); err != nil {
			t.Errorf("%s: %v", id, err)
		}
	}
	c.eventually("three nodes that are about to stop", func() bool {
		m := c.nodes["node-1"].Map()
		return !slices.ContainsFunc(m.Nodes, func(n Node) bool { return !n.Stopping })
	})
}
