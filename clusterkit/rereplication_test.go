package clusterkit_test

import (
	"slices"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/clusterkit/clustertest"
)

// TestADeadNodeKeepsItsPlaceForTheDelay kills one of four nodes, which returns
// within the delay, and kills it again, for good.
func TestADeadNodeKeepsItsPlaceForTheDelay(t *testing.T) {
	const delay = time.Minute
	config := clustertest.Config{
		Nodes: 4, Timeout: 3 * delay,
		Options: func(o *clusterkit.Options) { o.ReReplicationDelay = delay },
	}
	inCluster(t, config, func(t *testing.T, c *clustertest.Cluster) {
		const dead = "node-4"
		before := c.Map()
		samePlan := func(when string) {
			for i, p := range c.Map().Partitions {
				if !slices.Equal(p.Desired, before.Partitions[i].Desired) {
					t.Errorf("%s: %s is to be on %v, it was on %v", when, p.ID, p.Desired, before.Partitions[i].Desired)
				}
			}
		}
		gone := func(m *clusterkit.Map) bool { return !m.Node(dead).Alive }
		moved := func(m *clusterkit.Map) bool {
			return !slices.ContainsFunc(m.Partitions, func(p clusterkit.Partition) bool { return slices.Contains(p.Desired, dead) })
		}

		c.Kill(dead)
		c.WaitFor("end of the session", gone)
		time.Sleep(delay / 2)
		samePlan("in half of the delay")
		c.Restart(dead)
		c.WaitHealthy()
		samePlan("after the return")

		killed := time.Now()
		c.Kill(dead)
		c.WaitFor("another plan", moved)
		if after := time.Since(killed); after < delay {
			t.Errorf("planned anew after %s", after)
		}
		c.WaitHealthy()
		for _, p := range c.Map().Partitions {
			if len(p.InSync) != 3 || slices.Contains(nodesOf(p.InSync), dead) {
				t.Errorf("%s is on %v", p.ID, nodesOf(p.InSync))
			}
		}
	})
}
