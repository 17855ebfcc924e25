package e2e

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
)

// blobs are values that make the copies of a cluster large enough for a fault to
// come in the middle of one.
const (
	blobs     = 640
	blobBytes = 64 << 10
	// slow is a rate at which the copies for a fourth node take some ten seconds.
	slow = 2 << 20
	// littleLog makes a new copy take a snapshot: the log does not reach back far
	// enough.
	littleLog = "LOG_RETAIN_BYTES=1"
)

func blobKey(i int) string { return fmt.Sprint("blob ", i) }

// blob is the value under that key; it does not compress.
func blob(i int) []byte {
	value := make([]byte, blobBytes)
	x := uint64(i)*0x9e3779b97f4a7c15 + 1
	for j := range value {
		x ^= x << 13
		x ^= x >> 7
		x ^= x << 17
		value[j] = byte(x)
	}
	return value
}

// eachBlob calls do for the first n of them, several at a time.
func eachBlob(t *testing.T, n int, do func(i int) error) {
	t.Helper()
	next := make(chan int)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range next {
				if err := do(i); err != nil {
					t.Errorf("%s: %v", blobKey(i), err)
				}
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

func setBlobs(t *testing.T, ctx context.Context, cl *client.Client, n int) {
	t.Helper()
	eachBlob(t, n, func(i int) error { _, err := cl.Set(ctx, blobKey(i), blob(i)); return err })
}

func wantBlobs(t *testing.T, ctx context.Context, cl *client.Client, n int) {
	t.Helper()
	eachBlob(t, n, func(i int) error {
		v, err := cl.Get(ctx, blobKey(i))
		if err == nil && !bytes.Equal(v.Data, blob(i)) {
			err = fmt.Errorf("it is not what was written")
		}
		return err
	})
}

// throttle bounds what each node takes and gives for copies; 0 is no bound.
func throttle(t *testing.T, ctx context.Context, c *localcluster.Cluster, bytesPerSecond int) {
	t.Helper()
	nodes := c.Endpoints()
	for i := 0; ; i++ {
		// One that has just started has no map yet.
		got := request(t, ctx, http.MethodPut, "http://"+nodes[i%len(nodes)]+api.PathThrottle, strings.NewReader(fmt.Sprintf(`{"bytes_per_second":%d}`, bytesPerSecond)))
		if got.status == http.StatusNoContent {
			return
		}
		if got.status != http.StatusServiceUnavailable || ctx.Err() != nil {
			t.Fatalf("throttle: %+v", got)
		}
	}
}

// awaitCopy waits for a copy that is being made on node i and is as is says.
func awaitCopy(t *testing.T, ctx context.Context, c *localcluster.Cluster, i int, is func(api.Migration) bool) api.Migration {
	t.Helper()
	for {
		var now api.Migrations
		decode(t, request(t, ctx, http.MethodGet, "http://"+c.Nodes()[i].HTTPAddr+api.PathMigrations, nil), &now)
		if at := slices.IndexFunc(now.Migrations, is); at >= 0 {
			return now.Migrations[at]
		}
		select {
		case <-ctx.Done():
			t.Fatal("there is no such copy")
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// halfway says of a copy that some of its snapshot is there, and most is not: a
// partition has 2.5 MiB of blobs, more or less. What the node expects in all is an
// estimate by the number of keys, and the blobs come first.
func halfway(m api.Migration) bool { return m.Bytes > 7<<18 && m.Bytes < 9<<18 }

// TestFaultsInTheMiddleOfACopy lets a fourth node join, again and again, and
// leave: each time something is killed while the data are on their way.
func TestFaultsInTheMiddleOfACopy(t *testing.T) {
	ctx := within(t, 6*time.Minute)
	c := startCluster(t, ctx, 3, littleLog)
	cl := clientOf(t, c, 0)
	setBlobs(t, ctx, cl, blobs)

	restart := func(nodes ...int) {
		for _, i := range nodes {
			must(t, "kill", c.Kill9(ctx, i))
		}
		for _, i := range nodes {
			must(t, "restart", c.Restart(ctx, i))
		}
	}
	numberOf := func(id string) int {
		i, err := c.Index(id)
		must(t, "node", err)
		return i
	}
	for _, fault := range []struct {
		name   string
		strike func(target int, m api.Migration)
	}{
		{"the target is killed", func(target int, m api.Migration) {
			restart(target)
			again := awaitCopy(t, ctx, c, target, func(again api.Migration) bool { return again.Partition == m.Partition && again.Bytes > 0 })
			if again.Resumed == 0 {
				t.Errorf("the copy of %s, of which %d bytes were here, was begun anew", m.Partition, m.Bytes)
			}
			t.Logf("%d bytes of %d were there, and %d again after the kill", m.Bytes, m.Total, again.Resumed)
		}},
		{"the source is killed", func(_ int, m api.Migration) { restart(numberOf(m.Source)) }},
		{"the leader is killed", func(int, api.Migration) {
			s, err := c.Status(ctx)
			must(t, "status", err)
			restart(numberOf(s.Leader))
		}},
		{"the power fails", func(target int, _ api.Migration) { restart(0, 1, 2, target) }},
	} {
		t.Run(fault.name, func(t *testing.T) {
			throttle(t, ctx, c, slow)
			var target int
			underLoad(t, ctx, c, func() {
				balanced(t, ctx, c)
				i, err := c.Add()
				must(t, "add a node", err)
				must(t, "start", c.Restart(ctx, i))
				target = i
				fault.strike(i, awaitCopy(t, ctx, c, i, halfway))
				throttle(t, ctx, c, 0)
				must(t, "wait", c.WaitInSync(ctx))
				balanced(t, ctx, c)
				mustBeLevel(t, ctx, c)
				ctl(t, ctx, c, "node", "decommission", c.Nodes()[i].ID)
				must(t, "leave", c.Left(ctx, i))
			})
			t.Logf("node %s has come and gone", c.Nodes()[target].ID)
		})
	}
	wantBlobs(t, ctx, cl, blobs)
}
