package e2e

import (
	"context"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/load"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
)

// ctl runs kvctl as an operator does, and returns what it prints.
func ctl(t *testing.T, ctx context.Context, c *localcluster.Cluster, args ...string) string {
	t.Helper()
	args = append(args, "--endpoints", strings.Join(c.Endpoints(), ","), "--timeout", "2m")
	out, err := exec.CommandContext(ctx, kvctl, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("kvctl %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// underLoad runs do while clients write registers, numbers and conditional
// writes, and fails the test if an effect of them is lost or doubled, or if a
// request failed that was tried again as a client may.
func underLoad(t *testing.T, ctx context.Context, c *localcluster.Cluster, do func()) {
	t.Helper()
	n := startCounting(t, ctx, c)
	p := new(progress)
	result, err := load.During(ctx, writers(), p.over(storeOf(t, c)), func(ctx context.Context) error {
		if err := p.wait(ctx, each); err != nil {
			return err
		}
		do()
		return p.wait(ctx, each)
	})
	n.finish(ctx)
	must(t, "load", err)
	mustPass(t, result)
}

// balanced waits until all copies and primaries are where they should be.
func balanced(t *testing.T, ctx context.Context, c *localcluster.Cluster) {
	t.Helper()
	ctl(t, ctx, c, "cluster", "wait", "--for", "balanced")
	ctl(t, ctx, c, "cluster", "wait", "--for", "healthy")
}

// copiesOf returns the partitions that each node has a copy of.
func copiesOf(s *client.Status) map[string][]string {
	copies := make(map[string][]string)
	for _, n := range s.Nodes {
		copies[n.ID] = nil
	}
	for _, p := range s.Partitions {
		for _, m := range p.Members {
			copies[m.Node] = append(copies[m.Node], p.ID)
		}
	}
	return copies
}

// leastMoves is the least number of copies that must be made so that every node
// of after holds as many as it does.
func leastMoves(before, after map[string][]string) int {
	moves := 0
	for node, copies := range after {
		moves += max(0, len(copies)-len(before[node]))
	}
	return moves
}

// change does something that moves copies, waits until all are in place, and
// checks that no more were moved than it takes, and that the nodes are level.
func change(t *testing.T, ctx context.Context, c *localcluster.Cluster, do func()) {
	t.Helper()
	balanced(t, ctx, c)
	before, err := c.Status(ctx)
	must(t, "status", err)
	do()
	balanced(t, ctx, c)
	after, err := c.Status(ctx)
	must(t, "status", err)
	was, is := copiesOf(before), copiesOf(after)
	made := 0
	for node, copies := range is {
		for _, p := range copies {
			if !slices.Contains(was[node], p) {
				made++
			}
		}
	}
	if least := leastMoves(was, is); made != least {
		t.Errorf("%d copies were made, %d is what it takes", made, least)
	}
	t.Logf("%d copies were made: %v", made, counts(is))
}

func counts(copies map[string][]string) map[string]int {
	out := make(map[string]int)
	for node, of := range copies {
		out[node] = len(of)
	}
	return out
}

// mustBeLevel fails the test unless the nodes hold the same number of copies, and
// of primaries, within one.
func mustBeLevel(t *testing.T, ctx context.Context, c *localcluster.Cluster) {
	t.Helper()
	s, err := c.Status(ctx)
	must(t, "status", err)
	primaries := make(map[string]int)
	for _, n := range s.Nodes {
		primaries[n.ID] = 0
	}
	for _, p := range s.Partitions {
		primaries[p.Primary]++
	}
	for what, held := range map[string]map[string]int{"copies": counts(copiesOf(s)), "primaries": primaries} {
		all := slices.Collect(maps.Values(held))
		if slices.Max(all)-slices.Min(all) > 1 {
			t.Errorf("%s are not level: %v", what, held)
		}
	}
}

// join starts one more node.
func join(t *testing.T, ctx context.Context, c *localcluster.Cluster) int {
	t.Helper()
	i, err := c.Add()
	must(t, "add a node", err)
	must(t, "start", c.Restart(ctx, i))
	must(t, "wait", c.WaitReady(ctx))
	return i
}

// TestGrowAndShrink takes a cluster from three nodes to five and back.
func TestGrowAndShrink(t *testing.T) {
	ctx := within(t, 6*time.Minute)
	c := startCluster(t, ctx, 3)
	underLoad(t, ctx, c, func() {
		var joined []int
		for range 2 {
			change(t, ctx, c, func() { joined = append(joined, join(t, ctx, c)) })
			mustBeLevel(t, ctx, c)
		}
		for _, i := range joined {
			change(t, ctx, c, func() {
				ctl(t, ctx, c, "node", "decommission", c.Nodes()[i].ID)
				must(t, "leave", c.Left(ctx, i))
			})
			mustBeLevel(t, ctx, c)
		}
	})
}

// TestDrainTheBusiest drains the node that leads the control plane and most
// partitions, and takes it back.
func TestDrainTheBusiest(t *testing.T) {
	ctx := within(t, 5*time.Minute)
	c := startCluster(t, ctx, 4)
	underLoad(t, ctx, c, func() {
		balanced(t, ctx, c)
		s, err := c.Status(ctx)
		must(t, "status", err)
		ctl(t, ctx, c, "node", "weight", s.Leader, "2")
		balanced(t, ctx, c)
		change(t, ctx, c, func() { ctl(t, ctx, c, "node", "drain", s.Leader) })
		if s, err = c.Status(ctx); err != nil || len(copiesOf(s)[s.Leader]) != 0 && s.Leader != "" {
			t.Logf("it leads still, and holds %v", copiesOf(s)[s.Leader])
		}
		change(t, ctx, c, func() { ctl(t, ctx, c, "node", "undrain", s.Leader) })
		change(t, ctx, c, func() { ctl(t, ctx, c, "node", "weight", s.Leader, "1") })
		mustBeLevel(t, ctx, c)
	})
}

// TestRollingRestart stops and starts one node after the other.
func TestRollingRestart(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	c := startCluster(t, ctx, 3)
	underLoad(t, ctx, c, func() {
		for i := range c.Nodes() {
			must(t, "stop", c.Stop(ctx, i))
			must(t, "start", c.Restart(ctx, i))
			must(t, "wait", c.WaitInSync(ctx))
		}
		balanced(t, ctx, c)
		mustBeLevel(t, ctx, c)
	})
}
