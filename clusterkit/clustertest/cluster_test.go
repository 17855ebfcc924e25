package clustertest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// inCluster runs a test with a healthy cluster of three nodes, in no time.
func inCluster(t *testing.T, config Config, test func(t *testing.T, c *Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := New(t, config)
		c.WaitHealthy()
		test(t, c)
	})
}

// singlePrimary looks for two primaries of one partition until the end of the
// test. Time stands still while it looks.
func (c *Cluster) singlePrimary() {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	c.tb.Cleanup(func() {
		cancel()
		<-ended
	})
	go func() {
		defer close(ended)
		for ctx.Err() == nil {
			for i := range c.Map().Partitions {
				c.checkSinglePrimary(i)
			}
			time.Sleep(pollInterval)
		}
	}()
}

func (c *Cluster) checkSinglePrimary(partition int) {
	first := ""
	for _, node := range c.Nodes() {
		m := node.Map()
		switch id := node.GetMyNodeID(); {
		case m == nil || !node.IsPrimary(&m.Partitions[partition]):
		case first == "":
			first = id
		case c.Node(first).IsPrimary(&m.Partitions[partition]):
			c.tb.Errorf("%s and %s are both the primary of partition-%d", first, id, partition)
		}
	}
}

// other returns a node that is none of these.
func (c *Cluster) other(not ...string) string {
	for _, id := range c.ids() {
		if !slices.Contains(not, id) {
			return id
		}
	}
	panic("there is no other")
}

func primaryElsewhere(id string) func(m *clusterkit.Map) bool {
	return func(m *clusterkit.Map) bool {
		return !slices.ContainsFunc(m.Partitions, func(p clusterkit.Partition) bool { return p.Primary == id || p.Primary == "" })
	}
}

func TestNodesLeaveAndReturn(t *testing.T) {
	ways := map[string]func(c *Cluster, id string){
		"stopped":               (*Cluster).Stop,
		"killed":                (*Cluster).Kill,
		"killed without a word": func(c *Cluster, id string) { c.Isolate(id); c.Kill(id); c.Heal() },
		"wiped":                 func(c *Cluster, id string) { c.Kill(id); c.Wipe(id) },
	}
	for how, leave := range ways {
		for _, who := range []string{"the leader", "a follower"} {
			t.Run(who+" "+how, func(t *testing.T) {
				inCluster(t, Config{}, func(t *testing.T, c *Cluster) {
					c.singlePrimary()
					id := c.Leader()
					if who == "a follower" {
						id = c.other(id)
					}
					store := c.Node(id).StoreID()
					leave(c, id)
					if c.Node(id) != nil || len(c.Nodes()) != 2 {
						t.Errorf("%s still runs", id)
					}
					c.WaitHealthy()
					if id == c.WaitPrimary("user:1") || id == c.Leader() {
						t.Errorf("%s is down, and the primary", id)
					}
					c.Restart(id)
					c.WaitHealthy()
					if kept := c.Node(id).StoreID() == store; kept != (how != "wiped") {
						t.Errorf("the directory was kept: %t", kept)
					}
				})
			})
		}
	}
}

func TestAnIsolatedPrimaryStepsDown(t *testing.T) {
	inCluster(t, Config{}, func(t *testing.T, c *Cluster) {
		c.singlePrimary()
		old := c.Leader()
		others := slices.DeleteFunc(c.ids(), func(id string) bool { return id == old })
		c.Isolate(old)
		c.WaitFor("other primaries", primaryElsewhere(old), others...)
		if c.Node(old).HoldsLease() {
			t.Errorf("%s still holds a lease", old)
		}
		if primaryElsewhere(old)(c.Node(old).Map()) {
			t.Errorf("%s has heard of it through the cut", old)
		}
		c.Heal()
		c.WaitHealthy()
	})
}

// A leader that goes silent must not cost the others their sessions: they do not
// wait for its answers when there is another, in whatever moment it went.
func TestASilentLeaderIsNotWaitedFor(t *testing.T) {
	inCluster(t, Config{}, func(t *testing.T, c *Cluster) {
		for round := range 10 {
			old := c.Leader()
			others := slices.DeleteFunc(c.ids(), func(id string) bool { return id == old })
			time.Sleep(time.Duration(round) * 25 * time.Millisecond)
			c.Isolate(old)
			c.Eventually("another leader", func() bool { return slices.Contains(others, c.Leader()) })
			at := time.Now()
			c.Eventually("leases from the new leader", func() bool {
				return c.Node(others[0]).HoldsLease() && c.Node(others[1]).HoldsLease()
			})
			if took := time.Since(at); took > clusterkit.DefaultLeaseDuration/4 {
				t.Errorf("round %d: the new leader was asked for leases after %v", round, took)
			}
			c.WaitFor("other primaries", primaryElsewhere(old), others...)
			c.Heal()
			c.WaitHealthy()
		}
	})
}

