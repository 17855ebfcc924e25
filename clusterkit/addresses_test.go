package clusterkit_test

import (
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/clusterkit/clustertest"
)

// ports has where the nodes are to start next. A port of a host stands for an
// address that nobody has had, or that another process had before.
type ports struct {
	mu   sync.Mutex
	next int
	// http and raft have the ports of each node; joins has whom it is told to
	// join when it starts.
	http, raft map[string]string
	joins      map[string][]string
}

func (p *ports) set(o *clusterkit.Options) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.http[o.NodeID] == "" {
		p.move(o.NodeID)
	}
	o.HTTPAddr, o.RaftAddr, o.JoinAddr = net.JoinHostPort(o.NodeID, p.http[o.NodeID]), net.JoinHostPort(o.NodeID, p.raft[o.NodeID]), ""
	var joins []string
	for _, id := range p.joins[o.NodeID] {
		joins = append(joins, net.JoinHostPort(id, p.http[id]))
	}
	o.JoinAddr = strings.Join(joins, ",")
}

func (p *ports) move(id string) {
	p.next += 2
	p.http[id], p.raft[id] = fmt.Sprint(2000+p.next), fmt.Sprint(2001+p.next)
}

// TestAddressesChangeInAnyOrder kills nodes of five, again and again, and starts
// them elsewhere, together or one after the other. Those that are down together
// each know one other.
func TestAddressesChangeInAnyOrder(t *testing.T) {
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			random := rand.New(rand.NewPCG(seed, 0))
			p := &ports{http: make(map[string]string), raft: make(map[string]string), joins: make(map[string][]string)}
			ids := []string{"node-1", "node-2", "node-3", "node-4", "node-5"}
			for _, id := range ids[1:] {
				p.joins[id] = ids[:1]
			}
			inCluster(t, clustertest.Config{Nodes: len(ids), Options: p.set}, func(t *testing.T, c *clustertest.Cluster) {
				c.WaitHealthy()
				for round := range 5 {
					moving := slices.Clone(ids)
					random.Shuffle(len(moving), func(i, j int) { moving[i], moving[j] = moving[j], moving[i] })
					moving = moving[:1+random.IntN(len(moving))]
					for _, id := range moving {
						c.Kill(id)
					}
					p.mu.Lock()
					for i, id := range moving {
						if random.IntN(4) > 0 {
							p.move(id)
						}
						p.joins[id] = []string{moving[(i+1)%len(moving)]}
					}
					p.mu.Unlock()
					for _, id := range moving {
						c.Restart(id)
					}
					c.WaitHealthy()
					if err := c.Node(ids[random.IntN(len(ids))]).SetMetadata(t.Context(), "round", fmt.Sprint(round)); err != nil {
						t.Fatalf("round %d: %v", round, err)
					}
					for _, id := range ids {
						if n := c.Map().Node(id); n.RaftAddr != net.JoinHostPort(id, p.raft[id]) {
							t.Errorf("round %d: %s is taken to be at %s, not %s", round, id, n.RaftAddr, p.raft[id])
						}
					}
				}
			})
		})
	}
}
