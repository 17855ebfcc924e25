package clustertest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// Node returns the node as it was last started, nil while it is down.
func (c *Cluster) Node(id string) *clusterkit.ClusterKit {
	c.mu.Lock()
	defer c.mu.Unlock()
	if m := c.members[id]; m != nil {
		return m.kit
	}
	return nil
}

// Nodes returns the nodes that run, ordered by ID.
func (c *Cluster) Nodes() []*clusterkit.ClusterKit {
	c.mu.Lock()
	defer c.mu.Unlock()
	var nodes []*clusterkit.ClusterKit
	for _, id := range slices.Sorted(maps.Keys(c.members)) {
		if kit := c.members[id].kit; kit != nil {
			nodes = append(nodes, kit)
		}
	}
	return nodes
}

// ids returns all nodes, also those that are down.
func (c *Cluster) ids() []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Sorted(maps.Keys(c.members))
}

// Map returns the newest map that a node has, nil if none has one.
func (c *Cluster) Map() *clusterkit.Map {
	var newest *clusterkit.Map
	for _, node := range c.Nodes() {
		if m := node.Map(); m != nil && (newest == nil || m.Version > newest.Version) {
			newest = m
		}
	}
	return newest
}

// Clock returns the clock of a node. It is the same over restarts.
func (c *Cluster) Clock(id string) *Clock {
	c.tb.Helper()
	return c.member(id).clock
}

// HTTPClient returns a client on a machine that is no node of the cluster: the
// HTTP API of a node is at its ID and port 8080, "http://node-1:8080/cluster".
// Cuts do not concern it, only pauses.
func (c *Cluster) HTTPClient() *http.Client { return c.client }

// consensus is what a node says about Raft.
type consensus struct {
	State   string `json:"state"`
	Term    uint64 `json:"term"`
	Servers []struct {
		ID    string `json:"id"`
		Voter bool   `json:"voter"`
	} `json:"servers"`
}

func consensusOf(node *clusterkit.ClusterKit) consensus {
	answer := httptest.NewRecorder()
	node.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/consensus/stats", nil))
	var out consensus
	// What cannot be read is no consensus.
	_ = json.Unmarshal(answer.Body.Bytes(), &out)
	return out
}

// votersOf returns the nodes that vote, as far as the node knows.
func votersOf(node *clusterkit.ClusterKit) []string {
	var voters []string
	for _, server := range consensusOf(node).Servers {
		if id, _, _ := strings.Cut(server.ID, "/"); server.Voter {
			voters = append(voters, id)
		}
	}
	return voters
}

// leader returns the node that leads in the highest term, "" if none does.
func (c *Cluster) leader() string {
	leader, term := "", uint64(0)
	for _, node := range c.Nodes() {
		if r := consensusOf(node); r.State == "Leader" && r.Term > term {
			leader, term = node.GetMyNodeID(), r.Term
		}
	}
	return leader
}

// describe tells what the nodes are doing, and shows the newest map.
func (c *Cluster) describe() string {
	var b strings.Builder
	for _, id := range c.ids() {
		node := c.Node(id)
		if node == nil {
			fmt.Fprintf(&b, "%s: down\n", id)
			continue
		}
		fmt.Fprintf(&b, "%s: Raft %s, lease %t", id, strings.ToLower(consensusOf(node).State), node.HoldsLease())
		if m := node.Map(); m != nil {
			fmt.Fprintf(&b, ", map %d", m.Version)
		}
		if err := node.Err(); err != nil {
			fmt.Fprintf(&b, ", %v", err)
		}
		b.WriteByte('\n')
	}
	m := c.Map()
	if m == nil {
		return b.String() + "no node has a map"
	}
	fmt.Fprintf(&b, "map %d:\n", m.Version)
	for _, n := range m.Nodes {
		fmt.Fprintf(&b, "%s: incarnation %d, alive %t\n", n.ID, n.Incarnation, n.Alive)
	}
	for _, p := range m.Partitions {
		fmt.Fprintf(&b, "%s: epoch %d, primary %q, in sync %v, members %v, desired %v: %s\n",
			p.ID, p.Epoch, p.Primary, nodesOf(p.InSync), nodesOf(p.Members), p.Desired, p.Reason)
	}
	return b.String()
}

func nodesOf(copies []clusterkit.Member) []string {
	ids := make([]string, len(copies))
	for i, c := range copies {
		ids[i] = c.Node
	}
	return ids
}
