package e2e

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/load"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
	"github.com/skshohagmiah/clusterkit/loadtest/report"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// writers are 16 clients that mostly write.
func writers() load.Config {
	cfg := load.Defaults()
	cfg.Mix = load.Mix{Name: load.Custom, Shares: map[load.Operation]float64{load.Read: 10, load.Update: 90}, Distribution: load.Uniform}
	cfg.VerifyTimeout = 2 * time.Minute
	return cfg
}

// mustPass fails the test for a run in which anything was lost, and shows it.
func mustPass(t *testing.T, r *load.Result) {
	t.Helper()
	must(t, "report", (&report.Report{Load: r}).WriteText(t.Output()))
	if r.Verdict() != load.Passed {
		t.Error("acknowledged writes were lost, or could not be read back")
	}
}

// progress counts the writes that are acknowledged.
type progress struct{ acknowledged atomic.Int64 }

// watched counts the writes to a store.
type watched struct {
	target.Target
	progress *progress
}

func (w watched) Do(ctx context.Context, op target.Op) (target.Result, error) {
	r, err := w.Target.Do(ctx, op)
	if err == nil && op.Kind == target.Set {
		w.progress.acknowledged.Add(1)
	}
	return r, err
}

// over returns the store, watched.
func (p *progress) over(store target.Target) target.Target { return watched{store, p} }

// wait returns when n more writes have been acknowledged.
func (p *progress) wait(ctx context.Context, n int64) error {
	goal := p.acknowledged.Load() + n
	for p.acknowledged.Load() < goal {
		select {
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d more writes: %w", goal-p.acknowledged.Load(), ctx.Err())
		case <-time.After(10 * time.Millisecond):
		}
	}
	return nil
}

// each is how many writes must succeed between two faults.
const each = 500

var kills = flag.Int("kills", 5, "how often TestPrimaryKilled kills a primary")

func TestPrimaryKilled(t *testing.T) {
	ctx := within(t, 2*time.Minute+time.Duration(*kills)*time.Minute)
	c := startCluster(t, ctx, 3)
	p := new(progress)
	failovers := make(map[bool][]time.Duration)
	result, err := load.During(ctx, writers(), p.over(storeOf(t, c)), func(ctx context.Context) error {
		for i := range *kills {
			leads := i%2 == 1
			failover, err := killPrimary(ctx, t, c, p, leads)
			if err != nil {
				return err
			}
			failovers[leads] = append(failovers[leads], failover)
		}
		return nil
	})
	must(t, "load", err)
	mustPass(t, result)
	for leads, took := range failovers {
		slices.Sort(took)
		n := len(took)
		t.Logf("%d failovers of a node that led the control plane (%t): p50 %v, p99 %v", n, leads, took[n/2], took[(n*99+99)/100-1])
	}
}

// killPrimary kills the primary of a partition that is being written to, on the
// node that leads the control plane or on another, waits until others have taken
// over and writes go on, and brings it back. It returns how long it took until
// others had taken over everything.
func killPrimary(ctx context.Context, t *testing.T, c *localcluster.Cluster, progress *progress, leads bool) (time.Duration, error) {
	if err := progress.wait(ctx, each); err != nil {
		return 0, err
	}
	status, err := c.Status(ctx)
	if err != nil {
		return 0, err
	}
	status.Partitions = slices.DeleteFunc(status.Partitions, func(p client.Partition) bool { return (p.Primary == status.Leader) != leads })
	if len(status.Partitions) == 0 {
		return 0, fmt.Errorf("no partition has a primary on such a node: the control plane is led by %q", status.Leader)
	}
	p := busy(status)
	victim, err := c.Index(p.Primary)
	if err != nil {
		return 0, err
	}
	if err := c.Kill9(ctx, victim); err != nil {
		return 0, err
	}
	killed := time.Now()
	if err := c.WaitReady(ctx); err != nil {
		return 0, err
	}
	failover := time.Since(killed).Round(time.Millisecond)
	t.Logf("%s, the primary of %s, was killed; others had taken over after %v (it led the control plane: %t)", p.Primary, p.ID, failover, leads)
	if err := progress.wait(ctx, each); err != nil {
		return 0, err
	}
	if err := c.Restart(ctx, victim); err != nil {
		return 0, err
	}
	return failover, c.WaitInSync(ctx)
}

// busy returns a partition of the node that leads the most of them. All are
// written to alike.
func busy(s *client.Status) client.Partition {
	led := map[string]int{}
	best := s.Partitions[0]
	for _, p := range s.Partitions {
		if led[p.Primary]++; led[p.Primary] > led[best.Primary] {
			best = p
		}
	}
	return best
}

// All nodes lose power under load: at once after the cluster was formed, and
// after it has worked for a while.
func TestAllKilledAtOnce(t *testing.T) {
	ctx := within(t, 5*time.Minute)
	c := startCluster(t, ctx, 3)
	cl := clientOf(t, c, 0)
	_, err := cl.Set(ctx, "before", []byte("the power cut"))
	must(t, "set", err)
	p := new(progress)
	result, err := load.During(ctx, writers(), p.over(storeOf(t, c)), func(ctx context.Context) error {
		for _, writes := range []int64{0, 2 * each, 2 * each} {
			if err := p.wait(ctx, writes); err != nil {
				return err
			}
			if err := c.KillAll(ctx); err != nil {
				return err
			}
			for i := range c.Nodes() {
				if err := c.Restart(ctx, i); err != nil {
					return err
				}
			}
			if err := c.WaitInSync(ctx); err != nil {
				return err
			}
		}
		return nil
	})
	must(t, "load", err)
	mustPass(t, result)
	got, err := cl.Get(ctx, "before")
	if err != nil || string(got.Data) != "the power cut" {
		t.Errorf("get: %q, %v", got.Data, err)
	}
}
