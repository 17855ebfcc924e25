package main

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/clusterkit/clustertest"
)

// testNodes are the caches of a cluster in this process.
type testNodes struct {
	mu       sync.Mutex
	caches   map[string]*cache
	handlers map[string]http.Handler
}

// slow is a network that takes its time, above all for copies.
type slow struct{ http.RoundTripper }

func (s slow) RoundTrip(r *http.Request) (*http.Response, error) {
	pause(r.Context(), rand.N(10*time.Millisecond))
	resp, err := s.RoundTripper.RoundTrip(r)
	if pause(r.Context(), rand.N(10*time.Millisecond)); r.URL.Path == "/copy" {
		pause(r.Context(), rand.N(500*time.Millisecond))
	}
	return resp, err
}

// start returns a cluster with a cache on each node.
func start(t *testing.T, config clusterkit.Config) (*clustertest.Cluster, *testNodes) {
	t.Helper()
	nodes := &testNodes{caches: make(map[string]*cache), handlers: make(map[string]http.Handler)}
	networks := make(map[string]clusterkit.Network)
	return clustertest.New(t, clustertest.Config{
		Cluster: config,
		Options: func(o *clusterkit.Options) {
			o.VolatileStore, o.ExternalHTTP = true, true
			networks[o.NodeID] = o.Network
		},
		Prepare: func(ck *clusterkit.ClusterKit) {
			network := networks[ck.GetMyNodeID()]
			transport := slow{&http.Transport{DialContext: network.DialContext, DisableKeepAlives: true}}
			node := newCache(ck, transport)
			handler := node.routes()
			l, err := network.Listen("tcp", ck.Self().IP)
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: handler}
			go func() { _ = server.Serve(l) }()
			t.Cleanup(func() {
				_ = server.Close()
				pause(context.Background(), time.Second) // its connections linger
			})
			nodes.mu.Lock()
			defer nodes.mu.Unlock()
			nodes.caches[ck.GetMyNodeID()], nodes.handlers[ck.GetMyNodeID()] = node, handler
		},
	}), nodes
}

// ask sends a request to a node and returns the status and the body.
func (n *testNodes) ask(id, method, key, body string) (int, string) {
	n.mu.Lock()
	handler := n.handlers[id]
	n.mu.Unlock()
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest(method, "/cache/"+key, bytes.NewReader([]byte(body))))
	return w.Code, w.Body.String()
}

func TestGetPutDelete(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := start(t, clusterkit.Config{})
		c.WaitHealthy()
		for _, step := range []struct {
			node, method, body string
			status             int
			want               string
		}{
			{"node-1", "GET", "", 404, "404 page not found\n"},
			{"node-2", "PUT", "one", 204, ""},
			{"node-3", "GET", "", 200, "one"},
			{"node-1", "PUT", "", 204, ""},
			{"node-2", "GET", "", 200, ""},
			{"node-3", "DELETE", "", 204, ""},
			{"node-1", "GET", "", 404, "404 page not found\n"},
			{"node-1", "PUT", string(make([]byte, maxValue+1)), 413, "http: request body too large\n"},
		} {
			if status, body := nodes.ask(step.node, step.method, "a%20key", step.body); status != step.status || body != step.want {
				t.Errorf("%s on %s: %d %q, want %d %q", step.method, step.node, status, body, step.status, step.want)
			}
		}
	})
}

// TestWhoIsRefused asks a node in the name of primaries and copies of before.
func TestWhoIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := start(t, clusterkit.Config{PartitionCount: 1})
		c.WaitHealthy()
		c.Kill(c.WaitPrimary("key"))
		c.WaitHealthy()
		primary := nodes.caches[c.WaitPrimary("key")]
		p := primary.partition(0)
		replica := nodes.caches[primary.ck.GetReplicas(p)[0].ID]
		own, _ := p.MemberOf(replica.ck.GetMyNodeID())
		other, earlier := own, own
		other.Store = "another"
		earlier.Incarnation--
		values := map[string]value{"key": {Epoch: p.Epoch, Seq: 1000, Data: []byte("new")}}
		for _, u := range []update{
			{To: own, Epoch: p.Epoch - 1, Values: values},
			{To: other, Epoch: p.Epoch, Values: values},
			{To: earlier, Epoch: p.Epoch, Values: values},
		} {
			if _, ok := replica.take(u); ok {
				t.Errorf("the replica has taken %+v in epoch %d", u, p.Epoch)
			}
		}
		if _, ok := replica.take(update{To: own, Epoch: p.Epoch, Values: values}); !ok {
			t.Error("the replica has not taken what its primary sends")
		}
		if _, ok := replica.give(clusterkit.PartitionChange{Member: own}); ok {
			t.Error("a replica gives what may not be all")
		}
		if _, ok := primary.give(clusterkit.PartitionChange{Member: earlier}); ok {
			t.Error("the primary gives to a copy of which it does not know")
		}
		if _, ok := primary.give(clusterkit.PartitionChange{Member: own}); !ok {
			t.Error("the primary does not give")
		}
		for _, method := range []string{"GET", "PUT", "DELETE"} {
			w, r := httptest.NewRecorder(), httptest.NewRequest(method, "/cache/key", nil)
			r.Header.Set(forwarded, "another node")
			if replica.routes().ServeHTTP(w, r); w.Code != http.StatusServiceUnavailable {
				t.Errorf("%s at a replica: %d", method, w.Code)
			}
		}
	})
}

