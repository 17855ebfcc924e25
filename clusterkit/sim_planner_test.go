package clusterkit

import (
	"slices"

	"github.com/hashicorp/raft"
)

// What the planner of controller.go does in the term of a leader.

// tick reviews the map now and then, and the table's term with it.
func (c *simControl) tick(table *sessionTable) {
	if c.table == table {
		c.review()
		c.n.sleep(reviewInterval, func() { c.tick(table) })
	}
}

// review does what planner.once does.
func (c *simControl) review() {
	if c.table == nil || c.n.m == nil {
		return
	}
	if c.reviewing {
		c.again = true
		return
	}
	c.reviewing = true
	c.n.step(c.desire)
}

func (c *simControl) reviewed() {
	c.reviewing = false
	if c.again {
		c.again = false
		c.review()
	}
}

func (c *simControl) desire() {
	n := c.n
	m, now := n.m, n.clock()
	for _, node := range m.Nodes {
		if _, noted := c.deadSince[node.ID]; node.Alive {
			delete(c.deadSince, node.ID)
		} else if !noted {
			c.deadSince[node.ID] = now
		}
	}
	basis := planBasis{nodes: placeable(m, c.deadSince, now, n.w.opt.reReplicate), replicas: m.Config.ReplicationFactor, paused: m.Paused}
	if basis.equal(c.planned) {
		c.move()
		return
	}
	changes, err := desires(m, basis.nodes)
	if err != nil {
		n.w.violate("plan: %v", err)
	}
	if len(changes) == 0 {
		c.planned = basis
		c.move()
		return
	}
	n.step(func() {
		c.apply(desireCommand{Term: c.number, Desired: changes}, func(_ result, err error) {
			if err == nil {
				c.planned = basis
			}
			c.move()
		})
	})
}

func (c *simControl) move() {
	steps := nextMoves(c.n.m)
	if len(steps) == 0 {
		c.changeServers()
		return
	}
	c.n.step(func() {
		c.apply(movesCommand{Term: c.number, Steps: steps}, func(result, error) { c.changeServers() })
	})
}

func (c *simControl) changeServers() {
	n := c.n
	if c.table == nil {
		c.reviewed()
		return
	}
	servers := c.servers.observe(n.w.raft.servers, n.m, func(node Node) bool {
		applied := c.table.applied[sessionRef{Node: node.ID, Incarnation: node.Incarnation}]
		return applied > 0 && applied+promotionLag >= uint64(n.applied)
	}, n.clock())
	change, ok := nextServerChange(servers)
	if !ok {
		c.reviewed()
		return
	}
	if change.kind == serverRemoval && change.id == c.servers.self {
		n.w.raft.handOn(n)
		c.reviewed()
		return
	}
	n.w.say("%s: %s of server %s", n.name, change.kind, change.id)
	n.w.raft.propose(n, nil, func(servers []raft.Server) []raft.Server {
		i := slices.IndexFunc(servers, func(s raft.Server) bool { return s.ID == change.id })
		switch {
		case i < 0:
		case change.kind == serverPromotion:
			servers[i].Suffrage = raft.Voter
		case change.kind == serverDemotion:
			servers[i].Suffrage = raft.Nonvoter
		case change.kind == serverRemoval:
			servers = slices.Delete(servers, i, i+1)
		}
		return servers
	}, func(result, error) { c.reviewed() })
}
