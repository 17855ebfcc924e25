package e2e

import (
	"context"
	"io"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
	"github.com/skshohagmiah/clusterkit/loadtest/localcluster"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// within returns a context that bounds a test.
func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}

// newCluster prepares a cluster that ends with the test. When the test fails,
// it shows what the nodes said last.
func newCluster(t *testing.T, nodes int, env ...string) *localcluster.Cluster {
	t.Helper()
	c, err := localcluster.New(localcluster.Options{Binary: kvnode, Nodes: nodes, Dir: t.TempDir(), Env: env})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		logIfFailed(t, c)
	})
	return c
}

func logIfFailed(t *testing.T, c *localcluster.Cluster) {
	if t.Failed() {
		for _, n := range c.Nodes() {
			t.Logf("the end of the log of %s:\n%s", n.ID, n.LogTail())
		}
	}
}

// startCluster starts a cluster and waits until it is in sync.
func startCluster(t *testing.T, ctx context.Context, nodes int, env ...string) *localcluster.Cluster {
	t.Helper()
	c := newCluster(t, nodes, env...)
	for _, n := range c.Nodes() {
		must(t, "start", n.Start(ctx))
	}
	must(t, "wait", c.WaitInSync(ctx))
	return c
}

func must(t *testing.T, what string, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
}

// clientOf returns a client that begins with the i-th node that has not left.
func clientOf(t *testing.T, c *localcluster.Cluster, i int) *client.Client {
	t.Helper()
	all := c.Endpoints()
	cl, err := client.New(client.Config{Endpoints: slices.Concat(all[i:], all[:i])})
	must(t, "client", err)
	t.Cleanup(cl.Close)
	return cl
}

// storeOf returns the cluster as its Go client sees it, with all nodes.
func storeOf(t *testing.T, c *localcluster.Cluster) target.Target {
	t.Helper()
	store, err := target.Open(t.Context(), target.Client, target.Options{Endpoints: c.Endpoints()})
	must(t, "open", err)
	t.Cleanup(func() { must(t, "close", store.Close()) })
	return store
}

// answer is what a node said to one raw request.
type answer struct {
	status int
	header http.Header
	body   string
}

// request sends one raw request without any retry. A body is sent only when
// the node asks for it, so that one that is refused cannot cut off the answer.
func request(t *testing.T, ctx context.Context, method, url string, body io.Reader) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, method, url, body)
	must(t, "request", err)
	if body != nil {
		req.Header.Set("Expect", "100-continue")
	}
	transport := &http.Transport{DisableKeepAlives: true, ExpectContinueTimeout: 10 * time.Second}
	resp, err := (&http.Client{Transport: transport, Timeout: 15 * time.Second}).Do(req)
	must(t, method+" "+url, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(t, "read the answer", err)
	return answer{resp.StatusCode, resp.Header, string(b)}
}
