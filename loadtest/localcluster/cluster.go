// Package localcluster runs a cluster of real kvnode processes on the loopback
// interface: for end-to-end tests, for the demonstration, and to play with.
//
// It ends only processes that it started, and on Linux they die with it.
package localcluster

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// Options describes a cluster to be started.
type Options struct {
	// Binary is the path of kvnode.
	Binary string
	// Nodes is their number. Default 3. A single one keeps a single copy of
	// each partition, unless Env says otherwise.
	Nodes int
	// HTTPPort, RESPPort and RaftPort are those of node 0, the others follow; 0
	// takes free ones.
	HTTPPort, RESPPort, RaftPort int
	// Dir receives a data directory and a log file for each node. It is made
	// if missing, and never removed.
	Dir string
	// Env is added to the environment of every node, as NAME=value. They
	// inherit nothing.
	Env []string
	// Place, if not nil, says where a node is. By default it is on the loopback
	// interface, with its data in Dir.
	Place func(id string) (Place, error)
	// Log is told what happens to the processes. Default: silent.
	Log *slog.Logger
}

// Place is where a node is.
type Place struct {
	// Host is an address that is the node's own, so that it takes the usual
	// ports. "" is the loopback interface.
	Host string
	// Enter is a command that becomes another one there, whose arguments follow.
	Enter []string
	// DataDir is where the node keeps its data. "" is a directory in that of the
	// cluster.
	DataDir string
}

// Cluster is a set of nodes, numbered from 0; node 0 is the one that
// bootstraps. Different nodes may be used concurrently.
type Cluster struct {
	options Options
	close   sync.Once

	mu    sync.RWMutex
	nodes []*Node
}

const (
	startAttempts = 3
	statusTimeout = 2 * time.Second
)

// Start starts all nodes of a new cluster, node 0 first. It does not wait for
// them to be ready. The caller must Close the cluster.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	for attempt := 1; ; attempt++ {
		c, err := New(o)
		if err != nil {
			return nil, err
		}
		if err = c.startAll(ctx); err == nil {
			return c, nil
		}
		c.Close()
		if attempt == startAttempts || !errors.Is(err, errPortTaken) {
			return nil, err
		}
	}
}

