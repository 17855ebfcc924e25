package e2e

import (
	"context"
	"encoding/json"
	"flag"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/loadtest/load"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
)

var figures = flag.Bool("figures", false, "run what only measures: TestForegroundDuringCopies")

const (
	// figureBlobs are 128 MiB, of which a fourth node gets 96.
	figureBlobs = 2 << 10
	// figureRate is how many operations clients begin in a second, half of them
	// writes.
	figureRate = 400
	// figureTime is how long they do before, and after, copies are made.
	figureTime = 10 * time.Second
	// bounded is a rate at which the copies take more than ten seconds.
	bounded = 4 << 20
)

// TestForegroundDuringCopies has a fourth node join, and measures what becomes of
// the requests of clients: with a bound on what copies take, without one, and where
// they make way for requests; and while the old copies are cleaned away.
func TestForegroundDuringCopies(t *testing.T) {
	if !*figures {
		t.Skip("it only measures: make migration-bench")
	}
	for _, way := range []struct {
		name string
		api.Throttle
		clean bool
	}{
		{"4 MiB per second", api.Throttle{BytesPerSecond: new(int64(bounded)), P99Multiple: new(0.0)}, false},
		{"no bound", api.Throttle{BytesPerSecond: new(int64(0)), P99Multiple: new(0.0)}, false},
		{"making way at twice the usual p99", api.Throttle{BytesPerSecond: new(int64(0)), P99Multiple: new(2.0)}, true},
	} {
		t.Run(way.name, func(t *testing.T) {
			ctx := within(t, 4*time.Minute)
			c := startCluster(t, ctx, 3, littleLog)
			setBlobs(t, ctx, clientOf(t, c, 0), figureBlobs)
			setThrottle(t, ctx, c, way.Throttle)
			balanced(t, ctx, c)
			wait := func(context.Context) error {
				select {
				case <-ctx.Done():
				case <-time.After(figureTime):
				}
				return ctx.Err()
			}
			before := foreground(t, ctx, c, wait)
			show := func(when string, r *load.Result) {
				s, base := r.All.Latencies.Summary(), before.All.Latencies.Summary()
				t.Logf("%-8s p50 %8v (x %.2f), p99 %8v (x %.2f), %d operations in %v, no write to some part of the keys succeeded for %v at most", when, s.P50, float64(s.P50)/float64(base.P50),
					s.P99, float64(s.P99)/float64(base.P99), r.All.OK, r.Measured.Round(time.Millisecond), r.Unavailable().Round(time.Millisecond))
			}
			show("before", before)
			i, err := c.Add()
			must(t, "add a node", err)
			w := startWatcher(ctx, c, i)
			show("during", foreground(t, ctx, c, func(context.Context) error {
				must(t, "start", c.Restart(ctx, i))
				must(t, "wait", c.WaitInSync(ctx))
				balanced(t, ctx, c)
				return nil
			}))
			w.stop()
			w.show(t)
			show("after", foreground(t, ctx, c, wait))
			if way.clean {
				show("cleaning", foreground(t, ctx, c, func(context.Context) error { awaitReclaims(t, ctx, c, i); return nil }))
			}
		})
	}
}

// awaitReclaims waits until all nodes but one have reclaimed the space of what they
// had before.
func awaitReclaims(t *testing.T, ctx context.Context, c *localcluster.Cluster, but int) {
	t.Helper()
	for i, n := range c.Nodes() {
		for i != but && counted(t, ctx, n, "kvstore_migration_garbage_reclaims_total") == 0 {
			select {
			case <-ctx.Done():
				t.Fatalf("%s does not reclaim the space of its old copies", n.ID)
			case <-time.After(100 * time.Millisecond):
			}
		}
	}
}

// foreground measures the requests of clients while do does something.
func foreground(t *testing.T, ctx context.Context, c *localcluster.Cluster, do func(context.Context) error) *load.Result {
	t.Helper()
	cfg := load.Defaults()
	cfg.Rate, cfg.Clients, cfg.Warmup = figureRate, 64, time.Second
	r, err := load.During(ctx, cfg, storeOf(t, c), do)
	must(t, "load", err)
	if r.Verdict() != load.Passed {
		t.Error(r.Finding())
	}
	return r
}

