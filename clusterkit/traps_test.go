package clusterkit_test

import (
	"context"
	"encoding/json"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/clusterkit/clustertest"
)

// Each of these is something that libraries of this kind get wrong; those that
// have to do with hooks are in hooktraps_test.go.

func TestTrapNoFailoverInThreeNodesWithThreeCopies(t *testing.T) {
	inCluster(t, clustertest.Config{}, func(t *testing.T, c *clustertest.Cluster) {
		for _, id := range []string{"node-1", "node-2", "node-3"} {
			before := c.Map()
			c.Kill(id)
			c.WaitHealthy()
			for i, p := range c.Map().Partitions {
				was := before.Partitions[i]
				if !slices.Contains(nodesOf(was.InSync), p.Primary) || was.Primary == id && p.Epoch <= was.Epoch {
					t.Errorf("%s died: %s was on %v in epoch %d, %s is the primary in epoch %d", id, p.ID, nodesOf(was.InSync), was.Epoch, p.Primary, p.Epoch)
				}
			}
			c.Restart(id)
			c.WaitHealthy()
		}
	})
}

// TestTrapProbesTakeHealthyNodesDown asks nodes for their health that cannot
// answer. They are as healthy as before.
func TestTrapProbesTakeHealthyNodesDown(t *testing.T) {
	tests := map[string]func(w http.ResponseWriter, r *http.Request){
		"blocked": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
		"failing": func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) },
	}
	for name, probed := range tests {
		t.Run(name, func(t *testing.T) {
			var broken atomic.Bool
			var options sync.Map
			serve := func(ck *clusterkit.ClusterKit) {
				o, _ := options.Load(ck.GetMyNodeID())
				l, err := o.(clusterkit.Options).Network.Listen("tcp", ck.Self().IP)
				if err != nil {
					t.Fatal(err)
				}
				go func() {
					_ = http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
						if broken.Load() {
							probed(w, r)
							return
						}
						ck.Handler().ServeHTTP(w, r)
					}))
				}()
			}
			config := clustertest.Config{
				Options: func(o *clusterkit.Options) {
					o.ExternalHTTP = true
					options.Store(o.NodeID, *o)
				},
				Prepare: serve,
			}
			inCluster(t, config, func(t *testing.T, c *clustertest.Cluster) {
				broken.Store(true)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				before := c.Map()
				var wg sync.WaitGroup
				for range 10 {
					for _, node := range before.Nodes {
						wg.Go(func() { probe(ctx, c.HTTPClient(), node.IP) })
					}
				}
				wg.Wait()
				if after := c.Map(); after.Version != before.Version {
					t.Errorf("the map has changed from %+v to %+v", before, after)
				}
				for _, node := range c.Nodes() {
					if !node.HoldsLease() {
						t.Errorf("%s has lost its lease", node.GetMyNodeID())
					}
				}
			})
		})
	}
}

// probe asks a node for its health all the time, and is impatient.
func probe(ctx context.Context, client *http.Client, addr string) {
	for ctx.Err() == nil {
		attempt, cancel := context.WithTimeout(ctx, 500*time.Millisecond)
		req, err := http.NewRequestWithContext(attempt, http.MethodGet, "http://"+addr+"/health", nil)
		if err != nil {
			panic(err)
		}
		if resp, err := client.Do(req); err == nil {
			_ = resp.Body.Close()
		}
		<-attempt.Done()
		cancel()
	}
}

// dialled notes whom a node dials.
type dialled struct {
	clusterkit.Network
	note func(address string)
}

func (d dialled) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	d.note(address)
	return d.Network.DialContext(ctx, network, address)
}

