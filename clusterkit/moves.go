package clusterkit

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

// Move is one change between where the copies of a partition are and where the
// planner wants them.
type Move struct {
	// Partition is the partition's ID, Index its number.
	Partition string `json:"partition"`
	Index     int    `json:"index"`
	// Kind is a copy that is made on Node, the role of the primary that Node
	// is given, or a copy that Node gives up.
	Kind placement.StepKind `json:"kind"`
	Node string             `json:"node"`
	// From is the node that has the data, or the primary before; "" if there is
	// none.
	From string `json:"from,omitempty"`
	// Waiting says why the move does not go on at the moment, "" if it does.
	Waiting string `json:"waiting,omitempty"`
}

// Moves returns what is left to be done until all copies are where the planner
// wants them, in the order of the partitions; nil if nothing is.
func (m *Map) Moves() []Move {
	s := situation(m)
	var startable []placement.Step
	for _, step := range placement.Next(s) {
		if step.Kind == placement.StepCopy {
			startable = append(startable, step)
		}
	}
	making := make(map[string]int)
	for _, p := range s.Partitions {
		for _, c := range p.Copies {
			if c.Present && !c.Ready {
				making[c.Node]++
			}
		}
	}
	var out []Move
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if !p.assigned() || p.settled(m) {
			continue
		}
		v := moveView{m: m, p: p, making: making}
		v.starts = func(node string) bool {
			return slices.Contains(startable, placement.Step{Partition: i, Kind: placement.StepCopy, Node: node})
		}
		out = append(out, v.copies()...)
		out = append(out, v.handOver()...)
		out = append(out, v.releases()...)
	}
	return out
}

// moveView looks at the moves of one partition.
type moveView struct {
	m      *Map
	p      *Partition
	making map[string]int
	// starts reports whether the controller assigns the copy next.
	starts func(node string) bool
}

func (v moveView) move(kind placement.StepKind, node, from, waiting string) Move {
	return Move{Partition: v.p.ID, Index: v.p.Index, Kind: kind, Node: node, From: from, Waiting: waiting}
}

func (v moveView) complete(node string) bool {
	c, ok := v.m.CurrentMember(v.p, node)
	return ok && v.p.IsInSync(c) && v.m.Present(c)
}

func (v moveView) copies() []Move {
	source := ""
	if n := copySource(v.m, v.p); n != nil {
		source = n.ID
	}
	var out []Move
	for _, id := range v.p.Desired {
		if !v.complete(id) {
			out = append(out, v.move(placement.StepCopy, id, source, v.copyWaits(id, source)))
		}
	}
	return out
}

func (v moveView) copyWaits(id, source string) string {
	n := v.m.Node(id)
	_, assigned := v.m.CurrentMember(v.p, id)
	switch {
	case n == nil || !n.Alive:
		return id + " is down"
	case source == "":
		return "no node with a complete copy is up"
	case assigned, v.starts(id):
		return ""
	case v.m.Paused:
		return "moves are paused"
	case v.making[id] >= maxCopiesPerNode:
		return fmt.Sprintf("%s makes %d copies already, as many as it may at a time", id, v.making[id])
	default:
		return "another move of this partition, or room on " + id + ", comes first"
	}
}

func (v moveView) handOver() []Move {
	wanted := v.p.wantedPrimary()
	if wanted == "" || wanted == v.p.Primary {
		return nil
	}
	waiting := ""
	switch n := v.m.Node(v.p.Primary); {
	case !v.complete(wanted):
		waiting = "the copy on " + wanted + " is not complete and up"
	case n == nil || !n.Alive:
		waiting = "there is no primary that could hand over"
	case v.m.Paused:
		waiting = "moves are paused"
	}
	return []Move{v.move(placement.StepHandOver, wanted, v.p.Primary, waiting)}
}

func (v moveView) releases() []Move {
	missing := ""
	for _, id := range v.p.Desired {
		if missing == "" && !v.complete(id) {
			missing = id
		}
	}
	var out []Move
	for _, c := range v.p.Members {
		if slices.Contains(v.p.Desired, c.Node) && v.m.copyName(c) == c.Node {
			continue
		}
		waiting := ""
		switch {
		case c.Node == v.p.Primary:
			waiting = c.Node + " is still the primary"
		case len(v.p.InSync) == 1 && v.p.InSync[0] == c:
			waiting = "it is the last complete copy"
		case v.m.Paused:
			waiting = "moves are paused"
		case v.p.IsInSync(c) && missing != "":
			waiting = "the copy on " + missing + " is not complete and up"
		}
		out = append(out, v.move(placement.StepRelease, c.Node, "", waiting))
	}
	return out
}