func setThrottle(t *testing.T, ctx context.Context, c *localcluster.Cluster, change api.Throttle) {
	t.Helper()
	body, err := json.Marshal(change)
	must(t, "encode", err)
	if got := request(t, ctx, http.MethodPut, "http://"+c.Endpoints()[0]+api.PathThrottle, strings.NewReader(string(body))); got.status != http.StatusNoContent {
		t.Fatalf("throttle: %+v", got)
	}
}

// watcher looks at the copies that one node takes, and at what they are bound to,
// until it is stopped.
type watcher struct {
	end     context.CancelFunc
	wg      sync.WaitGroup
	samples []sample
	// slowest is the lowest rate that any node had, and cuts how often one was
	// lowered.
	slowest int64
	cuts    int
}

type sample struct {
	at      time.Time
	bytes   float64
	copying bool
}

func startWatcher(ctx context.Context, c *localcluster.Cluster, i int) *watcher {
	ctx, end := context.WithCancel(ctx)
	w := &watcher{end: end}
	w.wg.Go(func() {
		rates := make(map[string]int64)
		for ticker := time.NewTicker(100 * time.Millisecond); ; {
			select {
			case <-ctx.Done():
				ticker.Stop()
				return
			case <-ticker.C:
			}
			w.look(ctx, c, i, rates)
		}
	})
	return w
}

func (w *watcher) look(ctx context.Context, c *localcluster.Cluster, i int, rates map[string]int64) {
	for at, n := range c.Nodes() {
		if n.HasLeft() || !n.Running() {
			continue
		}
		var now api.Migrations
		body, err := get(ctx, "http://"+n.HTTPAddr+api.PathMigrations)
		if err != nil || json.Unmarshal(body, &now) != nil {
			continue // it has just been started
		}
		// Without a bound none is shown until it is lowered.
		rate, was := now.Throttle.Rate, rates[n.ID]
		if rate > 0 && (was == 0 && now.Throttle.BytesPerSecond == 0 || rate < was) {
			w.cuts++
		}
		if rate > 0 && (w.slowest == 0 || rate < w.slowest) {
			w.slowest = rate
		}
		rates[n.ID] = rate
		if at != i {
			continue
		}
		bytes, err := sumOf(ctx, n, `kvstore_migration_bytes_total{direction="in"}`)
		if err != nil {
			continue
		}
		s := sample{at: time.Now(), bytes: bytes}
		for _, m := range now.Migrations {
			s.copying = s.copying || m.Phase == "copying snapshot"
		}
		w.samples = append(w.samples, s)
	}
}

func (w *watcher) stop() {
	w.end()
	w.wg.Wait()
}

// show says how fast the node took its copies: from the first sample in which it
// copied to the last, and in ten seconds within if there are so many.
func (w *watcher) show(t *testing.T) {
	first, last := -1, -1
	for i, s := range w.samples {
		if s.copying && first < 0 {
			first = i
		}
		if s.copying {
			last = i
		}
	}
	if first < 0 || first == last {
		t.Logf("copying was seen in no two of %d samples", len(w.samples))
		return
	}
	rate := func(from, to sample) float64 { return (to.bytes - from.bytes) / to.at.Sub(from.at).Seconds() }
	a, b := w.samples[first], w.samples[last]
	t.Logf("copies took %.1f MB in %.2f s: %.2f MiB/s", (b.bytes-a.bytes)/1e6, b.at.Sub(a.at).Seconds(), rate(a, b)/(1<<20))
	for i, s := range w.samples[first:last] {
		if s.at.Sub(a.at) >= 10*time.Second {
			t.Logf("in the first ten seconds %.4f MiB/s", rate(a, w.samples[first+i])/(1<<20))
			break
		}
	}
	t.Logf("rates were lowered %d times, to %.2f MiB/s at least", w.cuts, float64(w.slowest)/(1<<20))
}
