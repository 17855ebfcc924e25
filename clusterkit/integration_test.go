package clusterkit

import (
	"testing"
)

func TestThreeNodesBootstrapAndFailOver(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.start(nil, "node-1", "node-2", "node-3")
	c.ready("node-1", "node-2", "node-3")
	c.settled(3)
	victim := "node-2"
	if c.leader() == victim {
		victim = "node-3"
	}
	c.kill(victim)
	c.eventually("failover", func() bool {
		for _, ck := range c.nodes {
			m := ck.Map()
			for i := range m.Partitions {
				if m.Partitions[i].Primary == victim || m.Node(victim).Alive {
					return false
				}
			}
		}
		return true
	})
}
