package e2e

import (
	"context"
	"flag"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
)

var handOvers = flag.Int("handovers", 3, "how many planned hand-overs TestHandOvers measures")

const (
	// writeEvery is how often the key is written, whatever became of the writes
	// before: an open loop.
	writeEvery = 2 * time.Millisecond
	// aside is how long is waited before and behind a hand-over.
	aside = 300 * time.Millisecond
)

// steady writes one key at a fixed rate, and notes when each write was due and
// when it was acknowledged.
type steady struct {
	mu   sync.Mutex
	acks []time.Time
	late []span
	errs []error
}

// span is how long something took that began then.
type span struct {
	from time.Time
	took time.Duration
}

// run writes until ctx ends.
func (s *steady) run(ctx context.Context, cl *client.Client, key string) {
	var wg sync.WaitGroup
	defer wg.Wait()
	ticker := time.NewTicker(writeEvery)
	defer ticker.Stop()
	due := time.Now()
	written := 0
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		// A tick that came late owes more than one write.
		for ; !time.Now().Before(due); due = due.Add(writeEvery) {
			began, i := due, written
			written++
			wg.Go(func() {
				_, err := cl.Set(context.WithoutCancel(ctx), key, fmt.Append(nil, i))
				now := time.Now()
				s.mu.Lock()
				defer s.mu.Unlock()
				if err != nil {
					s.errs = append(s.errs, err)
					return
				}
				s.acks = append(s.acks, now)
				s.late = append(s.late, span{began, now.Sub(began)})
			})
		}
	}
}

// gap returns the longest time from one acknowledgement to the next, or to the
// end, in a window.
func (s *steady) gap(from, to time.Time) (longest time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	slices.SortFunc(s.acks, time.Time.Compare)
	last := from
	for _, ack := range s.acks {
		if ack.Before(from) {
			continue
		}
		if ack.After(to) {
			break
		}
		longest, last = max(longest, ack.Sub(last)), ack
	}
	return max(longest, to.Sub(last))
}

// slowest returns how long the slowest write took that was due in a window.
func (s *steady) slowest(from, to time.Time) (took time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, w := range s.late {
		if !w.from.Before(from) && w.from.Before(to) {
			took = max(took, w.took)
		}
	}
	return took
}

// quantiles says what half, 99 of 100, and all of them do not exceed.
func quantiles(all []time.Duration) string {
	slices.Sort(all)
	at := func(q float64) time.Duration {
		return all[int(q*float64(len(all)-1)+0.5)].Round(100 * time.Microsecond)
	}
	return fmt.Sprintf("p50 %v, p99 %v, max %v", at(0.5), at(0.99), at(1))
}

// TestHandOvers moves the primary of a partition to another copy, again and again,
// while one of its keys is written all the time: no write fails. What it shows is
// how long the key was not available, beside how it does without. Each hand-over
// is followed by a window of the same length, since a longer one meets more of
// the disk's slow moments.
func TestHandOvers(t *testing.T) {
	ctx := within(t, time.Minute+time.Duration(*handOvers)*5*time.Second)
	c := startCluster(t, ctx, 3)
	balanced(t, ctx, c)
	s, err := c.Status(ctx)
	must(t, "status", err)
	const key = "key"
	index := clusterkit.Slot(key) * s.PartitionCount / clusterkit.MaxPartitions
	partition := s.Partitions[index].ID

	var writes steady
	cl, err := client.New(client.Config{Endpoints: c.Endpoints(), Timeout: patience})
	must(t, "client", err)
	defer cl.Close()
	var wg sync.WaitGroup
	writing, stop := context.WithCancel(ctx)
	wg.Go(func() { writes.run(writing, cl, key) })
	defer wg.Wait()
	defer stop()

	type window struct{ from, to time.Time }
	var with, without []window
	from := pause(t, ctx, aside)
	for range *handOvers {
		pause(t, ctx, aside)
		now, err := c.Status(ctx)
		must(t, "status", err)
		p := now.Partitions[index]
		to := p.InSync[slices.IndexFunc(p.InSync, func(m client.Member) bool { return m.Node != p.Primary })]
		ctl(t, ctx, c, "partition", "move", partition, "--primary", to.Node)
		awaitPrimary(t, ctx, c, index, to.Node)
		middle := pause(t, ctx, aside)
		end := pause(t, ctx, middle.Sub(from))
		with, without = append(with, window{from, middle}), append(without, window{middle, end})
		from = end
	}
	stop()
	wg.Wait()

	for name, windows := range map[string][]window{"over a hand-over": with, "without one": without} {
		var gaps, slowest []time.Duration
		for _, w := range windows {
			gaps, slowest = append(gaps, writes.gap(w.from, w.to)), append(slowest, writes.slowest(w.from, w.to))
		}
		t.Logf("%s (%d): no write of the key was acknowledged for %s; the slowest write took %s", name, len(windows), quantiles(gaps), quantiles(slowest))
	}
	if len(writes.errs) > 0 {
		t.Errorf("%d writes failed, the first: %v", len(writes.errs), writes.errs[0])
	}
	t.Logf("%d writes", len(writes.acks))
}

// pause lets time pass, in which the key is written, and returns when it ends.
func pause(t *testing.T, ctx context.Context, d time.Duration) time.Time {
	t.Helper()
	select {
	case <-ctx.Done():
		t.Fatal(context.Cause(ctx))
		return time.Time{}
	case now := <-time.After(d):
		return now
	}
}

func awaitPrimary(t *testing.T, ctx context.Context, c *localcluster.Cluster, index int, node string) {
	t.Helper()
	for {
		s, err := c.Status(ctx)
		must(t, "status", err)
		if s.Partitions[index].Primary == node {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s does not become the primary", node)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
