package clusterkit

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

var three = []string{"node-1", "node-2", "node-3"}

// startThree returns a settled cluster of three nodes that vote.
func startThree(t *testing.T, edit func(*Options)) *testCluster {
	t.Helper()
	c := newTestCluster(t, Config{})
	c.edit = edit
	c.start(nil, three...)
	c.ready(three...)
	stop := c.replicate()
	c.settled(3)
	stop()
	c.electorate(3)
	return c
}

// replicate plays the application of nodes with ManagedReplication until the
// returned function is called: each primary adds the members to its in-sync
// set and hands over where that is wanted.
func (c *testCluster) replicate() (stop func()) {
	ctx, cancel := context.WithCancel(c.t.Context())
	var wg sync.WaitGroup
	for id, ck := range c.nodes {
		if !ck.opts.ManagedReplication {
			continue
		}
		wg.Go(func() {
			for m := range ck.Watch(ctx) {
				for _, p := range m.Partitions {
					transfer, due := dueTransfer(m, &p, id)
					switch {
					case p.Primary != id:
					case len(p.InSync) < len(p.Members):
						_ = ck.ProposeInSync(ctx, InSyncChange{p.Index, p.Epoch, p.Version, p.Members})
					case due:
						_ = ck.Transfer(ctx, transfer)
					}
				}
			}
		})
	}
	return func() {
		cancel()
		wg.Wait()
	}
}

func managed(o *Options) { o.ManagedReplication = true }

// servedWithout waits until every partition has a living primary that is not
// the node, in the eyes of all, and holds its lease.
func (c *testCluster) servedWithout(id string) {
	c.t.Helper()
	c.eventually("primary for every partition", func() bool {
		for i := range c.partitions() {
			primaries := 0
			for _, ck := range c.nodes {
				p := &ck.Map().Partitions[i]
				if p.Primary == id {
					return false
				}
				if ck.IsPrimary(p) {
					primaries++
				}
			}
			if primaries != 1 {
				return false
			}
		}
		return true
	})
}

func (c *testCluster) partitions() []Partition {
	for _, ck := range c.nodes {
		return ck.Map().Partitions
	}
	return nil
}

func TestJoinersMayStartFirst(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.start(nil, "node-3", "node-2", "node-1")
	c.ready(three...)
	c.settled(3)
	for id, ck := range c.nodes {
		for i := range c.partitions() {
			p := &ck.Map().Partitions[i]
			if ck.IsPrimary(p) != (ck.GetPrimary(p).ID == id) || ck.IsReplica(p) == ck.IsPrimary(p) || len(ck.GetReplicas(p)) != 2 || len(ck.GetNodes(p)) != 3 {
				t.Fatalf("%s sees itself wrongly in %+v", id, p)
			}
		}
	}
}

func TestFailover(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		leader bool
	}{{"of a node", false}, {"of the Raft leader", true}} {
		t.Run(tt.name, func(t *testing.T) {
			c := startThree(t, managed)
			// Another than the founder leads in the second case as well.
			victim := c.leader()
			if !tt.leader {
				victim = map[string]string{"node-1": "node-2", "node-2": "node-3", "node-3": "node-1"}[victim]
			}
			epochs := make([]uint64, len(c.partitions()))
			for i, p := range c.partitions() {
				epochs[i] = p.Epoch
			}
			stop := c.singlePrimaries()
			c.kill(victim)
			c.servedWithout(victim)
			stop()
			for i, p := range c.partitions() {
				if len(p.InSync) != 3 || p.Epoch < epochs[i] {
					t.Errorf("after the failover: %+v", p)
				}
			}
			c.start(nil, victim)
			c.ready(victim)
			c.eventually("return of the node", func() bool {
				for _, ck := range c.nodes {
					if n := ck.Map().Node(victim); !n.Alive || n.Incarnation < 2 {
						return false
					}
				}
				return true
			})
		})
	}
}

