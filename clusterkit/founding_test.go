package clusterkit

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hashicorp/raft"

	"github.com/skshohagmiah/clusterkit/internal/freeport"
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
	if err := ck.Abort(c.t.Context()); err != nil {
		c.t.Fatal(err)
	}
	if ck.Map() != nil {
		c.t.Fatal("the founder has led before it could be ended")
	}
	return id
}

// TestFoundsOnlyWhereNobodyCanKnowACluster starts a node with Bootstrap beside
// peers that answer in every way.
func TestFoundsOnlyWhereNobodyCanKnowACluster(t *testing.T) {
	t.Parallel()
	const noCluster, noLeader = `{"error":{"code":"no_cluster"}}`, `{"error":{"code":"no_leader"}}`
	nobody := ""
	tests := []struct {
		name    string
		answers []string
		founds  bool
	}{
		{"nobody listens", []string{nobody, nobody}, true},
		{"nobody knows a cluster", []string{noCluster, noCluster}, true},
		{"one is down, the other knows no cluster", []string{nobody, noCluster}, true},
		{"a cluster without a leader", []string{noCluster, noLeader}, false},
		{"a cluster without a leader before a node that is down", []string{noLeader, nobody}, false},
		{"an outcome that is not known", []string{noCluster, `{"error":{"code":"unknown"}}`}, false},
		{"something that is no node", []string{"<html>"}, false},
		{"a founder whose ID is greater", []string{`{"error":{"code":"no_cluster","founder":"node-2/a"}}`}, true},
		{"a founder whose ID is less", []string{`{"error":{"code":"no_cluster","founder":"node-0/a"}}`}, false},
		{"a founder of the same ID on a lesser disk", []string{`{"error":{"code":"no_cluster","founder":"node-1/"}}`}, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var peers []string
			for _, answer := range tt.answers {
				peer := freeport.Addr(t)
				if answer != nobody {
					server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
						w.WriteHeader(http.StatusServiceUnavailable)
						_, _ = io.WriteString(w, answer)
					}))
					t.Cleanup(server.Close)
					peer = server.Listener.Addr().String()
				}
				peers = append(peers, peer)
			}
			if got := startFounder(t, peers, nil); got != tt.founds {
				t.Errorf("founded: %v, want %v", got, tt.founds)
			}
		})
	}
}

// TestFounderYieldsToWhomItHasAnswered: the other one has heard that this node
// knows no cluster, and may be founding one.
func TestFounderYieldsToWhomItHasAnswered(t *testing.T) {
	for _, tt := range []struct {
		request, answer string
		founds          bool
	}{
		{`{"node_id":"node-0","store":"s","raft_addr":"127.0.0.1:1","bootstrap":true}`, `"no_cluster"`, false},
		{`{"node_id":"node-0","store":"s","raft_addr":"127.0.0.1:1"}`, `"founder":"node-1/`, true},
		{`{"node_id":"node-2","store":"s","raft_addr":"127.0.0.1:1","bootstrap":true}`, `"founder":"node-1/`, true},
	} {
		got := startFounder(t, []string{freeport.Addr(t)}, func(ck *ClusterKit) {
			w := httptest.NewRecorder()
			ck.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/cluster/join", strings.NewReader(tt.request)))
			if !strings.Contains(w.Body.String(), tt.answer) {
				t.Errorf("%s: answered %s, want %s", tt.request, w.Body, tt.answer)
			}
		})
		if got != tt.founds {
			t.Errorf("asked with %s it founded: %v, want %v", tt.request, got, tt.founds)
		}
	}
}

// TestTheFounderActsOnceItHasStarted asks at once, as the first lines of an
// application do.
func TestTheFounderActsOnceItHasStarted(t *testing.T) {
	t.Parallel()
	for range 5 {
		c := newTestCluster(t, Config{})
		c.start(nil, "node-1")
		ck := c.nodes["node-1"]
		for i := range ck.Map().Partitions {
			if p := &ck.Map().Partitions[i]; !ck.IsPrimary(p) {
				t.Fatalf("the only node is not the primary of %s, and holds its lease: %t", p.ID, ck.HoldsLease())
			}
		}
		c.stop("node-1")
	}
}

// startFounder reports whether node-1 founds a cluster beside the peers.
func startFounder(t *testing.T, peers []string, prepare func(*ClusterKit)) (founded bool) {
	t.Helper()
	c := newTestCluster(t, Config{})
	c.edit = func(o *Options) { o.JoinAddr = strings.Join(peers, ",") }
	c.start(prepare, "node-1")
	defer c.stop("node-1")
	return c.nodes["node-1"].dir.identity().ClusterUUID != ""
}

