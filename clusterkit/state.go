package clusterkit

import (
	"cmp"
	"slices"
)

// edit collects the changes of one command. It copies what it changes: the
// base map stays as it is, and partitions that do not change keep sharing
// their slices with it.
type edit struct {
	base       *Map
	nodes      []Node
	partitions []Partition
	// rest has what else is to change; nil if nothing.
	rest []func(*Map)
	// load counts the primaries of each node, once an election needs it.
	load map[string]int
}

func newEdit(base *Map) *edit {
	return &edit{base: base, nodes: base.Nodes, partitions: base.Partitions}
}

// result returns the base map if nothing changed, else its successor.
func (e *edit) result() *Map {
	if !e.changedNodes() && !e.changedPartitions() && len(e.rest) == 0 {
		return e.base
	}
	next := *e.base
	for _, change := range e.rest {
		change(&next)
	}
	next.Version++
	next.Nodes = e.nodes
	next.Partitions = e.partitions
	return &next
}

func (e *edit) changedNodes() bool {
	return len(e.nodes) != len(e.base.Nodes) || len(e.nodes) > 0 && &e.nodes[0] != &e.base.Nodes[0]
}

func (e *edit) changedPartitions() bool {
	return len(e.partitions) > 0 && &e.partitions[0] != &e.base.Partitions[0]
}

func (e *edit) pause(paused bool) {
	if paused != e.base.Paused {
		e.rest = append(e.rest, func(m *Map) { m.Paused = paused })
	}
}

func (e *edit) setConfig(c Config) {
	if c != e.base.Config {
		e.rest = append(e.rest, func(m *Map) { m.Config = c })
	}
}

func (e *edit) setMetadata(metadata map[string]string) {
	e.rest = append(e.rest, func(m *Map) { m.Metadata = metadata })
}

func (e *edit) node(id string) *Node { return (&Map{Nodes: e.nodes}).Node(id) }

func (e *edit) present(c Member) bool { return (&Map{Nodes: e.nodes}).Present(c) }

// putNode adds the node or replaces the one of that ID.
func (e *edit) putNode(n Node) {
	i, found := slices.BinarySearchFunc(e.nodes, n.ID, func(n Node, id string) int { return cmp.Compare(n.ID, id) })
	e.nodes = slices.Clone(e.nodes)
	if found {
		e.nodes[i] = n
	} else {
		e.nodes = slices.Insert(e.nodes, i, n)
	}
}

// removeNode removes the node and all its copies, for good.
func (e *edit) removeNode(n Node) {
	e.nodes = slices.DeleteFunc(slices.Clone(e.nodes), func(other Node) bool { return other.ID == n.ID })
	removed := append(slices.Clone(e.base.Removed), RemovedNode{ID: n.ID, RaftID: n.RaftID, Incarnation: n.Incarnation})
	removed = removed[max(0, len(removed)-maxRemoved):]
	e.rest = append(e.rest, func(m *Map) { m.Removed = removed })
	reason := n.ID + " was removed"
	for i := range e.partitions {
		of := func(c Member) bool { return c.Node == n.ID }
		if p := &e.partitions[i]; !slices.ContainsFunc(p.Members, of) && p.Primary != n.ID {
			continue
		}
		p := e.partition(i)
		touch(p, reason)
		p.Members = slices.DeleteFunc(slices.Clone(p.Members), of)
		p.InSync = slices.DeleteFunc(slices.Clone(p.InSync), of)
		if p.Primary == n.ID && !e.elect(i, p.wantedPrimary(), reason) {
			e.setPrimary(p, "", reason)
		}
	}
}

// partition returns the partition for change. Its slices are still shared and
// must be replaced, not written to.
func (e *edit) partition(i int) *Partition {
	if !e.changedPartitions() {
		e.partitions = slices.Clone(e.partitions)
	}
	return &e.partitions[i]
}

// touch raises the version of the partition. A version also numbers the copies
// assigned in it, so that no two assignments of a partition share a number.
func touch(p *Partition, reason string) {
	p.Version++
	p.Reason = reason
}

// assign lets the partition begin empty: there is nothing to copy, so all
// copies are in sync.
func (e *edit) assign(i int, reason string) {
	var members []Member
	for _, id := range e.partitions[i].Desired {
		if n := e.node(id); n != nil && n.Alive {
			members = append(members, Member{Node: id, Store: n.Store, Incarnation: e.partitions[i].Version + 1})
		}
	}
	if len(members) == 0 {
		return
	}
	p := e.partition(i)
	touch(p, reason)
	p.Began = p.Version
	p.Members, p.InSync = members, members
	e.setPrimary(p, members[0].Node, p.Reason)
}

// elect makes a present in-sync copy the primary in a new epoch: the preferred
// node if it can be, else the node with the fewest primaries. It reports
// whether there was one.
func (e *edit) elect(i int, prefer, reason string) bool {
	candidates := slices.DeleteFunc(slices.Clone(e.partitions[i].InSync), func(c Member) bool { return !e.present(c) })
	if len(candidates) == 0 {
		return false
	}
	p := e.partition(i)
	load := e.primaries()
	load[p.Primary]--
	chosen := slices.MinFunc(candidates, func(a, b Member) int {
		return cmp.Or(
			compareBool(e.node(a.Node).Stopping, e.node(b.Node).Stopping),
			compareBool(b.Node == prefer, a.Node == prefer),
			cmp.Compare(load[a.Node], load[b.Node]),
			cmp.Compare(a.Node, b.Node),
		)
	}).Node
	load[p.Primary]++
	touch(p, reason)
	e.setPrimary(p, chosen, reason)
	return true
}

