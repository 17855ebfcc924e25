package clusterkit

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/hashicorp/raft"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

const (
	// maxVoters bounds the nodes that vote in Raft; further ones only follow.
	maxVoters = 5
	// maxCopiesPerNode bounds the copies that are made on one node at a time.
	maxCopiesPerNode = 8
	// registrationTime is how long a server may be let in without its node
	// having registered.
	registrationTime = 5 * time.Minute
	// promotionLag is how many entries a follower may be behind to be made a
	// voter.
	promotionLag = 64
)

// placeable returns the IDs of the nodes that copies may be placed on: the
// live ones, and dead ones that keep their place. A dead node keeps it for the
// delay, unless a partition on it has too few copies left, and for longer
// where no other node could take its copies. deadSince has the dead nodes.
func placeable(m *Map, deadSince map[string]time.Duration, now, delay time.Duration) []string {
	var live, lost []string
	urgent := underReplicated(m)
	for _, n := range m.Nodes {
		since, dead := deadSince[n.ID]
		switch {
		case !dead, now < since+delay && !urgent[n.ID]:
			live = append(live, n.ID)
		default:
			lost = append(lost, n.ID)
		}
	}
	if missing := m.Config.ReplicationFactor - len(live); missing > 0 {
		live = append(live, lost[:min(missing, len(lost))]...)
	}
	slices.Sort(live)
	return live
}

// underReplicated returns the dead nodes that hold a copy of a partition with
// fewer than min-in-sync live copies in sync.
func underReplicated(m *Map) map[string]bool {
	nodes := make(map[string]bool)
	for i := range m.Partitions {
		p := &m.Partitions[i]
		present := 0
		for _, c := range p.InSync {
			if m.Present(c) {
				present++
			}
		}
		if present >= m.Config.MinInSync {
			continue
		}
		for _, c := range p.Members {
			if !m.Present(c) {
				nodes[c.Node] = true
			}
		}
	}
	return nodes
}

// desires returns the partitions whose wanted nodes change when copies may be
// placed on the given nodes.
func desires(m *Map, nodes []string) ([]desire, error) {
	if len(nodes) == 0 {
		return nil, nil
	}
	req := placement.Request{
		Partitions:        len(m.Partitions),
		ReplicationFactor: m.Config.ReplicationFactor,
		Current:           make([][]string, len(m.Partitions)),
	}
	for _, id := range nodes {
		req.Nodes = append(req.Nodes, placement.Node{ID: id})
	}
	for i := range m.Partitions {
		req.Current[i] = standing(&m.Partitions[i], nodes)
	}
	plan, err := placement.Plan(req)
	if err != nil {
		return nil, err
	}
	var out []desire
	for i, wanted := range plan {
		if !slices.Equal(wanted, m.Partitions[i].Desired) {
			out = append(out, desire{Partition: i, Nodes: wanted})
		}
	}
	return out, nil
}

// standing is what a new plan starts from: the plan before, so that moves go
// on to where they were going, and where that plan has lost a node, any other
// copy in sync as well.
func standing(p *Partition, nodes []string) []string {
	var out []string
	add := func(id string) {
		if slices.Contains(nodes, id) && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	complete := len(p.Desired) > 0
	for _, id := range p.Desired {
		complete = complete && slices.Contains(nodes, id)
	}
	if !complete {
		add(p.Primary)
	}
	for _, id := range p.Desired {
		add(id)
	}
	if !complete {
		for _, c := range p.InSync {
			add(c.Node)
		}
	}
	return out
}

// nextMoves returns the steps that can be taken now, at most one for each
// partition: a copy is assigned where a wanted node has none, and released
// where it is not wanted and everything that is wanted is in sync.
func nextMoves(m *Map) []move {
	copying := make(map[string]int)
	for i := range m.Partitions {
		p := &m.Partitions[i]
		for _, c := range p.Members {
			if !p.IsInSync(c) && m.Present(c) {
				copying[c.Node]++
			}
		}
	}
	var out []move
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if !p.assigned() {
			continue
		}
		step := move{Partition: i, Epoch: p.Epoch, Version: p.Version}
		if id, ok := missingCopy(m, p, copying); ok {
			copying[id]++
			step.Learner = id
			out = append(out, step)
		} else if c, ok := releasable(m, p); ok {
			step.Release = c
			out = append(out, step)
		}
	}
	return out
}

