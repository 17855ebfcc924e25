package localcluster

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// goal is a state of the cluster that can be waited for.
type goal struct {
	name string
	// everyone is true if nodes that do not run stand in its way.
	everyone bool
	reached  func(client.Health) bool
}

var (
	ready  = goal{name: "ready", reached: func(h client.Health) bool { return h == client.Healthy || h == client.UnderReplicated }}
	inSync = goal{name: "in sync", everyone: true, reached: func(h client.Health) bool { return h == client.Healthy }}
)

// WaitReady waits until every running node says that it is ready and every
// partition has a living primary and copies enough for writes.
func (c *Cluster) WaitReady(ctx context.Context) error { return c.wait(ctx, ready) }

// WaitInSync waits until all nodes run and are ready, every partition has all
// its copies in sync, and no voter of the control plane stands for data that are
// gone: until then the loss of one more disk may be the loss of the cluster.
func (c *Cluster) WaitInSync(ctx context.Context) error { return c.wait(ctx, inSync) }

// wait fails at once when a node ends by itself.
func (c *Cluster) wait(ctx context.Context, g goal) error {
	var missing error
	for {
		if err := c.died(); err != nil {
			return err
		}
		now := c.missing(ctx, g)
		if now == nil {
			return nil
		}
		if missing == nil || ctx.Err() == nil {
			missing = now
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("cluster not %s: %w (%w)", g.name, missing, context.Cause(ctx))
		case <-time.After(pollInterval):
		}
	}
}

func (c *Cluster) died() error {
	for _, n := range c.Nodes() {
		if err := n.died(); err != nil {
			return err
		}
	}
	return nil
}

// missing says what still lacks, nil when the goal is reached in the eyes of
// every running node.
func (c *Cluster) missing(ctx context.Context, g goal) error {
	var running []*Node
	for _, n := range c.Nodes() {
		if n.Running() {
			running = append(running, n)
		} else if g.everyone && !n.left.Load() {
			return fmt.Errorf("%s is not running; its log: %s", n.ID, n.LogFile)
		}
	}
	for _, n := range running {
		if err := probe(ctx, n.HTTPAddr, "/readyz"); err != nil {
			return err
		}
		status, err := n.client.Status(ctx)
		if err != nil {
			return err
		}
		if err := c.missingIn(status, g); err != nil {
			return fmt.Errorf("as %s sees it, %w", n.ID, err)
		}
		if !g.everyone {
			continue
		}
		if err := missingVoters(ctx, n, status); err != nil {
			return fmt.Errorf("as %s sees it, %w", n.ID, err)
		}
	}
	return nil
}

// fewVoters is how many voters a control plane of as many nodes or more has at
// least.
const fewVoters = 3

// missingVoters says what the control plane lacks in the eyes of a node.
func missingVoters(ctx context.Context, n *Node, status *client.Status) error {
	var consensus struct {
		Servers []struct {
			ID    string `json:"id"`
			Voter bool   `json:"voter"`
		} `json:"servers"`
	}
	if err := get(ctx, n.HTTPAddr, "/consensus/stats", &consensus); err != nil {
		return err
	}
	voters := 0
	for _, s := range consensus.Servers {
		if !s.Voter {
			continue
		}
		voters++
		if !slices.ContainsFunc(status.Nodes, func(m client.Node) bool { return m.RaftID == s.ID }) {
			return fmt.Errorf("%s is gone and still votes", s.ID)
		}
	}
	if len(status.Nodes) >= fewVoters && voters < fewVoters {
		return fmt.Errorf("%d nodes vote, not %d yet", voters, fewVoters)
	}
	return nil
}

// missingIn says what still lacks in one picture of the cluster.
func (c *Cluster) missingIn(status *client.Status, g goal) error {
	for _, n := range c.Nodes() {
		if n.Running() && !sessionOpen(status, n) {
			return fmt.Errorf("%s has not opened its session", n.ID)
		}
		if !n.Running() && member(status, n).Alive {
			return fmt.Errorf("%s still lives", n.ID)
		}
	}
	if len(status.Partitions) == 0 {
		return errors.New("no partition has been assigned")
	}
	for _, p := range status.Partitions {
		if h := status.Health(p); !g.reached(h) {
			return fmt.Errorf("%s is %s", p.ID, h)
		}
	}
	return nil
}

// sessionOpen reports whether a running node has joined the cluster since it
// was started.
func sessionOpen(status *client.Status, n *Node) bool {
	m := member(status, n)
	return m.Alive && m.Incarnation > n.lastIncarnation.Load()
}

// member returns what the cluster knows of a node, nothing if it never joined.
func member(status *client.Status, n *Node) client.Node {
	for _, m := range status.Nodes {
		if m.ID == n.ID {
			return m
		}
	}
	return client.Node{}
}
