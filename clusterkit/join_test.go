package clusterkit

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"

	"github.com/skshohagmiah/clusterkit/internal/freeport"
)

func TestConflictLastsAsLongAsTheLeaseAllows(t *testing.T) {
	inUse := nodeIDInUse{reason: "by another"}
	for _, lease := range []time.Duration{minLeaseDuration, DefaultLeaseDuration, time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			var c conflict
			grace := 2*deposeAfter(lease) + electionTime
			for range 2 {
				if c.outlasts(inUse, lease) {
					t.Fatalf("lease %s: turned away at once", lease)
				}
				<-time.After(grace)
				if c.outlasts(inUse, lease) {
					t.Fatalf("lease %s: turned away after %s: its predecessor's session may be open", lease, grace)
				}
				// The leader was lost, so nobody ended sessions meanwhile.
				if c.outlasts(ErrNoLeader, lease) {
					t.Fatalf("lease %s: turned away for want of a leader", lease)
				}
				<-time.After(1)
			}
			c.outlasts(inUse, lease)
			<-time.After(grace + 1)
			if !c.outlasts(inUse, lease) {
				t.Errorf("lease %s: another node has had the ID for more than %s", lease, grace)
			}
			if c.outlasts(nil, lease) || c.outlasts(inUse, lease) {
				t.Errorf("lease %s: an old conflict is counted after a success", lease)
			}
		})
	}
}

// TestConflictTellsTheLease asks the leader and a follower.
func TestConflictTellsTheLease(t *testing.T) {
	c := newTestCluster(t, Config{LeaseDuration: 1500 * time.Millisecond})
	c.start(nil, "node-1", "node-2")
	c.ready("node-1", "node-2")
	for _, id := range []string{"node-1", "node-2"} {
		j := joiner{
			http:    &http.Client{Transport: &http.Transport{DisableKeepAlives: true}},
			addrs:   []string{c.http[id]},
			request: joinRequest{Protocol: streamVersion, NodeID: "node-2", Store: "other", RaftAddr: "127.0.0.1:1"},
		}
		_, err := j.attempt(t.Context())
		if refusal, ok := errors.AsType[nodeIDInUse](err); !ok || refusal.lease != c.config.LeaseDuration || !errors.Is(err, errNodeIDInUse) {
			t.Errorf("%s: got %v, want a conflict with the lease %s", id, err, c.config.LeaseDuration)
		}
	}
}

// TestRemovedBeforeItRegisteredAsksAgain brings a node back that had the
// leader's log, but no session, when it was given up.
func TestRemovedBeforeItRegisteredAsksAgain(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.start(nil, "node-1", "node-2")
	c.ready("node-1", "node-2")
	server := raft.ServerID(c.nodes["node-2"].serverID())
	c.kill("node-2")
	dir, err := openDataDir(c.options("node-2").DataDir, "node-2")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(dir.update(func(id *identity) { id.Incarnation = 0 }), dir.close()); err != nil {
		t.Fatal(err)
	}
	if err := c.nodes["node-1"].book.raft.Load().RemoveServer(server, 0, 0).Error(); err != nil {
		t.Fatal(err)
	}
	// A leader that has just removed a server still sends to it for a while.
	c.stop("node-1")
	c.start(nil, "node-1", "node-2")
	c.ready("node-2")
}

func TestJoinRefusals(t *testing.T) {
	at := func(http, raft string) *Map {
		c := register("n1", "s1", 1)
		c.Node.IP, c.Node.RaftAddr = http, raft
		return mustApply(t, foundedMap(16, 3), c)
	}
	hosts, local, names := at("10.0.0.1:80", "10.0.0.1:81"), at("127.0.0.1:80", "127.0.0.1:81"), at("kv-1:80", "kv-1:81")
	tests := []struct {
		name string
		m    *Map
		edit func(*joinRequest)
		want string
	}{
		{"nothing against it", hosts, func(*joinRequest) {}, ""},
		{"another protocol", hosts, func(r *joinRequest) { r.Protocol++ }, "protocol version"},
		{"another cluster name", hosts, func(r *joinRequest) { r.ClusterName = "theirs" }, "Config.ClusterName"},
		{"another partition count", hosts, func(r *joinRequest) { r.PartitionCount = 5 }, "Config.PartitionCount"},
		{"another hash", hosts, func(r *joinRequest) { r.Hash = HashCRC16Slots }, "Config.Hash"},
		{"the directory of another cluster", hosts, func(r *joinRequest) { r.ClusterUUID = "theirs" }, "DataDir belongs to cluster theirs"},
		{"its own directory", hosts, func(r *joinRequest) { r.ClusterUUID = hosts.ClusterUUID }, ""},
		{"the ID of a live node", hosts, func(r *joinRequest) { r.NodeID = "n1" }, "NodeID"},
		{"the ID of a dead node", lose(hosts, t, "n1"), func(r *joinRequest) { r.NodeID = "n1" }, ""},
		{"again", hosts, func(r *joinRequest) { r.NodeID, r.Store = "n1", "s1" }, ""},
		{"loopback among hosts", hosts, func(r *joinRequest) { r.RaftAddr = "127.0.0.1:81" }, "RaftAddr: 127.0.0.1:81 is a loopback address"},
		{"loopback HTTP among hosts", hosts, func(r *joinRequest) { r.HTTPAddr = "localhost:80" }, "HTTPAddr: localhost:80 is a loopback address"},
		{"loopback among names", names, func(r *joinRequest) { r.RaftAddr = "[::1]:81" }, "AdvertiseAddr"},
		{"a name among hosts", hosts, func(r *joinRequest) { r.RaftAddr = "kv-2:81" }, ""},
		{"a host among loopback", local, func(*joinRequest) {}, "n1 advertises the loopback address 127.0.0.1:81"},
		{"loopback among loopback", local, func(r *joinRequest) { r.RaftAddr, r.HTTPAddr = "localhost:82", "127.0.0.1:83" }, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			req := joinRequest{Protocol: streamVersion, NodeID: "n2", Store: "s2", RaftAddr: "10.0.0.2:81", HTTPAddr: "10.0.0.2:80"}
			tt.edit(&req)
			err := req.refusal(tt.m)
			definite := errors.Is(err, ErrJoinRefused) || errors.Is(err, errNodeIDInUse)
			if definite != (tt.want != "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got %v, want a refusal with %q", err, tt.want)
			}
		})
	}
}

// TestJoiningAgainChangesNothing asks for a node that was let in already.
func TestJoiningAgainChangesNothing(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.start(nil, "node-1")
	c.ready("node-1")
	ck := c.nodes["node-1"]
	req := joinRequest{Protocol: streamVersion, NodeID: "node-2", Store: "s2", RaftAddr: freeport.Addr(t), HTTPAddr: freeport.Addr(t)}
	var index uint64
	for range 2 {
		if _, err := ck.admitAnywhere(t.Context(), req); err != nil {
			t.Fatal(err)
		}
		before := index
		index = ck.book.raft.Load().GetConfiguration().Index()
		if before != 0 && index != before {
			t.Error("Raft's configuration was changed again")
		}
	}
	if n := len(ck.book.servers()); n != 2 {
		t.Errorf("%d servers", n)
	}
	req.RaftAddr = freeport.Addr(t)
	if _, err := ck.admitAnywhere(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	if now := ck.book.raft.Load().GetConfiguration().Index(); now != index {
		t.Error("the address of a server that Raft replicates to was changed")
	}
}