// TestTwoFoundersOfOneCluster starts two nodes with Bootstrap that know each
// other, together and one after the other.
func TestTwoFoundersOfOneCluster(t *testing.T) {
	t.Parallel()
	for _, order := range [][]string{{"node-1", "node-2"}, {"node-2", "node-1"}} {
		c := newTestCluster(t, Config{})
		c.edit = func(o *Options) {
			o.Bootstrap = true
			o.JoinAddr = c.http[map[string]string{"node-1": "node-2", "node-2": "node-1"}[o.NodeID]]
		}
		c.options("node-1")
		c.options("node-2")
		started := make(chan error, len(order))
		for _, id := range order {
			ck, err := NewClusterKit(c.options(id))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = ck.Stop() })
			c.nodes[id] = ck
			go func() { started <- ck.Start() }()
		}
		for range order {
			if err := <-started; err != nil {
				t.Fatal(err)
			}
		}
		c.ready(order...)
		if one, two := c.nodes["node-1"].Map().ClusterUUID, c.nodes["node-2"].Map().ClusterUUID; one != two {
			t.Errorf("two clusters: %s and %s", one, two)
		}
		c.stop("node-2")
		c.stop("node-1")
	}
}

// TestFounderThatLostItsDiskJoinsItsCluster brings the founder back with an
// empty disk while the others have no leader.
func TestFounderThatLostItsDiskJoinsItsCluster(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, Config{})
	c.edit = func(o *Options) {
		if o.NodeID == "node-1" {
			o.JoinAddr = c.http["node-2"] + "," + c.http["node-3"]
		}
	}
	c.options("node-2")
	c.options("node-3")
	c.start(nil, three...)
	c.ready(three...)
	// Each of the two that stay must know that it may vote for the other.
	c.electorate(3)
	founded := c.nodes["node-1"].Map().ClusterUUID
	for _, id := range three {
		c.kill(id)
	}
	if err := os.RemoveAll(filepath.Join(c.dir, "node-1")); err != nil {
		t.Fatal(err)
	}
	c.start(nil, "node-2", "node-1")
	if got := c.nodes["node-1"].dir.identity().ClusterUUID; got != "" {
		t.Fatalf("it is in cluster %s, while %s has no leader", got, founded)
	}
	c.start(nil, "node-3")
	c.ready(three...)
	if got := c.nodes["node-1"].Map().ClusterUUID; got != founded {
		t.Errorf("it is in cluster %s, want %s", got, founded)
	}
}

// TestStopInterruptsStart stops a node that asks a peer that does not answer.
func TestStopInterruptsStart(t *testing.T) {
	asked := make(chan struct{}, 1)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer silent.Close()
	next := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("a node that stops has asked the next peer")
	}))
	defer next.Close()
	c := newTestCluster(t, Config{})
	c.edit = func(o *Options) { o.JoinAddr = silent.Listener.Addr().String() + "," + next.Listener.Addr().String() }
	ck, err := NewClusterKit(c.options("node-1"))
	if err != nil {
		t.Fatal(err)
	}
	started := make(chan error, 1)
	go func() { started <- ck.Start() }()
	<-asked
	stop(t, ck)
	if err := <-started; !errors.Is(err, ErrStopped) {
		t.Errorf("start returned %v, want %v", err, ErrStopped)
	}
}

// TestNodeThatStopsFoundsNothing answers a node that stops what would let it
// found a cluster.
func TestNodeThatStopsFoundsNothing(t *testing.T) {
	c := newTestCluster(t, Config{})
	var ck *ClusterKit
	peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		ck.stopping.Store(true)
		(&responder{ResponseWriter: w}).fail(ErrNotReady)
	}))
	defer peer.Close()
	c.edit = func(o *Options) { o.JoinAddr = peer.Listener.Addr().String() }
	ck, err := NewClusterKit(c.options("node-1"))
	if err != nil {
		t.Fatal(err)
	}
	if founded, err := ck.start(); founded || !errors.Is(err, ErrStopped) {
		t.Errorf("founded: %v, %v", founded, err)
	}
	if id := ck.dir.identity(); id.Founder {
		t.Errorf("a node that stops has founded %s", id.ClusterUUID)
	}
}
