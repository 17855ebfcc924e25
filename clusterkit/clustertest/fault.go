package clustertest

// Cut lets nothing pass between two nodes, until Heal. As with a cable that is
// pulled nothing breaks: what is sent, and what was under way, waits and arrives
// when the cut is healed, unless its sender or reader has given up.
func (c *Cluster) Cut(a, b string) {
	c.tb.Helper()
	c.cut(way{c.member(a).id, c.member(b).id}, way{b, a})
}

// CutOneWay lets nothing pass from one node to the other, until Heal. The
// connections that there are carry on in the other direction; new ones cannot be
// made.
func (c *Cluster) CutOneWay(from, to string) {
	c.tb.Helper()
	c.cut(way{c.member(from).id, c.member(to).id})
}

// Isolate cuts the nodes off from all others, until Heal. Among one another they
// are not cut. Requests by [Cluster.HTTPClient] still reach them.
func (c *Cluster) Isolate(ids ...string) {
	c.tb.Helper()
	inside := make(map[string]bool)
	for _, id := range ids {
		inside[c.member(id).id] = true
	}
	var ways []way
	for _, other := range c.ids() {
		for id := range inside {
			if !inside[other] {
				ways = append(ways, way{id, other}, way{other, id})
			}
		}
	}
	c.cut(ways...)
}

func (c *Cluster) cut(ways ...way) {
	c.network.change(func() {
		for _, w := range ways {
			c.network.cut[w] = true
		}
	})
}

// Heal ends all cuts.
func (c *Cluster) Heal() { c.network.change(func() { clear(c.network.cut) }) }

// Pause lets the traffic of a node stand still in both directions, until
// Resume, while its clock goes on. To all others it looks like a process that
// got a SIGSTOP: connections to it are made, and stay, but nothing is answered.
// Within one process the node itself cannot be kept from running: it notices
// that its lease runs out, its hooks go on, and it writes to its disk.
func (c *Cluster) Pause(id string) { c.setPaused(id, true) }

// Resume ends a pause. What has come in meanwhile arrives now.
func (c *Cluster) Resume(id string) { c.setPaused(id, false) }

func (c *Cluster) setPaused(id string, paused bool) {
	c.tb.Helper()
	id = c.member(id).id
	c.network.change(func() { c.network.paused[id] = paused })
}
