package clustertest_test

import (
	"io"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/clusterkit/clustertest"
)

// greetings is a small application: it keeps one value for each partition, and
// copies it from another node when it is told to.
type greetings struct {
	mu     sync.Mutex
	values map[string]string
}

func (g *greetings) set(partition, value string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.values[partition] = value
}

func (g *greetings) get(partition string) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.values[partition]
}

func (g *greetings) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	_, _ = io.WriteString(w, g.get(r.URL.Query().Get("partition")))
}

// testNoValueIsLost is what a test of the application looks like. All of its
// nodes run in a bubble, where waiting takes no time.
func testNoValueIsLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		apps := make(map[string]*greetings)
		network := make(map[string]clusterkit.Network)
		c := clustertest.New(t, clustertest.Config{
			Nodes:   5,
			Cluster: clusterkit.Config{PartitionCount: 8, ReplicationFactor: 2},
			Options: func(o *clusterkit.Options) { network[o.NodeID] = o.Network },
			Prepare: func(ck *clusterkit.ClusterKit) {
				id := ck.GetMyNodeID()
				app := &greetings{values: make(map[string]string)}
				apps[id] = app
				l, err := network[id].Listen("tcp", ":7000")
				if err != nil {
					t.Fatal(err)
				}
				go func() { _ = http.Serve(l, app) }()

				// The copy is made by a request of one node to another.
				client := http.Client{Transport: &http.Transport{
					DialContext:       network[id].DialContext,
					DisableKeepAlives: true,
				}}
				ck.OnPartitionChange(func(partition string, copyFrom, copyTo *clusterkit.Node) {
					if copyTo.ID != id || copyFrom == nil {
						return
					}
					resp, err := client.Get("http://" + copyFrom.ID + ":7000/?partition=" + partition)
					if err != nil {
						panic(err) // the hook is called again
					}
					defer resp.Body.Close()
					value, err := io.ReadAll(resp.Body)
					if err != nil {
						panic(err)
					}
					app.set(partition, string(value))
				})
			},
		})
		c.WaitHealthy()

		p, err := c.Node("node-1").GetPartition("user:123")
		if err != nil {
			t.Fatal(err)
		}
		for _, member := range p.InSync {
			apps[member.Node].set(p.ID, "hello")
		}

		// Both nodes that have the value die, one after the other.
		for _, member := range p.InSync {
			c.Kill(member.Node)
			c.WaitHealthy()
			primary := c.WaitPrimary("user:123")
			if got := apps[primary].get(p.ID); got != "hello" {
				t.Errorf("after %s died, %s has %q", member.Node, primary, got)
			}
		}
	})
}

// A cluster of five nodes loses two of them, and no data.
func Example() {
	var t *testing.T // your test's
	testNoValueIsLost(t)
}
