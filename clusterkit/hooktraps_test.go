package clusterkit_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/clusterkit/clustertest"
)

// ends are the methods that end a node, and wait for its hooks.
var ends = []string{"Stop", "Shutdown", "Abort", "Leave"}

// callEverything calls every other method, with arguments that mean nothing.
func callEverything(ctx context.Context, ck *clusterkit.ClusterKit, partition *clusterkit.Partition) {
	v := reflect.ValueOf(ck)
	for i := range v.NumMethod() {
		method := v.Method(i)
		var args []reflect.Value
		for in := range method.Type().Ins() {
			switch {
			case in == reflect.TypeFor[context.Context]():
				args = append(args, reflect.ValueOf(ctx))
			case in == reflect.TypeFor[*clusterkit.Partition]():
				args = append(args, reflect.ValueOf(partition))
			default:
				args = append(args, reflect.Zero(in))
			}
		}
		// Hooks and handlers cannot be added any more.
		adds := len(args) == 1 && args[0].Kind() == reflect.Func
		switch {
		case adds, slices.Contains(ends, v.Type().Method(i).Name):
		case method.Type().IsVariadic():
			method.CallSlice(args)
		default:
			method.Call(args)
		}
	}
	for _, path := range []string{"/metrics", "/partitions", "/health/detailed", "/consensus/stats"} {
		ck.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, path, nil))
	}
}

func TestTrapFiftyHooksThatCallBackDeadlock(t *testing.T) {
	const hooks = 50
	var inside, called atomic.Int64
	var together chan struct{}
	config := clustertest.Config{
		Cluster: clusterkit.Config{PartitionCount: hooks},
		Prepare: func(ck *clusterkit.ClusterKit) {
			ck.OnPartitionChange(func(partition string, from, to *clusterkit.Node) {
				if from != nil || to.ID != ck.GetMyNodeID() {
					return
				}
				// All are at the first assignment, of all partitions.
				if inside.Add(1) == hooks {
					close(together)
				}
				<-together
				ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
				defer cancel()
				p, err := ck.GetPartition(partition)
				if err != nil {
					t.Error(err)
				}
				callEverything(ctx, ck, p)
				called.Add(1)
			})
		},
	}
	synctest.Test(t, func(t *testing.T) {
		together = make(chan struct{})
		c := clustertest.New(t, config)
		c.Eventually("end of the hooks that called back", func() bool { return called.Load() == hooks })
		// They paused and cancelled moves as well.
		if err := c.Nodes()[0].ResumeMoves(t.Context()); err != nil {
			t.Fatal(err)
		}
		c.WaitHealthy()
	})
}

// TestAHookMayEndItsNode lets a hook on a node that has just joined end it, in
// each of the ways there are. It gets an answer, and the others go on.
func TestAHookMayEndItsNode(t *testing.T) {
	calls := map[string]func(ctx context.Context, ck *clusterkit.ClusterKit) error{
		"Stop":     func(_ context.Context, ck *clusterkit.ClusterKit) error { return ck.Stop() },
		"Shutdown": func(ctx context.Context, ck *clusterkit.ClusterKit) error { return ck.Shutdown(ctx) },
		"Abort":    func(ctx context.Context, ck *clusterkit.ClusterKit) error { return ck.Abort(ctx) },
		"Leave":    func(ctx context.Context, ck *clusterkit.ClusterKit) error { return ck.Leave(ctx) },
	}
	for _, end := range ends {
		t.Run(end, func(t *testing.T) {
			var called atomic.Bool
			var returned atomic.Pointer[error]
			config := clustertest.Config{Prepare: func(ck *clusterkit.ClusterKit) {
				ck.OnPartitionChange(func(_ string, from, to *clusterkit.Node) {
					if from == nil || to.ID != "node-4" || ck.GetMyNodeID() != "node-4" || called.Swap(true) {
						return
					}
					ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
					defer cancel()
					err := calls[end](ctx, ck)
					returned.Store(&err)
				})
			}}
			inCluster(t, config, func(t *testing.T, c *clustertest.Cluster) {
				node := c.Add("node-4")
				c.Eventually("return of "+end, func() bool { return returned.Load() != nil })
				if err := *returned.Load(); err != nil && !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("%s: %v", end, err)
				}
				select {
				case <-node.Done():
				default:
					t.Errorf("%s has returned, and the node runs on", end)
				}
				others := []string{"node-1", "node-2", "node-3"}
				c.WaitFor("copies and primaries on the others", func(m *clusterkit.Map) bool {
					return !slices.ContainsFunc(m.Partitions, func(p clusterkit.Partition) bool {
						return p.Primary == "node-4" || len(p.InSync) != 3 || slices.Contains(nodesOf(p.InSync), "node-4")
					})
				}, others...)
			})
		})
	}
}

