package clustertest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// Config says what a cluster begins with. The zero value is three nodes with
// the defaults of clusterkit.
type Config struct {
	// Nodes is how many nodes there are when New returns, named "node-1" and
	// so on. Default 3.
	Nodes int
	// Cluster is what the cluster is bootstrapped with.
	Cluster clusterkit.Config
	// Options is called before a node is built, at each of its starts, and may
	// change what it is built with. Everything that a node needs is set by then.
	Options func(o *clusterkit.Options)
	// Prepare is called with each node that was built, before it starts: the
	// place for [clusterkit.ClusterKit.OnPartitionChange].
	Prepare func(ck *clusterkit.ClusterKit)
	// Timeout bounds each wait, and the stop of a node. Default 30 s.
	Timeout time.Duration
}

const (
	defaultNodes   = 3
	defaultTimeout = 30 * time.Second

	httpPort = 8080
	raftPort = 9001
)

// Cluster is a cluster in this process. Methods that return nodes or maps may be
// called concurrently, also from inside a hook. All others belong to the
// goroutine of the test, which they end when they fail.
type Cluster struct {
	tb      testing.TB
	config  Config
	dir     string
	network *network
	client  *http.Client

	mu      sync.Mutex
	members map[string]*member
	// started has every node that was ever started, for the end of the test.
	started []*clusterkit.ClusterKit
}

// member is a node over all its starts.
type member struct {
	id    string
	dir   string
	clock *Clock
	// host and kit are those of the present start, nil while the node is down.
	host *host
	kit  *clusterkit.ClusterKit
}

// New starts a cluster and returns when all its nodes are ready. It is stopped
// at the end of the test.
func New(tb testing.TB, config Config) *Cluster {
	tb.Helper()
	config.Nodes = cmp.Or(config.Nodes, defaultNodes)
	config.Timeout = cmp.Or(config.Timeout, defaultTimeout)
	c := &Cluster{tb: tb, config: config, dir: tb.TempDir(), network: newNetwork(), members: make(map[string]*member)}
	c.client = &http.Client{Transport: &http.Transport{DialContext: c.network.attach("").DialContext}}
	tb.Cleanup(c.stopAll)
	for i := range config.Nodes {
		c.Add(fmt.Sprintf("node-%d", i+1))
	}
	c.WaitReady()
	return c
}

// Add starts a node that the cluster did not have, with an empty directory. It
// joins on its own: see [Cluster.WaitReady].
func (c *Cluster) Add(id string) *clusterkit.ClusterKit {
	c.tb.Helper()
	c.mu.Lock()
	_, exists := c.members[id]
	first := len(c.members) == 0
	m := &member{id: id, dir: filepath.Join(c.dir, id), clock: newClock()}
	if !exists {
		c.members[id] = m
	}
	c.mu.Unlock()
	if exists {
		c.tb.Fatalf("clustertest: there is a %s already: use Restart", id)
	}
	return c.start(m, first)
}

// Restart starts a node again that was stopped or killed, on its directory. It
// returns when the node's own services run: see [Cluster.WaitReady].
func (c *Cluster) Restart(id string) *clusterkit.ClusterKit {
	c.tb.Helper()
	return c.start(c.down(id), false)
}

// start starts a node that is down.
func (c *Cluster) start(m *member, bootstrap bool) *clusterkit.ClusterKit {
	c.tb.Helper()
	h := c.network.attach(m.id)
	o := c.options(m, h)
	o.Bootstrap = bootstrap
	if c.config.Options != nil {
		c.config.Options(&o)
	}
	kit, err := clusterkit.NewClusterKit(o)
	if err != nil {
		h.kill()
		c.tb.Fatalf("clustertest: build %s: %v", m.id, err)
	}
	c.mu.Lock()
	c.started = append(c.started, kit)
	m.host, m.kit = h, kit
	c.mu.Unlock()
	if c.config.Prepare != nil {
		c.config.Prepare(kit)
	}
	if err := kit.Start(); err != nil {
		c.tb.Fatalf("clustertest: start %s: %v", m.id, err)
	}
	return kit
}

func (c *Cluster) options(m *member, h *host) clusterkit.Options {
	config := c.config.Cluster
	return clusterkit.Options{
		NodeID:   m.id,
		HTTPAddr: addr{m.id, httpPort}.String(),
		RaftAddr: addr{m.id, raftPort}.String(),
		JoinAddr: strings.Join(c.others(m.id), ","),
		DataDir:  m.dir,
		Config:   &config,
		Logger:   slog.New(slog.NewTextHandler(c.tb.Output(), nil)),
		Network:  h,
		Clock:    m.clock,
	}
}

// others returns the HTTP addresses of all nodes but one.
func (c *Cluster) others(id string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var addrs []string
	for other := range c.members {
		if other != id {
			addrs = append(addrs, addr{other, httpPort}.String())
		}
	}
	slices.Sort(addrs)
	return addrs
}

// Stop stops a node in order: it hands its partitions on.
func (c *Cluster) Stop(id string) {
	c.tb.Helper()
	c.end(c.running(id), "stop", (*clusterkit.ClusterKit).Shutdown)
}

// Kill ends a node as kill -9 does: nobody is told, its connections break, and
// its directory stays as it is. To imitate a power cut, or a machine that
// vanishes, isolate the node first: then its peers notice nothing. What a hook
// of the node does is not ended: it runs on, cut off from the network.
func (c *Cluster) Kill(id string) {
	c.tb.Helper()
	m := c.running(id)
	m.host.kill()
	c.end(m, "kill", (*clusterkit.ClusterKit).Abort)
}

func (c *Cluster) end(m *member, how string, end func(*clusterkit.ClusterKit, context.Context) error) {
	c.tb.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), c.config.Timeout)
	defer cancel()
	err := end(m.kit, ctx)
	m.host.kill()
	c.mu.Lock()
	m.host, m.kit = nil, nil
	c.mu.Unlock()
	if err != nil {
		c.tb.Fatalf("clustertest: %s %s: %v", how, m.id, err)
	}
}

// Wipe empties the directory of a node that is down, as a disk that is lost.
func (c *Cluster) Wipe(id string) {
	c.tb.Helper()
	if err := os.RemoveAll(c.down(id).dir); err != nil {
		c.tb.Fatalf("clustertest: wipe %s: %v", id, err)
	}
}

// stopAll ends the test.
func (c *Cluster) stopAll() {
	c.network.killAll()
	ctx, cancel := context.WithTimeout(context.Background(), c.config.Timeout)
	defer cancel()
	for _, kit := range c.started {
		if err := kit.Abort(ctx); err != nil {
			c.tb.Errorf("clustertest: end of %s: %v", kit.GetMyNodeID(), err)
		}
	}
	for _, kit := range c.started {
		// What is left are hooks.
		if err := kit.Shutdown(ctx); err != nil {
			c.tb.Errorf("clustertest: end of %s: %v", kit.GetMyNodeID(), err)
		}
	}
}

func (c *Cluster) member(id string) *member {
	c.tb.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.members[id]
	if m == nil {
		c.tb.Fatalf("clustertest: there is no %s", id)
	}
	return m
}

func (c *Cluster) running(id string) *member {
	c.tb.Helper()
	m := c.member(id)
	if m.kit == nil {
		c.tb.Fatalf("clustertest: %s is down already", id)
	}
	return m
}

func (c *Cluster) down(id string) *member {
	c.tb.Helper()
	m := c.member(id)
	if m.kit != nil {
		c.tb.Fatalf("clustertest: %s is running: stop or kill it first", id)
	}
	return m
}