func TestEverythingReturnsAfterAPowerCut(t *testing.T) {
	t.Parallel()
	c := startThree(t, managed)
	before := c.nodes["node-1"].Map()
	for _, id := range three {
		c.kill(id)
	}
	c.start(nil, "node-2", "node-3", "node-1")
	c.ready(three...)
	c.eventually("new epoch of every partition", func() bool {
		for _, ck := range c.nodes {
			m := ck.Map()
			for i, p := range m.Partitions {
				if p.Epoch <= before.Partitions[i].Epoch || !m.Node(p.Primary).Alive {
					return false
				}
			}
		}
		return true
	})
	if got := c.nodes["node-1"].Map().ClusterUUID; got != before.ClusterUUID {
		t.Errorf("cluster %s became %s", before.ClusterUUID, got)
	}
}

// TestAPowerCutWithoutReplicationNeedsNotAllNodes cuts the power of all nodes; one of
// them never returns.
func TestAPowerCutWithoutReplicationNeedsNotAllNodes(t *testing.T) {
	t.Parallel()
	c := startThree(t, nil)
	for _, id := range three {
		c.kill(id)
	}
	c.start(nil, "node-1", "node-2")
	c.ready("node-1", "node-2")
	c.servedWithout("node-3")
	c.eventually("copies on both nodes", func() bool {
		for _, p := range c.partitions() {
			if len(p.InSync) != 2 {
				return false
			}
		}
		return true
	})
}

func TestGracefulStopElectsAtOnce(t *testing.T) {
	c := startThree(t, nil)
	c.stop("node-1")
	for _, ck := range c.nodes {
		c.eventually("goodbye of node-1", func() bool { return !ck.Map().Node("node-1").Alive })
		for _, p := range ck.Map().Partitions {
			if strings.Contains(p.Reason, "lost") {
				t.Errorf("%s waited for a lease: %s", p.ID, p.Reason)
			}
		}
	}
	c.servedWithout("node-1")
}

func TestWipedNodeReturnsAsANewServer(t *testing.T) {
	t.Parallel()
	c := startThree(t, nil)
	old := c.nodes["node-2"].serverID()
	c.kill("node-2")
	if err := os.RemoveAll(filepath.Join(c.dir, "node-2")); err != nil {
		t.Fatal(err)
	}
	c.start(nil, "node-2")
	c.ready("node-2")
	c.settled(3)
	c.eventually("configuration without the lost disk", func() bool {
		voters := 0
		for _, s := range c.nodes[c.leader()].book.raft.Load().GetConfiguration().Configuration().Servers {
			if string(s.ID) == old {
				return false
			}
			if s.Suffrage == raft.Voter {
				voters++
			}
		}
		return voters == 3
	})
}

func TestRefusedJoins(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, Config{ClusterName: "one", PartitionCount: 8})
	c.start(nil, "node-1", "node-2")
	c.ready("node-1", "node-2")
	tests := []struct {
		name string
		edit func(*Options)
		want string
	}{
		{"another cluster name", func(o *Options) { o.Config = &Config{ClusterName: "two"} }, "Config.ClusterName"},
		{"another partition count", func(o *Options) { o.Config = &Config{PartitionCount: 16} }, "Config.PartitionCount"},
		{"another hash", func(o *Options) { o.Config = &Config{Hash: HashCRC16Slots} }, "Config.Hash"},
		{"an ID in use", func(o *Options) { o.NodeID = "node-2" }, "NodeID"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			o := c.options("node-9")
			tt.edit(&o)
			o.DataDir = t.TempDir()
			ck, err := NewClusterKit(o)
			if err != nil {
				t.Fatal(err)
			}
			defer stop(t, ck)
			if err := ck.Start(); err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), testWait)
			defer cancel()
			err = ck.Ready(ctx)
			if !errors.Is(err, ErrJoinRefused) || !strings.Contains(err.Error(), tt.want) || !errors.Is(ck.Err(), ErrJoinRefused) {
				t.Fatalf("got %v, want a refusal that names %s", err, tt.want)
			}
			select {
			case <-ck.Done():
			default:
				t.Error("Done is open")
			}
		})
	}
	if n := c.nodes["node-2"].Map().Node("node-2"); !n.Alive || !c.nodes["node-2"].HoldsLease() {
		t.Error("the rightful node-2 was disturbed")
	}
}