// setPrimary begins a new epoch.
func (e *edit) setPrimary(p *Partition, node, reason string) {
	load := e.primaries()
	load[p.Primary]--
	load[node]++
	p.Epoch++
	p.Primary = node
	p.Reason = reason
}

func (e *edit) primaries() map[string]int {
	if e.load == nil {
		e.load = make(map[string]int, len(e.nodes))
		for i := range e.partitions {
			e.load[e.partitions[i].Primary]++
		}
	}
	return e.load
}

// electMissing elects a primary wherever there is none or where it is gone,
// and a copy is there to take over.
func (e *edit) electMissing(reason string) {
	for i := range e.partitions {
		p := &e.partitions[i]
		if !p.assigned() {
			continue
		}
		if n := e.node(p.Primary); n != nil && n.Alive {
			continue
		}
		e.elect(i, p.wantedPrimary(), reason)
	}
}

// endSessions marks the nodes dead. With dropCopies their copies leave the
// in-sync sets, unless no other is present, and get a new incarnation, so that
// an acknowledgement of the copying before their death counts no more.
func (e *edit) endSessions(nodes []Node, dropCopies bool, reason string) {
	for _, n := range nodes {
		n.Alive, n.Stopping = false, false
		e.putNode(n)
	}
	if !dropCopies {
		return
	}
	for _, n := range nodes {
		for i := range e.partitions {
			p := &e.partitions[i]
			copied, ok := p.member(n.ID, n.Store)
			if !ok || p.IsInSync(copied) && !slices.ContainsFunc(p.InSync, e.present) {
				continue
			}
			e.copyAnew(i, copied, reason)
		}
	}
}

// copyAnew makes the copy a learner under a new incarnation.
func (e *edit) copyAnew(i int, copied Member, reason string) {
	p := e.partition(i)
	touch(p, reason)
	again := Member{Node: copied.Node, Store: copied.Store, Incarnation: p.Version}
	p.Members = replaceMember(p.Members, copied, again)
	p.InSync = withoutMember(p.InSync, copied)
}

// dropAbsentFromNewEpochs drops the copies that miss what the primaries of the
// epochs that this edit began are going to write. They were kept while nobody
// was there to be the primary. So, where copies are dropped, no in-sync copy is
// away while there is a primary.
func (e *edit) dropAbsentFromNewEpochs() {
	for i := range e.partitions {
		if p := &e.partitions[i]; p.Epoch == e.base.Partitions[i].Epoch || p.Primary == "" {
			continue // nobody is going to write
		}
		for _, c := range e.partitions[i].InSync {
			if !e.present(c) {
				e.copyAnew(i, c, c.Node+" was away when there was a primary again")
			}
		}
	}
}

// loseStore removes every copy on the node's store. The last in-sync copy of a
// partition stays listed, although it is gone: only the disk's return or an
// operator can make the partition serve again.
func (e *edit) loseStore(node Node) {
	const reason = "the node came back without its data"
	node.Alive = false
	e.putNode(node)
	for i := range e.partitions {
		p := &e.partitions[i]
		lost, ok := p.member(node.ID, node.Store)
		if !ok {
			continue
		}
		p = e.partition(i)
		touch(p, reason)
		if last := len(p.InSync) == 1 && p.InSync[0] == lost; !last {
			p.Members = withoutMember(p.Members, lost)
			p.InSync = withoutMember(p.InSync, lost)
		}
		if p.Primary == node.ID && !e.elect(i, p.wantedPrimary(), reason) {
			e.setPrimary(p, "", reason)
		}
	}
}

// force makes the node's copy, whatever it has, the only one in sync, and the
// primary. All others are copied anew from it.
func (e *edit) force(i int, n Node) {
	p := e.partition(i)
	reason := "forced onto " + n.ID + " by an operator: acknowledged writes may be lost"
	touch(p, reason)
	forced, ok := p.member(n.ID, n.Store)
	if !ok {
		forced = Member{Node: n.ID, Store: n.Store, Incarnation: p.Version}
	}
	members := []Member{forced}
	for _, c := range p.Members {
		if other := e.node(c.Node); c.Node != n.ID && other != nil && other.Store == c.Store {
			members = append(members, Member{Node: c.Node, Store: c.Store, Incarnation: p.Version})
		}
	}
	p.Members, p.InSync = members, []Member{forced}
	p.Forced++
	e.setPrimary(p, n.ID, reason)
}

// wantedPrimary is the planner's, "" before the first plan.
func (p *Partition) wantedPrimary() string {
	if len(p.Desired) == 0 {
		return ""
	}
	return p.Desired[0]
}

func withoutMember(members []Member, gone Member) []Member {
	return slices.DeleteFunc(slices.Clone(members), func(c Member) bool { return c == gone })
}

func replaceMember(members []Member, old, with Member) []Member {
	members = slices.Clone(members)
	if i := slices.Index(members, old); i >= 0 {
		members[i] = with
	}
	return members
}

// compareBool orders false before true.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	default:
		return 1
	}
}
