package target

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
)

func TestMemory(t *testing.T) { accept(t, NewMemory()) }

func TestCluster(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	c, err := localcluster.Start(ctx, localcluster.Options{Binary: kvnode, Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	if err := c.WaitInSync(ctx); err != nil {
		t.Fatal(err)
	}
	var redisAddrs []string
	for _, n := range c.Nodes() {
		redisAddrs = append(redisAddrs, n.RESPAddr)
	}
	for protocol, endpoints := range map[string][]string{HTTP: c.Endpoints(), Client: c.Endpoints(), RESPCluster: redisAddrs} {
		for _, connections := range []int{0, 2} {
			t.Run(fmt.Sprintf("%s with %d connections", protocol, connections), func(t *testing.T) {
				accept(t, open(t, protocol, Options{Endpoints: endpoints, Connections: connections}))
			})
		}
	}
	t.Run("one server of a single node", func(t *testing.T) {
		c, err := localcluster.Start(ctx, localcluster.Options{Binary: kvnode, Nodes: 1, Dir: t.TempDir()})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		if err := c.WaitInSync(ctx); err != nil {
			t.Fatal(err)
		}
		accept(t, open(t, RESP, Options{Endpoints: []string{c.Nodes()[0].RESPAddr}}))
	})
}

func TestRedis(t *testing.T) {
	binary, err := exec.LookPath("redis-server")
	if err != nil {
		t.Skip("redis-server is not installed")
	}
	t.Run(RESP, func(t *testing.T) {
		addr := startRedis(t, binary, "no")
		accept(t, open(t, RESP, Options{Endpoints: []string{addr}}))
	})
	t.Run(RESPCluster, func(t *testing.T) {
		addr := startRedis(t, binary, "yes")
		cl := redis.NewClient(&redis.Options{Addr: addr})
		if err := cl.ClusterAddSlotsRange(t.Context(), 0, slotCount-1).Err(); err != nil {
			t.Fatal(err)
		}
		eventually(t, func() bool { return strings.Contains(cl.ClusterInfo(t.Context()).Val(), "cluster_state:ok") })
		if err := cl.Close(); err != nil {
			t.Fatal(err)
		}
		accept(t, open(t, RESPCluster, Options{Endpoints: []string{addr}}))
	})
}

func open(t *testing.T, protocol string, o Options) Target {
	t.Helper()
	target, err := Open(t.Context(), protocol, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := target.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
	return target
}

// startRedis starts a server that ends with the test.
func startRedis(t *testing.T, binary, clustered string) (addr string) {
	t.Helper()
	dir := t.TempDir()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr = l.Addr().String()
	l.Close()
	port := addr[strings.LastIndex(addr, ":")+1:]
	bus, _ := strconv.Atoi(port)
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary, "--port", port, "--bind", "127.0.0.1", "--dir", dir, "--save", "", "--cluster-enabled", clustered, "--cluster-port", strconv.Itoa(busPort(bus)))
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		_ = log.Close()
	})
	eventually(t, func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
	return addr
}

// busPort returns a port for the traffic between nodes, of which there are none
// here.
func busPort(port int) int {
	if port > 40000 {
		return port - 10000
	}
	return port + 10000
}

func eventually(t *testing.T, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("it did not come about in time")
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-t.Context().Done():
		}
	}
}