func TestBootstrapBesidePeersJoinsTheirCluster(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.start(nil, "node-1")
	c.edit = func(o *Options) { o.Bootstrap = true }
	c.start(nil, "node-2")
	c.ready("node-1", "node-2")
	if one, two := c.nodes["node-1"].Map().ClusterUUID, c.nodes["node-2"].Map().ClusterUUID; one != two {
		t.Errorf("two clusters: %s and %s", one, two)
	}
}

func TestProposalsReachTheLeaderFromAnyNode(t *testing.T) {
	c := startThree(t, managed)
	p := c.nodes["node-1"].Map().Partitions[0]
	ck := c.nodes[p.Primary]
	ctx := t.Context()
	others := withoutMember(p.InSync, mustMember(t, &p, p.Primary))
	shrunk := InSyncChange{Partition: 0, Epoch: p.Epoch, Version: p.Version, InSync: withoutMember(p.InSync, others[0])}
	if err := ck.ProposeInSync(ctx, shrunk); err != nil {
		t.Fatalf("shrink: %v", err)
	}
	if err := ck.ProposeInSync(ctx, shrunk); !errors.Is(err, ErrStale) {
		t.Fatalf("the same again: %v", err)
	}
	c.eventually("shrunk set", func() bool { return len(ck.Map().Partitions[0].InSync) == 2 })
	now := ck.Map().Partitions[0]
	grown := InSyncChange{Partition: 0, Epoch: now.Epoch, Version: now.Version, InSync: p.InSync}
	if err := c.nodes[others[0].Node].ProposeInSync(ctx, grown); !errors.Is(err, ErrStale) {
		t.Fatalf("addition by another than the primary: %v", err)
	}
	if err := ck.ProposeInSync(ctx, grown); err != nil {
		t.Fatalf("grow: %v", err)
	}
	req := TransferRequest{Partition: 0, Epoch: p.Epoch, From: p.Primary, To: others[0].Node}
	for _, id := range three {
		if err := c.nodes[id].Transfer(ctx, req); err != nil && !errors.Is(err, ErrStale) {
			t.Fatalf("transfer proposed by %s: %v", id, err)
		}
	}
	c.eventually("transfer", func() bool {
		p := c.nodes[others[0].Node].Map().Partitions[0]
		return p.Epoch == req.Epoch+1 && c.nodes[others[0].Node].IsPrimary(&p)
	})
	if err := ck.Transfer(ctx, TransferRequest{Partition: 99}); !errors.Is(err, ErrStale) {
		t.Errorf("transfer of no partition: %v", err)
	}
}

