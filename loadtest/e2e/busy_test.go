package e2e

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/load"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
)

var busyFor = flag.Duration("busy", 10*time.Second, "how long the machine is kept busy in TestNoFalseFailover")

// spinVariable makes the test binary a process that only uses a processor.
const spinVariable = "CLUSTERKIT_E2E_SPIN"

func spin() {
	for {
		if os.Getppid() == 1 {
			os.Exit(0)
		}
		for range 1 << 28 {
		}
	}
}

// keepBusy runs twice as many spinning processes as there are processors,
// until the test ends.
func keepBusy(t *testing.T) {
	t.Helper()
	self, err := os.Executable()
	must(t, "own path", err)
	for range 2 * runtime.NumCPU() {
		cmd := exec.Command(self)
		cmd.Env = append(os.Environ(), spinVariable+"=1")
		must(t, "spin", cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
	}
}

// roles is what a failover changes: the sessions of the nodes, and who leads
// the partitions in which epoch.
func roles(s *client.Status) map[string]string {
	out := make(map[string]string)
	for _, n := range s.Nodes {
		out[n.ID] = fmt.Sprintf("alive %t, incarnation %d", n.Alive, n.Incarnation)
	}
	for _, p := range s.Partitions {
		out[p.ID] = fmt.Sprintf("epoch %d, primary %s", p.Epoch, p.Primary)
	}
	return out
}

// settle waits until every copy and every primary is where the planner wants
// it.
func settle(t *testing.T, ctx context.Context, c *localcluster.Cluster) {
	t.Helper()
	for {
		var stats struct {
			Moving *int `json:"moving"`
		}
		decode(t, request(t, ctx, "GET", "http://"+c.Endpoints()[0]+"/partitions/stats", nil), &stats)
		if stats.Moving != nil && *stats.Moving == 0 {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatal("the copies do not settle")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// raftTerm is the number of the control plane's term: each election begins one.
func raftTerm(t *testing.T, ctx context.Context, c *localcluster.Cluster) uint64 {
	t.Helper()
	var stats struct {
		Term uint64 `json:"term"`
	}
	decode(t, request(t, ctx, "GET", "http://"+c.Endpoints()[0]+"/consensus/stats", nil), &stats)
	if stats.Term == 0 {
		t.Fatal("the control plane is in no term")
	}
	return stats.Term
}

// TestNoFalseFailover keeps every processor busy while clients write: nobody
// may be taken for dead.
func TestNoFalseFailover(t *testing.T) {
	ctx := within(t, *busyFor+3*time.Minute)
	c := startCluster(t, ctx, 3)
	settle(t, ctx, c)
	before, err := c.Status(ctx)
	must(t, "status", err)
	term := raftTerm(t, ctx, c)
	keepBusy(t)
	p := new(progress)
	result, err := load.During(ctx, writers(), p.over(storeOf(t, c)), func(ctx context.Context) error {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(*busyFor):
			return nil
		}
	})
	must(t, "load", err)
	mustPass(t, result)
	after, err := c.Status(ctx)
	must(t, "status", err)
	now := roles(after)
	for name, was := range roles(before) {
		if now[name] != was {
			t.Errorf("%s: was %s, is %s", name, was, now[name])
		}
	}
	t.Logf("busy for %v: the control plane began %d terms", *busyFor, raftTerm(t, ctx, c)-term)
}
