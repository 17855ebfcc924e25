package clustertest

import (
	"fmt"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// pollInterval is how often a condition is looked at.
const pollInterval = 5 * time.Millisecond

// maxVoters is how many nodes clusterkit lets vote at most.
const maxVoters = 5

// Eventually waits until the condition is true. After Config.Timeout it fails
// the test, saying what was waited for, and how the cluster stands. The condition
// is evaluated in the goroutine of the test.
func (c *Cluster) Eventually(what string, condition func() bool) {
	c.tb.Helper()
	c.wait(what, func() string {
		if condition() {
			return ""
		}
		return "it is not so"
	})
}

// WaitFor waits until the condition is true of the map of each of the nodes; of
// all that run, if none are named.
func (c *Cluster) WaitFor(what string, condition func(m *clusterkit.Map) bool, ids ...string) {
	c.tb.Helper()
	c.wait(what, func() string {
		for _, node := range c.named(ids) {
			if m := node.Map(); m == nil || !condition(m) {
				return "not in the eyes of " + node.GetMyNodeID()
			}
		}
		return ""
	})
}

// WaitReady waits until each of the nodes holds its lease and votes in Raft, in
// the eyes of all of them, unless there are five that vote; all that run, if
// none are named. Then the cluster survives the loss of any of them that leaves
// a majority.
func (c *Cluster) WaitReady(ids ...string) {
	c.tb.Helper()
	c.wait("nodes that are ready", func() string { return notReady(c.named(ids)) })
}

// WaitHealthy waits until nothing is left to do for the nodes that run: they
// are ready, and every partition has one of them as its primary and as many
// in-sync copies on them as there can be, all where they should be. A node that
// was cut off or paused is missed no sooner than its lease runs out: wait for
// that first.
func (c *Cluster) WaitHealthy() {
	c.tb.Helper()
	c.wait("a healthy cluster", func() string {
		if reason := notReady(c.Nodes()); reason != "" {
			return reason
		}
		return c.unsettled()
	})
}

// WaitPrimary waits until a node is the primary for the key, in its own eyes,
// and returns its ID.
func (c *Cluster) WaitPrimary(key string) string {
	c.tb.Helper()
	primary := ""
	c.wait(fmt.Sprintf("a primary for %q", key), func() string {
		for _, node := range c.Nodes() {
			if p, err := node.GetPartition(key); err == nil && node.IsPrimary(p) {
				primary = node.GetMyNodeID()
				return ""
			}
		}
		return "no node is"
	})
	return primary
}

// Leader waits until a node leads Raft, and returns its ID.
func (c *Cluster) Leader() string {
	c.tb.Helper()
	leader := ""
	c.wait("a Raft leader", func() string {
		if leader = c.leader(); leader == "" {
			return "no node leads"
		}
		return ""
	})
	return leader
}

// wait waits until there is no reason left why the condition does not hold.
func (c *Cluster) wait(what string, whyNot func() string) {
	c.tb.Helper()
	deadline := time.Now().Add(c.config.Timeout)
	for {
		reason := whyNot()
		switch {
		case reason == "":
			return
		case !time.Now().Before(deadline):
			c.tb.Fatalf("clustertest: waited %s for %s: %s\n%s", c.config.Timeout, what, reason, c.describe())
		}
		select {
		case <-c.tb.Context().Done():
			c.tb.Fatalf("clustertest: the test is over, and there is no %s", what)
		case <-time.After(pollInterval):
		}
	}
}

// named returns the nodes of these IDs, all that run if there are none.
func (c *Cluster) named(ids []string) []*clusterkit.ClusterKit {
	c.tb.Helper()
	if len(ids) == 0 {
		return c.Nodes()
	}
	nodes := make([]*clusterkit.ClusterKit, len(ids))
	for i, id := range ids {
		nodes[i] = c.running(id).kit
	}
	return nodes
}

// notReady returns what keeps the nodes from being ready, "" if nothing does.
func notReady(nodes []*clusterkit.ClusterKit) string {
	for _, node := range nodes {
		if !node.HoldsLease() {
			return node.GetMyNodeID() + " holds no lease"
		}
	}
	for _, node := range nodes {
		voters := votersOf(node)
		for _, other := range nodes {
			if id := other.GetMyNodeID(); len(voters) < maxVoters && !slices.Contains(voters, id) {
				return fmt.Sprintf("%s is not a voter, in the eyes of %s", id, node.GetMyNodeID())
			}
		}
	}
	return ""
}

// unsettled returns what is left to do in the eyes of a node that runs, "" if
// nothing is.
func (c *Cluster) unsettled() string {
	for _, node := range c.Nodes() {
		m := node.Map()
		if m == nil {
			return node.GetMyNodeID() + " has no map"
		}
		for i := range m.Partitions {
			p := &m.Partitions[i]
			if reason := c.unsettledPartition(m, p); reason != "" {
				return fmt.Sprintf("%s: %s, in the eyes of %s", p.ID, reason, node.GetMyNodeID())
			}
		}
	}
	return ""
}

func (c *Cluster) unsettledPartition(m *clusterkit.Map, p *clusterkit.Partition) string {
	nodes := c.Nodes()
	inSync := 0
	for _, node := range nodes {
		id := node.GetMyNodeID()
		copied, has := m.CurrentMember(p, id)
		wanted := slices.Contains(p.Desired, id)
		switch {
		case wanted && !has:
			return "no copy on " + id
		case has && !wanted:
			return "a copy on " + id + " that is not wanted"
		case has && !p.IsInSync(copied):
			return "the copy on " + id + " is not in sync"
		case has:
			inSync++
		}
	}
	primary := c.Node(p.Primary)
	switch {
	case inSync < min(m.Config.ReplicationFactor, len(nodes)):
		return fmt.Sprintf("%d copies", inSync)
	case primary == nil || !primary.IsPrimary(p):
		return fmt.Sprintf("%q is the primary and does not act", p.Primary)
	case p.Desired[0] != p.Primary && c.Node(p.Desired[0]) != nil:
		return p.Primary + " is the primary and is to hand over"
	}
	return ""
}