func TestAMinorityHasNoPrimary(t *testing.T) {
	inCluster(t, Config{Nodes: 5}, func(t *testing.T, c *Cluster) {
		c.singlePrimary()
		few := []string{c.Leader(), c.other(c.Leader())}
		c.Isolate(few...)
		c.Eventually("end of the leases", func() bool { return !c.Node(few[0]).HoldsLease() && !c.Node(few[1]).HoldsLease() })
		many := slices.DeleteFunc(c.ids(), func(id string) bool { return slices.Contains(few, id) })
		c.WaitFor("primaries on the other side", func(m *clusterkit.Map) bool {
			return primaryElsewhere(few[0])(m) && primaryElsewhere(few[1])(m)
		}, many...)
		c.Heal()
		c.WaitHealthy()
	})
}

func TestAPausedNodeIsReplaced(t *testing.T) {
	inCluster(t, Config{}, func(t *testing.T, c *Cluster) {
		c.singlePrimary()
		old := c.other(c.Leader())
		others := slices.DeleteFunc(c.ids(), func(id string) bool { return id == old })
		c.Pause(old)
		c.WaitFor("other primaries", primaryElsewhere(old), others...)
		c.Resume(old)
		c.WaitHealthy()
	})
}

// TestCuts makes cuts that a cluster does not survive in the same way.
func TestCuts(t *testing.T) {
	tests := []struct {
		name string
		cut  func(c *Cluster, leader, a, b string)
		// deposed is who loses its lease: the leader, a, or nobody.
		deposed string
	}{
		{"between two followers", func(c *Cluster, _, a, b string) { c.Cut(a, b) }, "nobody"},
		{"from the leader to a follower", func(c *Cluster, leader, a, _ string) { c.CutOneWay(leader, a) }, "a"},
		{"from a follower to the leader", func(c *Cluster, leader, a, _ string) { c.CutOneWay(a, leader) }, "a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			inCluster(t, Config{}, func(t *testing.T, c *Cluster) {
				c.singlePrimary()
				leader := c.Leader()
				a := c.other(leader)
				b := c.other(leader, a)
				tt.cut(c, leader, a, b)
				if tt.deposed == "a" {
					c.WaitFor("other primaries", primaryElsewhere(a), b)
				} else {
					time.Sleep(10 * time.Second)
					if c.Leader() != leader || !c.Node(a).HoldsLease() || !c.Node(b).HoldsLease() {
						t.Errorf("a cut that concerns nobody has deposed somebody:\n%s", c.describe())
					}
				}
				c.Heal()
				c.WaitHealthy()
			})
		})
	}
}

func TestAddedNodesTakeTheirShare(t *testing.T) {
	var hooks atomic.Int64
	config := Config{
		Nodes: 1,
		Options: func(o *clusterkit.Options) {
			o.NodeName = "Server " + o.NodeID
		},
		Prepare: func(ck *clusterkit.ClusterKit) {
			ck.OnPartitionChange(func(_ string, from, to *clusterkit.Node) {
				if from != nil && to.ID == ck.GetMyNodeID() {
					hooks.Add(1)
				}
			})
		},
		Cluster: clusterkit.Config{PartitionCount: 4, ReplicationFactor: 2},
	}
	inCluster(t, config, func(t *testing.T, c *Cluster) {
		c.Add("node-2")
		c.WaitHealthy()
		for _, p := range c.Map().Partitions {
			if len(p.InSync) != 2 {
				t.Errorf("%s has copies on %v", p.ID, nodesOf(p.InSync))
			}
		}
		if hooks.Load() != 4 {
			t.Errorf("%d copies were made, want 4", hooks.Load())
		}
		if name := c.Map().Node("node-2").Name; name != "Server node-2" {
			t.Errorf("the options were not edited: the node is called %q", name)
		}
	})
}

