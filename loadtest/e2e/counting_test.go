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
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
)

// counting is a load of writes each of which adds one to a number: a lost one and
// one that was executed twice both show in the sum. Half of the numbers are
// incremented; the others are read, and written if they have not changed since.
type counting struct {
	t *testing.T
	// name tells the numbers from those of an earlier load.
	name     string
	clients  []*client.Client
	counters [2 * countersOfKind]counter
	progress progress
	stop     context.CancelFunc
	wg       sync.WaitGroup
}

const (
	countersOfKind  = 4
	countingClients = 8
	// patience is how long a request is tried, through all that a test does.
	patience = 30 * time.Second
)

type counter struct{ acknowledged, unknown atomic.Int64 }

func (n *counting) key(i int) string { return fmt.Sprintf("counter %s %d", n.name, i) }

// startCounting starts the load, which goes on until finish.
func startCounting(t *testing.T, ctx context.Context, c *localcluster.Cluster) *counting {
	n := &counting{t: t, name: t.Name()}
	load, stop := context.WithCancel(ctx)
	n.stop = stop
	t.Cleanup(n.end)
	for w := range countingClients {
		cl, err := client.New(client.Config{Endpoints: c.Endpoints(), Timeout: patience})
		must(t, "client", err)
		n.clients = append(n.clients, cl)
		n.wg.Go(func() {
			for i := w; load.Err() == nil; i++ {
				n.add(ctx, cl, i%len(n.counters))
			}
		})
	}
	return n
}

func (n *counting) end() {
	n.stop()
	n.wg.Wait()
	for _, cl := range n.clients {
		cl.Close()
	}
}

// add adds one to a counter, or leaves it because another client was faster.
func (n *counting) add(ctx context.Context, cl *client.Client, i int) {
	var err error
	if i < countersOfKind {
		_, err = cl.Increment(ctx, n.key(i), 1)
	} else {
		err = compareAndAdd(ctx, cl, n.key(i))
	}
	switch {
	case err == nil:
		n.counters[i].acknowledged.Add(1)
		n.progress.acknowledged.Add(1)
	case errors.Is(err, api.ErrConditionFailed):
	case errors.Is(err, api.ErrOutcomeUnknown):
		n.counters[i].unknown.Add(1)
	default:
		n.t.Errorf("%s: a request failed that was tried for %v: %v", n.key(i), patience, err)
	}
}

func compareAndAdd(ctx context.Context, cl *client.Client, key string) error {
	v, err := cl.Get(ctx, key)
	if errors.Is(err, api.ErrNotFound) {
		_, err = cl.SetWith(ctx, key, []byte("1"), client.SetOptions{If: api.IfAbsent})
		return err
	}
	if err != nil {
		return err
	}
	is, err := strconv.ParseInt(string(v.Data), 10, 64)
	if err != nil {
		return err
	}
	_, err = cl.SetWith(ctx, key, strconv.AppendInt(nil, is+1, 10), client.SetOptions{If: api.IfVersion, Version: v.Version})
	return err
}

// finish ends the load and fails the test unless each number is what was added.
// All of these writes may be sent again, so none may be of unknown outcome.
func (n *counting) finish(ctx context.Context) {
	n.t.Helper()
	n.stop()
	n.wg.Wait()
	for i := range n.counters {
		v, err := n.clients[0].Get(ctx, n.key(i))
		must(n.t, "get", err)
		got, err := strconv.ParseInt(string(v.Data), 10, 64)
		must(n.t, "number", err)
		acknowledged, unknown := n.counters[i].acknowledged.Load(), n.counters[i].unknown.Load()
		if got < acknowledged || got > acknowledged+unknown {
			n.t.Errorf("%s is %d after %d writes were acknowledged and %d had an unknown outcome", n.key(i), got, acknowledged, unknown)
		}
		if unknown > 0 {
			n.t.Errorf("%s: %d writes of unknown outcome, although they could be sent again", n.key(i), unknown)
		}
	}
	n.t.Logf("%d increments and conditional writes", n.progress.acknowledged.Load())
}
