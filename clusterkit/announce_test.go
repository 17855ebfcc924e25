package clusterkit

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/skshohagmiah/clusterkit/internal/freeport"
)

// move gives the nodes, which are down, other addresses.
func (c *testCluster) move(ids ...string) {
	for _, id := range ids {
		c.http[id], c.raft[id] = freeport.Addr(c.t), freeport.Addr(c.t)
	}
}

// moved waits until every node is ready and all know where all are.
func (c *testCluster) moved() {
	c.t.Helper()
	c.ready(three...)
	c.eventually("the new addresses in every map", func() bool {
		for _, ck := range c.nodes {
			for _, id := range three {
				if n := ck.Map().Node(id); !n.Alive || n.RaftAddr != c.raft[id] || n.IP != c.http[id] {
					return false
				}
			}
		}
		return true
	})
	if err := c.nodes["node-3"].SetMetadata(c.t.Context(), "moved", "yes"); err != nil {
		c.t.Errorf("the cluster takes no changes: %v", err)
	}
}

// recorded waits until all vote, and would find one another after a start.
func (c *testCluster) recorded() {
	c.t.Helper()
	c.eventually("three voters whose addresses are recorded", func() bool {
		for _, ck := range c.nodes {
			servers, recorded := ck.book.servers(), ck.addresses.load()
			for _, s := range servers {
				id, _, _ := strings.Cut(string(s.ID), "/")
				if recorded[string(s.ID)] != c.raft[id] || s.Suffrage != raft.Voter {
					return false
				}
			}
			if len(servers) != len(three) {
				return false
			}
		}
		return true
	})
}

// threeThatMove returns a settled cluster whose nodes have that JoinAddr when
// they start again: names of nodes, separated by commas.
func threeThatMove(t *testing.T, joinAddr map[string]string) *testCluster {
	t.Helper()
	var c *testCluster
	started := false
	c = startThree(t, func(o *Options) {
		managed(o)
		if started {
			o.JoinAddr = ""
			for id := range strings.FieldsFuncSeq(joinAddr[o.NodeID], func(r rune) bool { return r == ',' }) {
				o.JoinAddr += "," + c.http[id]
			}
		}
	})
	started = true
	c.recorded()
	return c
}

func TestClusterReturnsOnOtherAddresses(t *testing.T) {
	t.Parallel()
	for name, joinAddr := range map[string]map[string]string{
		"one knows two":       {"node-1": "node-2,node-3"},
		"each knows the next": {"node-1": "node-2", "node-2": "node-3"},
	} {
		t.Run(name, func(t *testing.T) {
			c := threeThatMove(t, joinAddr)
			for _, id := range three {
				c.kill(id)
			}
			c.move(three...)
			c.start(nil, three...)
			c.moved()
		})
	}
}

// TestMovedClusterNeedsNoJoinAddrAgain restarts a cluster that has moved before:
// a node has no map then, only what it has recorded.
func TestMovedClusterNeedsNoJoinAddrAgain(t *testing.T) {
	t.Parallel()
	joinAddr := map[string]string{"node-2": "node-1", "node-3": "node-1"}
	c := threeThatMove(t, joinAddr)
	for _, id := range three {
		c.kill(id)
	}
	c.move(three...)
	c.start(nil, three...)
	c.moved()
	c.recorded()
	clear(joinAddr)
	for _, id := range three {
		c.kill(id)
	}
	c.start(nil, three...)
	c.moved()
}

// TestOneNodeMoves moves nodes that know of the others only what they have
// recorded.
func TestOneNodeMoves(t *testing.T) {
	t.Parallel()
	c := threeThatMove(t, nil)
	for _, id := range []string{c.leader(), "node-2"} {
		c.kill(id)
		c.move(id)
		c.start(nil, id)
		c.moved()
		c.recorded()
	}
}

// TestNodesSwapAddresses: the third has connections to both, and dials each where
// the other is now.
func TestNodesSwapAddresses(t *testing.T) {
	t.Parallel()
	for name, swapped := range map[string][]string{"two": {"node-1", "node-2"}, "three": three} {
		t.Run(name, func(t *testing.T) {
			c := threeThatMove(t, nil)
			for _, id := range swapped {
				c.kill(id)
			}
			first := swapped[0]
			atHTTP, atRaft := c.http[first], c.raft[first]
			for i, id := range swapped[:len(swapped)-1] {
				c.http[id], c.raft[id] = c.http[swapped[i+1]], c.raft[swapped[i+1]]
			}
			last := swapped[len(swapped)-1]
			c.http[last], c.raft[last] = atHTTP, atRaft
			if len(swapped) == len(three) {
				c.edit = func(o *Options) { managed(o); o.JoinAddr = c.http["node-1"] + "," + c.http["node-3"] }
			}
			c.start(nil, swapped...)
			c.moved()
		})
	}
}

