package e2e

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// Increments are sent again, whatever happens to the nodes, and counted once.
func TestIncrementsAreExecutedOnce(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	c := startCluster(t, ctx, 3)
	const counters, writers = 4, 8
	var (
		acknowledged, unknown [counters]atomic.Int64
		p                     progress
		wg                    sync.WaitGroup
	)
	load, stop := context.WithCancel(ctx)
	defer stop()
	for w := range writers {
		cl, err := client.New(client.Config{Endpoints: c.Endpoints(), Timeout: 30 * time.Second})
		must(t, "client", err)
		defer cl.Close()
		wg.Go(func() {
			for i := w; load.Err() == nil; i++ {
				_, err := cl.Increment(ctx, fmt.Sprint("counter ", i%counters), 1)
				switch {
				case err == nil:
					acknowledged[i%counters].Add(1)
					p.acknowledged.Add(1)
				case errors.Is(err, api.ErrOutcomeUnknown):
					unknown[i%counters].Add(1)
				default:
					t.Logf("increment: %v", err)
				}
			}
		})
	}
	for range 2 {
		_, err := killPrimary(ctx, t, c, &p)
		must(t, "kill", err)
	}
	stop()
	wg.Wait()
	cl := clientOf(t, c, 0)
	for i := range counters {
		v, err := cl.Get(ctx, fmt.Sprint("counter ", i))
		must(t, "get", err)
		got, err := strconv.ParseInt(string(v.Data), 10, 64)
		must(t, "number", err)
		if low, high := acknowledged[i].Load(), acknowledged[i].Load()+unknown[i].Load(); got < low || got > high {
			t.Errorf("counter %d is %d after %d increments were acknowledged and %d had an unknown outcome", i, got, low, high-low)
		}
		if unknown[i].Load() > 0 {
			t.Errorf("counter %d: %d increments of unknown outcome, although they could be sent again", i, unknown[i].Load())
		}
	}
	t.Logf("%d increments", p.acknowledged.Load())
}
