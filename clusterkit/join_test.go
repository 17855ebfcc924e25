package clusterkit

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
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
			request: joinRequest{NodeID: "node-2", Store: "other", RaftAddr: "127.0.0.1:1"},
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