// TestAReadMakesSure finds a value that only the primary has, from an epoch whose
// primary may have died over it: who has read it must find it on all others.
func TestAReadMakesSure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := start(t, clusterkit.Config{PartitionCount: 1})
		c.WaitHealthy()
		c.Kill(c.WaitPrimary("key"))
		c.WaitHealthy()
		id := c.WaitPrimary("key")
		p := nodes.caches[id].partition(0)
		have := func(node *cache) value {
			node.mu.Lock()
			defer node.mu.Unlock()
			member, _ := p.MemberOf(node.ck.GetMyNodeID())
			return node.own(0, member)["key"]
		}
		primary := nodes.caches[id]
		primary.mu.Lock()
		merge(primary.copies[0].values, map[string]value{"key": {Epoch: p.Epoch - 1, Seq: 7, Data: []byte("v")}})
		primary.mu.Unlock()
		if status, body := nodes.ask(id, "GET", "key", ""); status != 200 || body != "v" {
			t.Fatalf("read: %d %q", status, body)
		}
		for _, node := range primary.ck.GetNodes(p) {
			if v := have(nodes.caches[node.ID]); string(v.Data) != "v" || v.Epoch != p.Epoch || v.Seq != 0 {
				t.Errorf("%s has %+v in epoch %d", node.ID, v, p.Epoch)
			}
		}
	})
}

// register checks what one writer and many readers of a key see. The writer
// counts up.
type register struct {
	mu sync.Mutex
	// tried is the last number that was written, known the last that was
	// acknowledged or read: no later read may return an older one.
	tried, known int
}

func (r *register) write(put func(n int) bool) {
	r.mu.Lock()
	r.tried++
	n := r.tried
	r.mu.Unlock()
	if put(n) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.known = max(r.known, n)
	}
}

func (r *register) read(get func() (n int, ok bool)) error {
	r.mu.Lock()
	known := r.known
	r.mu.Unlock()
	n, ok := get()
	r.mu.Lock()
	defer r.mu.Unlock()
	if ok && (n < known || n > r.tried) {
		return fmt.Errorf("read %d after %d was known and before %d was written", n, known, r.tried+1)
	}
	if ok {
		r.known = max(r.known, n)
	}
	return nil
}

// TestNothingIsLost writes and reads on all nodes, also on those that are cut off,
// while nodes are cut off, stand still and are killed, and return.
func TestNothingIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, nodes := start(t, clusterkit.Config{PartitionCount: 3})
		c.WaitHealthy()
		ids := []string{"node-1", "node-2", "node-3"}
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		var done sync.Map
		registers := make([]*register, 3)
		for i := range registers {
			registers[i] = new(register)
			key := fmt.Sprintf("key-%d", i)
			wg.Go(func() {
				for ctx.Err() == nil {
					registers[i].write(func(n int) bool {
						status, _ := nodes.ask(ids[rand.IntN(3)], "PUT", key, strconv.Itoa(n))
						done.LoadOrStore(fmt.Sprint("PUT ", status), true)
						return status == 204
					})
					pause(ctx, 100*time.Millisecond)
				}
			})
			for _, id := range ids {
				wg.Go(func() {
					for ctx.Err() == nil {
						err := registers[i].read(func() (int, bool) {
							status, body := nodes.ask(id, "GET", key, "")
							done.LoadOrStore(fmt.Sprint("GET ", status), true)
							n, err := strconv.Atoi(body)
							return n, status == 404 || status == 200 && err == nil
						})
						if err != nil {
							t.Errorf("%s on %s: %v", key, id, err)
						}
						pause(ctx, 80*time.Millisecond)
					}
				})
			}
		}
		for range 5 {
			id := ids[rand.IntN(3)]
			fault := rand.IntN(3)
			t.Log("fault", fault, "on", id)
			switch fault {
			case 0:
				c.Isolate(id)
			case 1:
				c.Pause(id)
			case 2:
				c.Kill(id)
			}
			pause(ctx, time.Duration(rand.IntN(5000))*time.Millisecond)
			switch fault {
			case 0:
				c.Heal()
			case 1:
				c.Resume(id)
			case 2:
				c.Restart(id)
			}
			c.WaitHealthy()
			pause(ctx, 100*time.Millisecond)
		}
		cancel()
		wg.Wait()
		for i, r := range registers {
			c.Eventually("last value of each key", func() bool {
				status, body := nodes.ask("node-1", "GET", fmt.Sprintf("key-%d", i), "")
				n, err := strconv.Atoi(body)
				return status == 200 && err == nil && n >= r.known && r.known > 0
			})
		}
		done.Range(func(outcome, _ any) bool {
			t.Log(outcome)
			return true
		})
	})
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}