// missingCopy returns a wanted node that has no copy and room to make one.
func missingCopy(m *Map, p *Partition, copying map[string]int) (string, bool) {
	for _, id := range p.Desired {
		n := m.Node(id)
		if n == nil || !n.Alive || copying[id] >= maxCopiesPerNode {
			continue
		}
		if _, has := p.member(id, n.Store); !has {
			return id, true
		}
	}
	return "", false
}

func releasable(m *Map, p *Partition) (Member, bool) {
	settled := slices.Contains(p.Desired, p.Primary)
	for _, id := range p.Desired {
		c, ok := m.CurrentMember(p, id)
		settled = settled && ok && p.IsInSync(c) && m.Present(c)
	}
	for _, c := range p.Members {
		wanted := slices.Contains(p.Desired, c.Node)
		last := len(p.InSync) == 1 && p.InSync[0] == c
		switch {
		case c.Node == p.Primary || last:
		case !wanted && (settled || !p.IsInSync(c)):
			return c, true
		}
	}
	return Member{}, false
}

// serverChange is one change of Raft's configuration.
type serverChange struct {
	server raft.Server
	// promote makes the server a voter; otherwise it is removed.
	promote bool
}

// nextServerChange returns the change of Raft's configuration that comes next,
// and whether there is one. First the identities of lost disks go, and servers
// that were let in and abandoned, then followers that have caught up become
// voters.
func nextServerChange(servers []raft.Server, m *Map, caughtUp func(Node) bool, abandoned func(raft.ServerID) bool) (serverChange, bool) {
	voters := 0
	for _, s := range servers {
		if s.Suffrage == raft.Voter {
			voters++
		}
		if n := nodeOfServer(m, s.ID); n != nil && n.Alive && n.RaftID != string(s.ID) && caughtUp(*n) {
			return serverChange{server: s}, true
		}
		if unregistered(s, m) && abandoned(s.ID) {
			return serverChange{server: s}, true
		}
	}
	for _, s := range servers {
		n := nodeOfServer(m, s.ID)
		if s.Suffrage != raft.Voter && voters < maxVoters && n != nil && n.Alive && caughtUp(*n) {
			return serverChange{server: s, promote: true}, true
		}
	}
	return serverChange{}, false
}

// unregistered reports whether the server was let in, and no node of the map
// runs under its identity.
func unregistered(s raft.Server, m *Map) bool {
	n := nodeOfServer(m, s.ID)
	return s.Suffrage != raft.Voter && (n == nil || n.RaftID != string(s.ID))
}

// letIn has since when each server has been let in without having registered.
type letIn map[raft.ServerID]time.Duration

func (l letIn) follow(servers []raft.Server, m *Map, now time.Duration) {
	waiting := make(letIn)
	for _, s := range servers {
		if unregistered(s, m) {
			waiting[s.ID] = now
		}
	}
	maps.DeleteFunc(l, func(id raft.ServerID, _ time.Duration) bool {
		_, still := waiting[id]
		return !still
	})
	maps.Copy(waiting, l)
	maps.Copy(l, waiting)
}

func (l letIn) abandoned(id raft.ServerID, now time.Duration) bool {
	since, ok := l[id]
	return ok && now >= since+registrationTime
}

func nodeOfServer(m *Map, id raft.ServerID) *Node {
	nodeID, _, _ := strings.Cut(string(id), "/")
	return m.Node(nodeID)
}