// Moves returns what is left to be done as of the newest map: see [Map.Moves].
// Of the copies that are made on this node, it also knows what the hooks do.
func (ck *ClusterKit) Moves() []Move {
	m := ck.Map()
	if m == nil {
		return nil
	}
	moves := m.Moves()
	for i := range moves {
		if move := &moves[i]; move.Kind == placement.StepCopy && move.Node == ck.opts.NodeID && move.Waiting == "" {
			c, _ := m.CurrentMember(&m.Partitions[move.Index], move.Node)
			move.Waiting = ck.hooks.waiting(move.Index, c)
		}
	}
	return moves
}

// PauseMoves leaves all copies and primaries where they are, until
// [ClusterKit.ResumeMoves]. Copies that are being made are completed, primaries
// still fail over, and a partition that has lost a copy still gets another.
// An application may hold the copies that it makes, too: see [Map.Paused].
func (ck *ClusterKit) PauseMoves(ctx context.Context) error {
	return ck.change(ctx, "pause moves", pauseCommand{Paused: true})
}

// ResumeMoves ends a pause, and has the placement planned anew.
func (ck *ClusterKit) ResumeMoves(ctx context.Context) error {
	return ck.change(ctx, "resume moves", pauseCommand{})
}

// CancelMoves pauses the moves and takes back those of the given partitions, of
// all if none is given: complete copies stay, those that are being made are
// given up, unless there would be too few. Resuming plans them again.
func (ck *ClusterKit) CancelMoves(ctx context.Context, partitions ...int) error {
	return ck.change(ctx, "cancel moves", cancelCommand{Partitions: partitions})
}

// Changes are what [ClusterKit.DryRun] assumes. Zero fields change nothing.
type Changes struct {
	Drain   []string       `json:"drain,omitempty"`
	Undrain []string       `json:"undrain,omitempty"`
	Remove  []string       `json:"remove,omitempty"`
	Weights map[string]int `json:"weights,omitempty"`
	// ReplicationFactor is unchanged if 0.
	ReplicationFactor int `json:"replication_factor,omitempty"`
}

// Plan is what the cluster would do.
type Plan struct {
	// Rounds are the steps in order; those of a round go on side by side.
	Rounds [][]placement.Step `json:"rounds"`
	// Copies is the number of copies that are made: the least that leads to
	// the placement.
	Copies int `json:"copies"`
	// Nodes has what each node holds in the end.
	Nodes []NodeLoad `json:"nodes"`
}

// NodeLoad is what a node holds.
type NodeLoad struct {
	Node      string `json:"node"`
	Primaries int    `json:"primaries"`
	Copies    int    `json:"copies"`
}

// DryRun returns what the cluster would do after the changes, as if moves were
// not paused and nodes that are down came back. Nothing is changed. The errors
// match [ErrRefused], where the cluster would refuse a change, or
// [ErrNotReady].
func (ck *ClusterKit) DryRun(changes Changes) (Plan, error) {
	m := ck.Map()
	if m == nil {
		return Plan{}, ErrNotReady
	}
	return dryRun(m, changes)
}

func dryRun(m *Map, changes Changes) (Plan, error) {
	for _, c := range changes.commands() {
		next, verdict := c.apply(m, 0)
		if err := verdict.err(); err != nil {
			return Plan{}, err
		}
		m = next
	}
	changed, err := desires(m, placeable(m, nil, 0, time.Hour))
	if err != nil {
		return Plan{}, fmt.Errorf("plan: %w", err)
	}
	m, _ = desireCommand{Desired: changed}.apply(m, 0)
	plan := Plan{Rounds: placement.Steps(situation(m)), Nodes: []NodeLoad{}}
	for _, round := range plan.Rounds {
		for _, step := range round {
			if step.Kind == placement.StepCopy {
				plan.Copies++
			}
		}
	}
	for _, n := range m.Nodes {
		load := NodeLoad{Node: n.ID}
		for i := range m.Partitions {
			if at := slices.Index(m.Partitions[i].Desired, n.ID); at >= 0 {
				load.Copies++
				if at == 0 {
					load.Primaries++
				}
			}
		}
		plan.Nodes = append(plan.Nodes, load)
	}
	return plan, nil
}

func (c Changes) commands() []command {
	commands := []command{pauseCommand{}}
	if c.ReplicationFactor != 0 {
		commands = append(commands, replicationCommand{ReplicationFactor: c.ReplicationFactor})
	}
	for _, id := range c.Undrain {
		commands = append(commands, drainCommand{Node: id})
	}
	for _, id := range slices.Sorted(maps.Keys(c.Weights)) {
		commands = append(commands, weightCommand{Node: id, Weight: c.Weights[id]})
	}
	for _, id := range c.Drain {
		commands = append(commands, drainCommand{Node: id, Drain: true})
	}
	for _, id := range c.Remove {
		commands = append(commands, removeCommand{Node: id})
	}
	return commands
}