// TestAnnouncementsAreChecked asks a node over HTTP.
func TestAnnouncementsAreChecked(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.start(nil, "node-1", "node-2")
	c.ready("node-1", "node-2")
	ck, other := c.nodes["node-1"], c.nodes["node-2"]
	c.eventually("node-2 in the map", func() bool { return ck.Map().Node("node-2") != nil })
	old := other.announcement()
	now := ck.Map().Node("node-2").RaftAddr
	old.Incarnation, old.RaftAddr = old.Incarnation-1, "127.0.0.1:1"
	cluster := ck.Map().ClusterUUID
	for _, tt := range []struct {
		name   string
		req    announceRequest
		status int
		answer string
	}{
		{"of this cluster", announceRequest{ClusterUUID: cluster, From: said("n9/s9", 0, 1, "n9:1")}, http.StatusOK, `"n9/s9"`},
		{"with what is in the map", announceRequest{ClusterUUID: cluster, From: said("n9/s9", 0, 1, "n9:1")}, http.StatusOK, other.serverID()},
		{"with itself", announceRequest{ClusterUUID: cluster, From: said("n9/s9", 0, 1, "n9:1")}, http.StatusOK, ck.serverID()},
		{"of another cluster", announceRequest{ClusterUUID: "theirs", From: said("n8/s8", 0, 1, "n8:1")}, http.StatusConflict, `"another_cluster"`},
		{"of no cluster", announceRequest{From: said("n8/s8", 0, 1, "n8:1")}, http.StatusConflict, `"another_cluster"`},
		{"without an address", announceRequest{ClusterUUID: cluster, From: said("n8/s8", 0, 1, "")}, http.StatusBadRequest, `"bad_request"`},
		{"told again, from before", announceRequest{ClusterUUID: cluster, From: old}, http.StatusOK, now},
	} {
		w := httptest.NewRecorder()
		ck.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, pathAnnounceHTTP, strings.NewReader(string(mustJSON(tt.req)))))
		if w.Code != tt.status || !strings.Contains(w.Body.String(), tt.answer) {
			t.Errorf("%s: answered %d %s, want %d with %s", tt.name, w.Code, w.Body, tt.status, tt.answer)
		}
	}
	if got, err := ck.book.ServerAddr(raft.ServerID(other.serverID())); err != nil || string(got) != peerAddr(other.serverID(), now) {
		t.Errorf("node-2 is taken to be at %s, %v", got, err)
	}
	if got, err := ck.book.ServerAddr("n8/s8"); err == nil {
		t.Errorf("a stranger is taken to be at %s", got)
	}
	w := httptest.NewRecorder()
	ck.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, pathAnnounceHTTP, strings.NewReader("{")))
	if w.Code != http.StatusBadRequest {
		t.Errorf("half a request is answered with %d", w.Code)
	}
}

// TestFollowersPassAnnouncementsOn: the leader is who has to know.
func TestFollowersPassAnnouncementsOn(t *testing.T) {
	t.Parallel()
	c := startThree(t, nil)
	leader := c.nodes[c.leader()]
	for id, ck := range c.nodes {
		if ck == leader {
			continue
		}
		server := id + "-friend/s"
		if _, err := ck.heardFrom(t.Context(), announceRequest{ClusterUUID: ck.Map().ClusterUUID, From: said(server, 0, 1, "friend:1")}); err != nil {
			t.Fatal(err)
		}
		if got, err := leader.book.ServerAddr(raft.ServerID(server)); err != nil || got != raft.ServerAddress(server+"@friend:1") {
			t.Errorf("what %s was told reached the leader as %q, %v", id, got, err)
		}
	}
}

// TestFalseAnnouncementsDoNotLast: anybody who knows the cluster's UUID can make
// them.
func TestFalseAnnouncementsDoNotLast(t *testing.T) {
	t.Parallel()
	c := startThree(t, nil)
	leader := c.nodes[c.leader()]
	nowhere := freeport.Addr(t)
	for id, ck := range c.nodes {
		if ck != leader {
			leader.book.hear(said(ck.serverID(), 1<<40, 1, nowhere))
			c.eventually("the address of "+id+" in the map", func() bool {
				got, err := leader.book.ServerAddr(raft.ServerID(ck.serverID()))
				return err == nil && string(got) == peerAddr(ck.serverID(), c.raft[id])
			})
		}
	}
	if err := leader.SetMetadata(t.Context(), "still", "there"); err != nil {
		t.Error(err)
	}
}