func TestAClockThatLeapsEndsTheLease(t *testing.T) {
	inCluster(t, Config{}, func(t *testing.T, c *Cluster) {
		id := c.other(c.Leader())
		c.Clock(id).Advance(c.Map().Config.LeaseDuration)
		if c.Node(id).HoldsLease() {
			t.Error("the lease has outlasted the leap")
		}
		c.WaitHealthy()
	})
}

func TestClocksWithinTheirToleranceDeposeNobody(t *testing.T) {
	inCluster(t, Config{}, func(t *testing.T, c *Cluster) {
		c.singlePrimary()
		c.Clock("node-1").SetRate(1.01)
		c.Clock("node-2").SetRate(0.99)
		epochs := func() (all []uint64) {
			for _, p := range c.Map().Partitions {
				all = append(all, p.Epoch)
			}
			return all
		}
		before := epochs()
		time.Sleep(10 * time.Second)
		if after := epochs(); !slices.Equal(before, after) {
			t.Errorf("the epochs went from %v to %v", before, after)
		}
		c.Kill("node-1")
		c.WaitHealthy()
	})
}

func TestHTTPClient(t *testing.T) {
	inCluster(t, Config{}, func(t *testing.T, c *Cluster) {
		leader := c.Leader()
		c.Isolate(leader)
		resp, err := c.HTTPClient().Get("http://" + leader + ":8080/consensus/leader")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer struct{ Leader string }
		if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || resp.StatusCode != http.StatusOK || answer.Leader != leader {
			t.Errorf("%s answered %s, %+v, %v", leader, resp.Status, answer, err)
		}
		c.Pause(leader)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+leader+":8080/health", nil)
		if err != nil {
			t.Fatal(err)
		}
		if resp, err := c.HTTPClient().Do(req); err == nil {
			_ = resp.Body.Close()
			t.Error("a paused node has answered")
		}
	})
}

// TestInRealTime is what all others are, without a bubble.
func TestInRealTime(t *testing.T) {
	c := New(t, Config{Nodes: 2, Timeout: time.Minute})
	c.WaitHealthy()
	c.Stop("node-2")
	c.WaitFor("primaries on node-1", primaryElsewhere("node-2"))
}

// failingTB notes the failure that ends a test.
type failingTB struct {
	testing.TB
	failure string
}

func (f *failingTB) Fatalf(format string, args ...any) {
	f.failure = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure returns what a test that does this fails with.
func (c *Cluster) failure(do func()) string {
	tb := &failingTB{TB: c.tb}
	c.tb = tb
	defer func() { c.tb = tb.TB }()
	done := make(chan struct{})
	go func() {
		defer close(done)
		do()
	}()
	<-done
	return tb.failure
}

func TestFailuresSayWhatWasWaitedFor(t *testing.T) {
	inCluster(t, Config{}, func(t *testing.T, c *Cluster) {
		c.Kill("node-3")
		c.WaitHealthy()
		never := func(*clusterkit.Map) bool { return false }
		tests := []struct {
			name string
			do   func()
			want []string
		}{
			{"WaitFor", func() { c.WaitFor("the moon", never, "node-2") }, []string{"waited 30s for the moon", "in the eyes of node-2", "node-3: down", "node-1: Raft", "lease true", "partition-15: epoch"}},
			{"Eventually", func() { c.Eventually("the moon", func() bool { return false }) }, []string{"waited 30s for the moon", "partition-0: epoch"}},
			{"WaitHealthy", func() {
				c.Isolate("node-2")
				c.Eventually("end of the lease", func() bool { return !c.Node("node-2").HoldsLease() })
				c.WaitHealthy()
			}, []string{"waited 30s for a healthy cluster", "holds no lease"}},
			{"WaitPrimary", func() { c.WaitPrimary("user:1") }, []string{`a primary for "user:1"`}},
			{"Restart", func() { c.Restart("node-1") }, []string{"node-1 is running"}},
			{"Wipe", func() { c.Wipe("node-1") }, []string{"node-1 is running"}},
			{"Kill", func() { c.Kill("node-3") }, []string{"node-3 is down already"}},
			{"Add", func() { c.Add("node-3") }, []string{"node-3 already"}},
			{"no such node", func() { c.Cut("node-1", "node-9") }, []string{"there is no node-9"}},
		}
		for _, tt := range tests {
			failure := c.failure(tt.do)
			for _, want := range tt.want {
				if !strings.Contains(failure, want) {
					t.Errorf("%s: %q does not say %q", tt.name, failure, want)
				}
			}
		}
	})
}