func TestTrapPortWithoutHostIsDialledAsLocalhost(t *testing.T) {
	tests := map[string]func(o *clusterkit.Options){
		"no host": func(o *clusterkit.Options) { o.HTTPAddr = ":8080" },
		"wildcards": func(o *clusterkit.Options) {
			o.HTTPAddr, o.RaftAddr, o.AdvertiseAddr = "0.0.0.0:8080", "[::]:9001", o.NodeID
		},
	}
	for name, edit := range tests {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			addresses := make(map[string]bool)
			config := clustertest.Config{Options: func(o *clusterkit.Options) {
				edit(o)
				o.Network = dialled{o.Network, func(address string) {
					mu.Lock()
					defer mu.Unlock()
					addresses[address] = true
				}}
			}}
			inCluster(t, config, func(t *testing.T, c *clustertest.Cluster) {
				c.Kill("node-2")
				c.WaitHealthy()
				c.Restart("node-2")
				c.WaitHealthy()
				reachable := make(map[string]bool)
				for _, n := range c.Map().Nodes {
					if n.IP != n.ID+":8080" || n.RaftAddr != n.ID+":9001" {
						t.Errorf("%s is told to others as %s and %s", n.ID, n.IP, n.RaftAddr)
					}
					reachable[n.IP], reachable[n.RaftAddr] = true, true
				}
				mu.Lock()
				defer mu.Unlock()
				for address := range addresses {
					if !reachable[address] {
						t.Errorf("%s was dialled", address)
					}
				}
				if len(addresses) < 4 {
					t.Errorf("only %v were dialled", addresses)
				}
			})
		})
	}
}

// takeSnapshots has each node make a snapshot, as soon as Raft can.
func takeSnapshots(c *clustertest.Cluster) {
	for _, node := range c.Nodes() {
		c.Eventually("snapshot of "+node.GetMyNodeID(), func() bool { return node.TakeSnapshot() == nil })
	}
}

// TestTrapAnotherNodesRaftIDAfterASnapshot lets nodes start from a snapshot that
// another node has made, and from their own.
func TestTrapAnotherNodesRaftIDAfterASnapshot(t *testing.T) {
	var dir string
	last := func(o *clusterkit.Options) { dir = o.DataDir }
	inCluster(t, clustertest.Config{Options: last}, func(t *testing.T, c *clustertest.Cluster) {
		takeSnapshots(c)
		c.Add("node-4")
		c.WaitHealthy()
		if sent, err := filepath.Glob(filepath.Join(dir, "raft", "snapshots", "*", "state.bin")); err != nil || len(sent) == 0 {
			t.Fatalf("node-4 was not sent a snapshot: %v", err)
		}
		checkRaftIDs(t, c)
		takeSnapshots(c)
		ids := []string{"node-4", "node-3", "node-2", "node-1"}
		for _, id := range ids {
			c.Kill(id)
		}
		for _, id := range ids {
			c.Restart(id)
		}
		c.WaitHealthy()
		checkRaftIDs(t, c)
	})
}

func checkRaftIDs(t *testing.T, c *clustertest.Cluster) {
	t.Helper()
	var want []string
	for _, n := range c.Map().Nodes {
		want = append(want, n.ID+"/"+n.Store)
	}
	leader := c.Leader()
	for _, node := range c.Nodes() {
		var raft struct {
			Leader  string
			Servers []struct{ ID string }
		}
		answer := httptest.NewRecorder()
		node.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/consensus/stats", nil))
		if err := json.Unmarshal(answer.Body.Bytes(), &raft); err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, s := range raft.Servers {
			got = append(got, s.ID)
		}
		slices.Sort(got)
		if !slices.Equal(got, want) || raft.Leader != leader {
			t.Errorf("%s sees the servers %v led by %s, want %v led by %s", node.GetMyNodeID(), got, raft.Leader, want, leader)
		}
	}
}

func TestTrapLopsidedPlacement(t *testing.T) {
	inCluster(t, clustertest.Config{}, func(t *testing.T, c *clustertest.Cluster) {
		checkLevel(t, c.Map())
		for _, more := range [][]string{{"node-4", "node-5"}, {"node-6", "node-7"}} {
			for _, id := range more {
				c.Add(id)
			}
			c.WaitHealthy()
			checkLevel(t, c.Map())
		}
	})
}

// checkLevel fails if two nodes differ by more than one copy or one primary.
func checkLevel(t *testing.T, m *clusterkit.Map) {
	t.Helper()
	primaries, copies := make([]int, len(m.Nodes)), make([]int, len(m.Nodes))
	for i, n := range m.Nodes {
		for _, p := range m.Partitions {
			if p.Primary == n.ID {
				primaries[i]++
			}
			if slices.Contains(nodesOf(p.InSync), n.ID) {
				copies[i]++
			}
		}
	}
	for what, count := range map[string][]int{"primaries": primaries, "copies": copies} {
		if slices.Max(count)-slices.Min(count) > 1 {
			t.Errorf("%d nodes have %v %s", len(m.Nodes), count, what)
		}
	}
}