// New prepares a cluster without starting a node: their addresses are chosen
// and kept from others until they start.
func New(o Options) (*Cluster, error) {
	if o.Nodes == 0 {
		o.Nodes = 3
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if _, err := os.Stat(o.Binary); err != nil {
		return nil, fmt.Errorf("kvnode binary: %w", err)
	}
	var err error
	if o.Dir, err = filepath.Abs(o.Dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(o.Dir, 0o755); err != nil {
		return nil, err
	}
	if o.Nodes < 2 {
		o.Env = append([]string{"REPLICATION_FACTOR=1"}, o.Env...)
	}
	c := &Cluster{options: o}
	for range o.Nodes {
		if _, err := c.Add(); err != nil {
			c.Close()
			return nil, err
		}
	}
	return c, nil
}

// Add prepares one more node, which will join the cluster when it is started,
// and returns its number.
func (c *Cluster) Add() (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i := len(c.nodes)
	n, err := newNode(i, c.options)
	if err != nil {
		return 0, err
	}
	n.others = func() []string {
		return slices.DeleteFunc(c.Endpoints(), func(addr string) bool { return addr == n.HTTPAddr })
	}
	c.nodes = append(c.nodes, n)
	return i, nil
}

// Left waits until node i, which the cluster has been told to do without, has
// ended by itself. It does not belong to the cluster any more then, and keeps its
// number.
func (c *Cluster) Left(ctx context.Context, i int) error { return c.Nodes()[i].leave(ctx) }

func (c *Cluster) startAll(ctx context.Context) error {
	for _, n := range c.Nodes() {
		if err := n.Start(ctx); err != nil {
			return err
		}
	}
	return nil
}

// Nodes returns the nodes, by their numbers; the slice must not be changed.
func (c *Cluster) Nodes() []*Node {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return slices.Clip(c.nodes)
}

// Index returns the number of the node of that ID.
func (c *Cluster) Index(id string) (int, error) {
	for i, n := range c.Nodes() {
		if n.ID == id {
			return i, nil
		}
	}
	return 0, fmt.Errorf("there is no node %q", id)
}

// Endpoints returns the HTTP addresses of all nodes that have not left.
func (c *Cluster) Endpoints() []string {
	var addrs []string
	for _, n := range c.Nodes() {
		if !n.left.Load() {
			addrs = append(addrs, n.HTTPAddr)
		}
	}
	return addrs
}

// Status returns the cluster as the first running node sees it that answers.
func (c *Cluster) Status(ctx context.Context) (*client.Status, error) {
	failure := errors.New("cluster status: no node is running")
	for _, n := range c.Nodes() {
		if !n.Running() {
			continue
		}
		status, err := n.client.Status(ctx)
		if err == nil {
			return status, nil
		}
		failure = err
	}
	return nil, failure
}

// Kill9 ends node i as a power cut would, and waits until its process is gone.
func (c *Cluster) Kill9(ctx context.Context, i int) error {
	n := c.Nodes()[i]
	if err := n.kill(ctx); err != nil {
		return err
	}
	c.remember(ctx, n)
	return nil
}

// KillAll ends all nodes at once as a power cut would.
func (c *Cluster) KillAll(ctx context.Context) error {
	c.remember(ctx, c.Nodes()...)
	return c.each(func(n *Node) error { return n.kill(ctx) })
}

// Pause stops the process of node i where it stands, and Continue lets it go on.
func (c *Cluster) Pause(i int) error { return c.Nodes()[i].send(syscall.SIGSTOP) }

// Continue ends a Pause.
func (c *Cluster) Continue(i int) error { return c.Nodes()[i].send(syscall.SIGCONT) }

// Stop asks node i to stop and waits for it until ctx ends. Its exit code not
// being 0 is an error.
func (c *Cluster) Stop(ctx context.Context, i int) error {
	n := c.Nodes()[i]
	if err := n.stop(ctx); err != nil {
		return err
	}
	c.remember(ctx, n)
	return nil
}

// StopAll asks all nodes to stop and waits for them until ctx ends.
func (c *Cluster) StopAll(ctx context.Context) error {
	return c.each(func(n *Node) error { return n.stop(ctx) })
}

// Watch logs each node that ends by itself, until ctx ends. Such a death is
// no error of a later operation any more.
func (c *Cluster) Watch(ctx context.Context) {
	_ = c.each(func(n *Node) error { n.watch(ctx); return nil })
}

// AwaitEnd waits until node i ends by itself, which is no error of a later
// operation then.
func (c *Cluster) AwaitEnd(ctx context.Context, i int) error {
	n := c.Nodes()[i]
	if n.watch(ctx); n.Running() {
		return fmt.Errorf("%s does not end: %w", n.ID, context.Cause(ctx))
	}
	c.remember(context.WithoutCancel(ctx), n)
	return nil
}

// Wipe removes the data of node i, which must not run. When it starts again it
// joins the others.
func (c *Cluster) Wipe(i int) error { return c.Nodes()[i].wipe() }

// Readmit starts node i, which has left, with an empty disk. It joins as a node
// that the cluster does not know.
func (c *Cluster) Readmit(ctx context.Context, i int) error {
	n := c.Nodes()[i]
	if !n.left.Load() {
		return fmt.Errorf("%s has not left", n.ID)
	}
	if err := n.wipe(); err != nil {
		return err
	}
	n.lastIncarnation.Store(0)
	n.left.Store(false)
	return n.Start(ctx)
}

// Restart starts node i again on its old addresses and data.
func (c *Cluster) Restart(ctx context.Context, i int) error { return c.Nodes()[i].Start(ctx) }

// Close kills what still runs and waits for it. Data and logs are kept.
func (c *Cluster) Close() {
	c.close.Do(func() {
		_ = c.each(func(n *Node) error { n.release(); return nil })
	})
}

// each calls do for all running nodes at once.
func (c *Cluster) each(do func(*Node) error) error {
	nodes := c.Nodes()
	errs := make([]error, len(nodes))
	var wg sync.WaitGroup
	for i, n := range nodes {
		wg.Go(func() { errs[i] = do(n) })
	}
	wg.Wait()
	return errors.Join(errs...)
}

// remember notes the current sessions of nodes, so that a later wait does not
// take an old picture of the cluster, with the old session still in it, for
// the return of the node.
func (c *Cluster) remember(ctx context.Context, nodes ...*Node) {
	status, err := c.Status(ctx)
	if err != nil {
		return
	}
	for _, n := range nodes {
		for _, member := range status.Nodes {
			if member.ID == n.ID {
				n.lastIncarnation.Store(member.Incarnation)
			}
		}
	}
}