// accept is what every target has to do.
func accept(t *testing.T, target Target) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	do := func(t *testing.T, op Op) Result {
		t.Helper()
		r, err := target.Do(ctx, op)
		if err != nil {
			t.Fatalf("%s %q: %v (%v)", op.Kind, op.Key, err, OutcomeOf(err))
		}
		return r
	}
	get := func(t *testing.T, key, want string) {
		t.Helper()
		if r := do(t, Op{Kind: Get, Key: key}); !r.Found || string(r.Value) != want {
			t.Errorf("get %q: %q, found %v, want %q", key, r.Value, r.Found, want)
		}
	}
	// A key of its own for each run of the suite against one store.
	key := func(name string) string { return fmt.Sprintf("{%d}/%s / %%\x01", time.Now().UnixNano(), name) }

	t.Run("get set delete", func(t *testing.T) {
		k := key("k")
		if r := do(t, Op{Kind: Get, Key: k}); r.Found || r.Value != nil {
			t.Errorf("get of what was never set: %+v", r)
		}
		for _, value := range []string{"one", "\x00\xff\r\n", strings.Repeat("x", 100_000)} {
			set := do(t, Op{Kind: Set, Key: k, Value: []byte(value)})
			get(t, k, value)
			if r := do(t, Op{Kind: Get, Key: k}); r.Version == "" || r.Version != set.Version {
				t.Errorf("version %.40q after a set to %.40q", r.Version, set.Version)
			}
		}
		for range 2 {
			do(t, Op{Kind: Delete, Key: k})
			if r := do(t, Op{Kind: Get, Key: k}); r.Found {
				t.Errorf("get after delete: %q", r.Value)
			}
		}
	})
	t.Run("create", func(t *testing.T) {
		k := key("k")
		first := do(t, Op{Kind: Create, Key: k, Value: []byte("first")})
		second := do(t, Op{Kind: Create, Key: k, Value: []byte("second")})
		if !first.Met || second.Met {
			t.Errorf("created: %v, again: %v", first.Met, second.Met)
		}
		get(t, k, "first")
	})
	t.Run("compare and set", func(t *testing.T) {
		k := key("k")
		if !target.Supports(CompareAndSet) {
			_, err := target.Do(ctx, Op{Kind: CompareAndSet, Key: k})
			if OutcomeOf(err) != Failed {
				t.Errorf("%v", err)
			}
			return
		}
		one := do(t, Op{Kind: Set, Key: k, Value: []byte("1")})
		two := do(t, Op{Kind: CompareAndSet, Key: k, Value: []byte("2"), Version: one.Version})
		late := do(t, Op{Kind: CompareAndSet, Key: k, Value: []byte("3"), Version: one.Version})
		absent := do(t, Op{Kind: CompareAndSet, Key: key("other"), Value: []byte("4"), Version: one.Version})
		if !two.Met || late.Met || absent.Met {
			t.Errorf("met: %v, late: %v, of an absent key: %v", two.Met, late.Met, absent.Met)
		}
		get(t, k, "2")
	})
	t.Run("increment", func(t *testing.T) {
		k := key("k")
		for _, step := range []struct{ delta, want int64 }{{5, 5}, {-7, -2}, {2, 0}} {
			if r := do(t, Op{Kind: Increment, Key: k, Delta: step.delta}); r.Number != step.want {
				t.Errorf("%d, want %d", r.Number, step.want)
			}
		}
		get(t, k, "0")
		do(t, Op{Kind: Set, Key: k, Value: []byte("x")})
		if _, err := target.Do(ctx, Op{Kind: Increment, Key: k, Delta: 1}); OutcomeOf(err) != Failed {
			t.Errorf("increment of no number: %v, %v", OutcomeOf(err), err)
		}
	})
	t.Run("append", func(t *testing.T) {
		k := key("k")
		for i, part := range []string{"a", "bc", "d"} {
			if r, want := do(t, Op{Kind: Append, Key: k, Value: []byte(part)}), int64([]int{1, 3, 4}[i]); r.Number != want {
				t.Errorf("length %d, want %d", r.Number, want)
			}
		}
		get(t, k, "abcd")
	})
	t.Run("mget", func(t *testing.T) {
		keys := []string{key("a"), strconv.Itoa(time.Now().Nanosecond()), key("absent")}
		for _, k := range keys[:2] {
			do(t, Op{Kind: Set, Key: k, Value: []byte("of " + k)})
		}
		op := Op{Kind: MGet}
		for _, k := range keys {
			op.Ops = append(op.Ops, Op{Kind: Get, Key: k})
		}
		r := do(t, op)
		if len(r.Results) != 3 || string(r.Results[0].Value) != "of "+keys[0] || string(r.Results[1].Value) != "of "+keys[1] || r.Results[2].Found {
			t.Errorf("%+v", r)
		}
	})
	t.Run("batch", func(t *testing.T) {
		base := key("")
		r := do(t, Op{Kind: Batch, Ops: []Op{
			{Kind: Set, Key: base + "a", Value: []byte("1")},
			{Kind: Increment, Key: base + "a", Delta: 41},
			{Kind: Append, Key: base + "b", Value: []byte("xyz")},
			{Kind: Get, Key: base + "a"},
			{Kind: Delete, Key: base + "a"},
			{Kind: Get, Key: base + "a"},
		}})
		if len(r.Results) != 6 || r.Results[1].Number != 42 || r.Results[2].Number != 3 || string(r.Results[3].Value) != "42" || r.Results[5].Found {
			t.Errorf("%+v", r.Results)
		}
		get(t, base+"b", "xyz")
		_, err := target.Do(ctx, Op{Kind: Batch, Ops: []Op{{Kind: Set, Key: base + "b", Value: []byte("new")}, {Kind: Create, Key: base + "c"}}})
		if OutcomeOf(err) != Failed {
			t.Errorf("a batch with a condition: %v, %v", OutcomeOf(err), err)
		}
		get(t, base+"b", "xyz")
	})
	t.Run("many at once", func(t *testing.T) {
		k := key("k")
		var clients sync.WaitGroup
		sums := make([]int64, 20)
		for i := range sums {
			clients.Go(func() {
				r, err := target.Do(ctx, Op{Kind: Increment, Key: k, Delta: 1})
				if err != nil {
					t.Errorf("increment: %v", err)
				}
				sums[i] = r.Number
			})
		}
		clients.Wait()
		slices.Sort(sums)
		for i, sum := range sums {
			if sum != int64(i+1) {
				t.Fatalf("sums %v", sums)
			}
		}
	})
	t.Run("nothing before its time", func(t *testing.T) {
		over, cancel := context.WithCancel(ctx)
		cancel()
		k := key("k")
		if _, err := target.Do(over, Op{Kind: Set, Key: k, Value: []byte("x")}); OutcomeOf(err) == OK {
			t.Error("a set succeeded after its context had ended")
		}
		if _, err := target.Do(over, Op{Kind: Get, Key: k}); OutcomeOf(err) != Failed {
			t.Errorf("a read after its context had ended: %v, %v", OutcomeOf(err), err)
		}
		if _, err := target.Do(ctx, Op{Kind: "no such kind"}); OutcomeOf(err) != Failed {
			t.Errorf("an operation that there is not: %v, %v", OutcomeOf(err), err)
		}
	})
	if target.Supports(Scan) {
		t.Run("scan", func(t *testing.T) {
			base := key("")
			for _, s := range []string{"a", "b", "c"} {
				do(t, Op{Kind: Set, Key: base + s, Value: []byte(s)})
			}
			r := do(t, Op{Kind: Scan, Key: base + "b", Limit: 2})
			if len(r.Results) < 2 || !bytes.Equal(r.Results[0].Value, []byte("b")) || !bytes.Equal(r.Results[1].Value, []byte("c")) {
				t.Errorf("%+v", r)
			}
		})
	}
	if target.Supports(ScanPrefix) {
		t.Run("scan of a prefix", func(t *testing.T) {
			base := key("")
			scan := Op{Kind: ScanPrefix, Key: base}
			for _, s := range []string{"a", "b", "c", "d"} {
				scan.Ops = append(scan.Ops, Op{Kind: Get, Key: base + s})
				if s != "b" {
					do(t, Op{Kind: Set, Key: base + s, Value: []byte(s)})
				}
			}
			r := do(t, scan)
			if len(r.Results) != 4 || r.Results[1].Found || string(r.Results[2].Value) != "c" || r.Results[2].Version == "" {
				t.Errorf("%+v", r)
			}
			do(t, Op{Kind: Set, Key: base + "beside", Value: []byte("x")})
			if r := do(t, scan); len(r.Results) != 5 || string(r.Results[4].Value) != "x" {
				t.Errorf("with a key that is not expected: %+v", r)
			}
		})
	}
}