func TestIsolatedNodeLosesItsLease(t *testing.T) {
	t.Parallel()
	c := startThree(t, managed)
	last := c.leader()
	for _, id := range three {
		if id != last {
			c.kill(id)
		}
	}
	ck := c.nodes[last]
	c.eventually("end of the lease", func() bool { return !ck.HoldsLease() })
	for i := range ck.Map().Partitions {
		if p := &ck.Map().Partitions[i]; ck.IsPrimary(p) {
			t.Fatalf("primary of %s without a lease", p.ID)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	p := ck.Map().Partitions[0]
	if err := ck.Transfer(ctx, TransferRequest{Partition: 0, Epoch: p.Epoch, From: p.Primary}); err == nil {
		t.Error("a transfer was committed without a quorum")
	}
}

func mustMember(t *testing.T, p *Partition, node string) Member {
	t.Helper()
	c, ok := p.MemberOf(node)
	if !ok {
		t.Fatalf("%s has no copy of %s", node, p.ID)
	}
	return c
}

func TestInterruptedFoundingIsFinished(t *testing.T) {
	c := newTestCluster(t, Config{})
	ck, err := NewClusterKit(c.options("node-1"))
	if err != nil {
		t.Fatal(err)
	}
	config, err := Config{PartitionCount: 5}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	founding := func(id *identity) { id.Founder, id.ClusterUUID, id.Config = true, "the-cluster", &config }
	if err := errors.Join(ck.dir.update(founding), ck.Stop()); err != nil {
		t.Fatal(err)
	}
	c.edit = func(o *Options) { o.Bootstrap, o.Config = false, nil }
	c.start(nil, "node-1")
	if m := c.nodes["node-1"].Map(); m.ClusterUUID != "the-cluster" || len(m.Partitions) != 5 {
		t.Errorf("founded %s with %d partitions", m.ClusterUUID, len(m.Partitions))
	}
}

// TestAFailedNodeStepsAside lets the state machine of a node stop: the node
// must give its lease back, and others take over.
func TestAFailedNodeStepsAside(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name   string
		leader bool
	}{{"a follower", false}, {"the Raft leader", true}} {
		t.Run(tt.name, func(t *testing.T) {
			c := startThree(t, managed)
			failed := c.leader()
			if !tt.leader {
				failed = map[string]string{"node-1": "node-2", "node-2": "node-3", "node-3": "node-1"}[failed]
			}
			ck := c.nodes[failed]
			ck.fail(errors.New("an entry that cannot be understood"))
			if ck.HoldsLease() || ck.Err() == nil {
				t.Error("a failed node holds its lease")
			}
			delete(c.nodes, failed)
			c.servedWithout(failed)
			if leader := c.leader(); leader == failed {
				t.Errorf("%s leads although it failed", leader)
			}
			c.eventually("end of Raft on the failed node", func() bool {
				return ck.book.raft.Load().State() == raft.Shutdown && ck.controller.keeper.Load() == nil
			})
			c.eventually("refusal of Raft's connections to the failed node", func() bool {
				conn, err := c.nodes[c.leader()].net.streams.dial(t.Context(), ck.net.peerAddr(), streamRaft)
				if err == nil {
					_ = conn.Close()
				}
				return err != nil && strings.Contains(err.Error(), "has stopped")
			})
		})
	}
}

func TestALostRaftLogIsNotStartedAnew(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.start(nil, "node-1")
	c.stop("node-1")
	if err := os.RemoveAll(filepath.Join(c.dir, "node-1", "raft")); err != nil {
		t.Fatal(err)
	}
	ck, err := NewClusterKit(c.options("node-1"))
	if err != nil {
		t.Fatal(err)
	}
	if err := ck.Start(); !errors.Is(err, ErrDataDir) || !strings.Contains(err.Error(), "lost its Raft log") {
		t.Errorf("got %v", err)
	}
}

// TestTransferEndsTheRoleFirst asks for a transfer that nobody can make.
func TestTransferEndsTheRoleFirst(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.edit = managed
	c.start(nil, "node-1")
	c.ready("node-1")
	ck := c.nodes["node-1"]
	if err := ck.book.raft.Load().Shutdown().Error(); err != nil {
		t.Fatal(err)
	}
	m := ck.Map()
	p, other := &m.Partitions[0], &m.Partitions[1]
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, req := range []TransferRequest{
		{Partition: 0, Epoch: p.Epoch, From: "node-1", To: "node-2"},
		{Partition: 1, Epoch: other.Epoch + 1, From: "node-1", To: "node-2"},
	} {
		if err := ck.Transfer(ctx, req); err == nil || errors.Is(err, ErrStale) {
			t.Errorf("transfer without Raft: %v", err)
		}
	}
	if !ck.handover.handedOver(p) || ck.IsPrimary(p) {
		t.Error("the node is the primary although it has handed over")
	}
	if ck.handover.handedOver(other) {
		t.Error("a request for another epoch ended this one")
	}
}

func TestALostVoterIsReplaced(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, Config{})
	impatient := func(ck *ClusterKit) {
		withoutProbation(ck)
		ck.controller.patience.loss = 200 * time.Millisecond
	}
	c.start(impatient, three...)
	c.ready(three...)
	c.electorate(3)
	c.start(impatient, "node-4")
	c.ready("node-4")
	victim := map[string]string{"node-1": "node-2", "node-2": "node-3", "node-3": "node-1"}[c.leader()]
	c.kill(victim)
	c.eventually("node-4 in the place of "+victim, func() bool {
		voters := c.voters()
		return len(voters) == 3 && slices.Contains(voters, c.nodes["node-4"].serverID()) &&
			!slices.ContainsFunc(voters, func(id string) bool { return strings.HasPrefix(id, victim) })
	})
	c.start(impatient, victim)
	c.ready(victim)
}