func TestTrapPrimaryFlipsBeforeTheHookHasReturned(t *testing.T) {
	hooks := newHookCalls()
	inCluster(t, clustertest.Config{Prepare: hooks.record}, func(t *testing.T, c *clustertest.Cluster) {
		hooks.hold()
		c.Add("node-4")
		c.Eventually("hooks on node-4", func() bool { return len(hooks.on("node-4")) > 0 })
		time.Sleep(15 * time.Second)
		node := c.Node("node-4")
		for _, p := range c.Map().Partitions {
			if p.Primary == "node-4" || node.IsPrimary(&p) || node.IsReplica(&p) || slices.Contains(nodesOf(p.InSync), "node-4") {
				t.Errorf("%s has flipped: %+v", p.ID, p)
			}
		}
		hooks.release()
		c.WaitHealthy()
		if !slices.ContainsFunc(c.Map().Partitions, func(p clusterkit.Partition) bool { return p.Primary == "node-4" }) {
			t.Error("node-4 is never the primary")
		}
	})
}

func TestTrapPromotedReplicaIsNoSource(t *testing.T) {
	hooks := newHookCalls()
	config := clustertest.Config{Prepare: hooks.record, Cluster: clusterkit.Config{ReplicationFactor: 2}}
	inCluster(t, config, func(t *testing.T, c *clustertest.Cluster) {
		before := c.Map()
		dead := before.Partitions[0].Primary
		hooks.hold()
		c.Kill(dead)
		c.WaitFor("promotions", func(m *clusterkit.Map) bool {
			return !slices.ContainsFunc(m.Partitions, func(p clusterkit.Partition) bool { return p.Primary == dead })
		})
		promoted := c.Map()
		hooks.release()
		c.WaitHealthy()
		synctest.Wait()
		for i, p := range promoted.Partitions {
			copies := nodesOf(before.Partitions[i].InSync)
			if !slices.Contains(copies, dead) {
				continue
			}
			if !slices.Contains(copies, p.Primary) {
				t.Errorf("%s was on %v, and %s was promoted", p.ID, copies, p.Primary)
			}
			third := slices.DeleteFunc([]string{"node-1", "node-2", "node-3"}, func(id string) bool { return slices.Contains(copies, id) })[0]
			if want := (hookCall{on: third, partition: p.ID, from: p.Primary, to: third}); !slices.Contains(hooks.on(third), want) {
				t.Errorf("no %+v among %+v", want, hooks.on(third))
			}
		}
	})
}

// TestTrapReplayFiresOldHooks restarts nodes that replay their log, or restore
// a snapshot. With managed replication no copy has to be made anew then.
func TestTrapReplayFiresOldHooks(t *testing.T) {
	for name, snapshot := range map[string]bool{"from the log": false, "from a snapshot": true} {
		t.Run(name, func(t *testing.T) {
			hooks := newHookCalls()
			config := clustertest.Config{
				Options: func(o *clusterkit.Options) { o.ManagedReplication = true },
				Prepare: func(ck *clusterkit.ClusterKit) {
					hooks.record(ck)
					go replicate(ck)
				},
			}
			inCluster(t, config, func(t *testing.T, c *clustertest.Cluster) {
				synctest.Wait()
				if len(hooks.on("node-3")) == 0 {
					t.Fatal("nothing to replay: no hook has fired")
				}
				if snapshot {
					takeSnapshots(c)
				}
				hooks.forget()
				ids := []string{"node-1", "node-2", "node-3"}
				c.Kill("node-2")
				c.Restart("node-2")
				c.WaitHealthy()
				for _, id := range ids {
					c.Kill(id)
				}
				for _, id := range ids {
					c.Restart(id)
				}
				c.WaitHealthy()
				synctest.Wait()
				for _, id := range ids {
					if calls := hooks.on(id); len(calls) > 0 {
						t.Errorf("old hooks have fired: %+v", calls)
					}
				}
			})
		})
	}
}

// replicate is the application of a node with ManagedReplication: it has every
// copy at once, and hands over where that is wanted.
func replicate(ck *clusterkit.ClusterKit) {
	ctx := context.Background()
	for m := range ck.Watch(ctx) {
		for _, p := range m.Partitions {
			if p.Primary != ck.GetMyNodeID() {
				continue
			}
			wanted, ready := m.CurrentMember(&p, p.Desired[0])
			switch {
			case len(p.InSync) < len(p.Members):
				_ = ck.ProposeInSync(ctx, clusterkit.InSyncChange{Partition: p.Index, Epoch: p.Epoch, Version: p.Version, InSync: p.Members})
			case p.Desired[0] != p.Primary && ready && p.IsInSync(wanted) && m.Present(wanted):
				_ = ck.Transfer(ctx, clusterkit.TransferRequest{Partition: p.Index, Epoch: p.Epoch, From: p.Primary, To: p.Desired[0]})
			}
		}
	}
}