// TestReturningNodeIgnoresAnotherCluster: its own data win over JoinAddr.
func TestReturningNodeIgnoresAnotherCluster(t *testing.T) {
	t.Parallel()
	other := newTestCluster(t, Config{})
	other.start(nil, "node-1")
	c := newTestCluster(t, Config{})
	c.start(nil, "node-1")
	c.ready("node-1")
	cluster := c.nodes["node-1"].Map().ClusterUUID
	c.kill("node-1")
	c.edit = func(o *Options) { o.JoinAddr = other.http["node-1"] }
	c.start(nil, "node-1")
	c.ready("node-1")
	if got := c.nodes["node-1"].Map().ClusterUUID; got != cluster {
		t.Errorf("it is in cluster %s, want %s", got, cluster)
	}
}

// withoutControl is a network on which no control calls can be made.
type withoutControl struct {
	tcpNetwork
	blocked atomic.Bool
}

func (n *withoutControl) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := n.tcpNetwork.DialContext(ctx, network, addr)
	if err != nil || !n.blocked.Load() {
		return conn, err
	}
	return &raftOnly{Conn: conn}, nil
}

type raftOnly struct {
	net.Conn
	greeted bool
}

func (c *raftOnly) Write(b []byte) (int, error) {
	if !c.greeted && len(b) > len(streamMagic)+1 && b[len(streamMagic)+1] == byte(streamControl) {
		return 0, errors.New("no control calls here")
	}
	c.greeted = true
	return c.Conn.Write(b)
}

// TestRemovedNodeReturns brings a voter back that was removed while it was down.
// For a while it is not told: it stands for election meanwhile.
func TestRemovedNodeReturns(t *testing.T) {
	c := startFour(t)
	victim := "node-4"
	if c.leader() == victim {
		victim = "node-3"
	}
	c.kill(victim)
	via := c.without(victim)
	c.eventually("the end of its session", func() bool { return !via.Map().Node(victim).Alive })
	if err := via.Remove(t.Context(), victim); err != nil {
		t.Fatal(err)
	}
	c.eventually("the end of its vote", func() bool { return len(c.voters()) == 3 })
	leader := c.nodes[c.leader()]
	term := leader.book.raft.Load().CurrentTerm()

	network := &withoutControl{}
	network.blocked.Store(true)
	c.edit = func(o *Options) { o.JoinAddr, o.Network = "", network }
	c.move(victim) // so that the leader, which sends to it for a while yet, does not tell it
	c.start(nil, victim)
	ck := c.nodes[victim]
	r := ck.book.raft.Load()
	c.eventually("a candidate", func() bool { return r.State() == raft.Candidate })
	deadline := time.NewTimer(3 * raftElectionTimeout)
	defer deadline.Stop()
	select {
	case <-deadline.C:
	case <-ck.Done():
		t.Fatalf("it was told: %v", ck.Err())
	}
	if now := leader.book.raft.Load(); now.CurrentTerm() != term || now.State() != raft.Leader {
		t.Errorf("the removed node has disturbed the leader: term %d became %d", term, now.CurrentTerm())
	}
	if now := r.CurrentTerm(); now > term {
		t.Errorf("the removed node is in term %d, beyond the others' %d", now, term)
	}
	network.blocked.Store(false)
	select {
	case <-ck.Done():
	case <-time.After(testWait):
		t.Fatal("it is not told that it was removed")
	}
	if err := ck.Err(); !errors.Is(err, ErrJoinRefused) || !strings.Contains(err.Error(), "was removed") || ck.Ready(t.Context()) == nil {
		t.Errorf("it ended with %v", err)
	}
	c.stop(victim)
	c.eventually("end of Raft", func() bool { return r.State() == raft.Shutdown })
}

// TestRemovedNodeIsNotLetInAgain asks for a node whose directory has lost
// everything but its identity.
func TestRemovedNodeIsNotLetInAgain(t *testing.T) {
	m := mustApply(t, lose(clusterOf(t), t, "n3"), removeCommand{Node: "n3"})
	if err := (joinRequest{Protocol: streamVersion, NodeID: "n3", Store: "s3", RaftAddr: "n3:1"}).refusal(m); !errors.Is(err, ErrJoinRefused) || !strings.Contains(err.Error(), "was removed") {
		t.Errorf("got %v", err)
	}
	if err := (joinRequest{Protocol: streamVersion, NodeID: "n3", Store: "new", RaftAddr: "n3:1"}).refusal(m); err != nil {
		t.Errorf("with an empty directory: %v", err)
	}
}
