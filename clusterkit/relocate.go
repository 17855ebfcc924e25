package clusterkit

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// Relocation is a change of where one partition is wanted. From and To are set
// both or neither.
type Relocation struct {
	// From is the node that is to give its copy to To.
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Primary is the node that is to be the primary, "" for no change: if From was
	// to be it, To is.
	Primary string `json:"primary,omitempty"`
}

// Relocated is what has become of a [Relocation].
type Relocated struct {
	// Desired is where the copies are wanted now, the primary first.
	Desired []string `json:"desired"`
	// UntilNextPlan: the nodes are not level now. The next plan levels them, by
	// this partition or another: it is made when a node comes, goes or changes, when
	// moves are resumed, and by each new leader of the control plane.
	UntilNextPlan bool `json:"until_next_plan,omitempty"`
}

// Relocate changes where a partition is wanted; [ClusterKit.Moves] shows how it
// gets there. The number of copies stays. It is refused for a node that is down,
// drained, or has no copy to give or has one already, and where more copies of
// the partition would share a zone. A plan that finds the nodes level as they are
// leaves them so.
func (ck *ClusterKit) Relocate(ctx context.Context, partition int, r Relocation) (Relocated, error) {
	m := ck.Map()
	if m == nil {
		return Relocated{}, ErrNotReady
	}
	if partition < 0 || partition >= len(m.Partitions) {
		return Relocated{}, fmt.Errorf("%w: %d: they are 0 to %d", ErrNoPartition, partition, len(m.Partitions)-1)
	}
	c := relocateCommand{Partition: partition, Relocation: r, Desired: m.Partitions[partition].Desired}
	next, verdict := c.apply(m, 0)
	if err := verdict.err(); err != nil {
		return Relocated{}, fmt.Errorf("move partition %d: %w", partition, err)
	}
	out := Relocated{Desired: next.Partitions[partition].Desired}
	unpaused, _ := pauseCommand{}.apply(next, 0)
	changes, err := desires(unpaused, placeable(unpaused, nil, 0, time.Hour))
	if err != nil {
		return Relocated{}, fmt.Errorf("move partition %d: plan: %w", partition, err)
	}
	out.UntilNextPlan = len(changes) > 0
	return out, ck.change(ctx, fmt.Sprintf("move partition %d", partition), c)
}

// relocateCommand changes where a partition is wanted, on the condition that it
// was wanted where Desired says.
type relocateCommand struct {
	Partition int `json:"partition"`
	Relocation
	Desired []string `json:"desired"`
}

func (relocateCommand) kind() commandKind { return kindRelocate }

func (c relocateCommand) apply(m *Map, _ uint64) (*Map, result) {
	p, bad := partitionAt(m, c.Partition)
	if p == nil {
		return m, bad
	}
	if c.From == "" && c.To == "" && c.Primary == "" || (c.From == "") != (c.To == "") {
		return m, refuse(codeBadRequest, "from and to belong together, and without them there is primary")
	}
	for _, id := range []string{c.From, c.To, c.Primary} {
		if id == "" {
			continue
		}
		if n, bad := nodeAt(m, id); n == nil {
			return m, bad
		}
	}
	if c.done(p.Desired) {
		return m, result{}
	}
	if !slices.Equal(p.Desired, c.Desired) {
		return m, refuse(codeStale, "%s is wanted on %v by now, not on %v", p.ID, p.Desired, c.Desired)
	}
	if refused := c.refused(m, p); refused.Code != codeOK {
		return m, refused
	}
	e := newEdit(m)
	e.partition(c.Partition).Desired = c.moved(p.Desired)
	return e.result(), result{}
}

// done reports whether the nodes are those after the relocation: it is a
// repetition.
func (c relocateCommand) done(nodes []string) bool {
	return (c.From == "" || !slices.Contains(nodes, c.From) && slices.Contains(nodes, c.To)) &&
		(c.Primary == "" || len(nodes) > 0 && nodes[0] == c.Primary)
}

// moved returns the nodes after the relocation, as far as it can be made.
func (c relocateCommand) moved(nodes []string) []string {
	nodes = slices.Clone(nodes)
	if i := slices.Index(nodes, c.From); i >= 0 && !slices.Contains(nodes, c.To) {
		nodes[i] = c.To
	}
	if i := slices.Index(nodes, c.Primary); i > 0 {
		nodes = slices.Insert(slices.Delete(nodes, i, i+1), 0, c.Primary)
	}
	return nodes
}

func (c relocateCommand) refused(m *Map, p *Partition) result {
	if c.From != "" {
		switch {
		case !slices.Contains(p.Desired, c.From):
			return refuse(codeRefusedChange, "no copy of %s is wanted on %s: they are on %v", p.ID, c.From, p.Desired)
		case slices.Contains(p.Desired, c.To):
			return refuse(codeRefusedChange, "%s has a copy of %s already", c.To, p.ID)
		}
		if bad := usable(m.Node(c.To)); bad.Code != codeOK {
			return bad
		}
		from, to := m.Node(c.From).Zone, m.Node(c.To).Zone
		if before, after := m.inZone(p.Desired, from), m.inZone(p.Desired, to)+1; from != to && after > before {
			return refuse(codeRefusedChange, "%d copies of %s would be in the zone %q, where %q now has %d: choose a node of another zone", after, p.ID, to, from, before)
		}
	}
	if c.Primary != "" {
		if !slices.Contains(c.moved(p.Desired), c.Primary) {
			return refuse(codeRefusedChange, "no copy of %s is wanted on %s, which cannot be its primary: they are on %v", p.ID, c.Primary, p.Desired)
		}
		return usable(m.Node(c.Primary))
	}
	return result{}
}

// usable refuses a node that nothing is to be moved to.
func usable(n *Node) result {
	switch {
	case !n.Alive:
		return refuse(codeRefusedChange, "%s is down", n.ID)
	case n.Draining:
		return refuse(codeRefusedChange, "%s is drained: undrain it first", n.ID)
	default:
		return result{}
	}
}

// inZone counts the nodes in a zone.
func (m *Map) inZone(nodes []string, zone string) int {
	count := 0
	for _, id := range nodes {
		if n := m.Node(id); n != nil && n.Zone == zone {
			count++
		}
	}
	return count
}
