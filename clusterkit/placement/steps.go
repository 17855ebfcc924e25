package placement

import "slices"

// Copy is a replica of a partition, complete or being made.
type Copy struct {
	Node string
	// Ready is true once the copy is complete and kept up to date.
	Ready bool
	// Present is true while the node can be reached.
	Present bool
}

// Progress is how far one partition is on the way to its plan.
type Progress struct {
	// Copies has a node at most once.
	Copies []Copy
	// Primary is the primary's position in Copies, or negative.
	Primary int
	// Wanted is the partition's row of the plan, the wanted primary first.
	Wanted []string
}

// Situation is a question to [Next].
type Situation struct {
	Partitions []Progress
	// Present has the nodes that can be given copies now.
	Present map[string]bool
	// CopiesPerNode bounds the copies that are made on a node at a time, and
	// how many a node may hold beyond those that the plan gives it.
	CopiesPerNode int
	// Paused leaves everything where it is, except that a partition with
	// fewer present copies than wanted still gets new ones.
	Paused bool
}

// StepKind says what a [Step] does.
type StepKind string

// The kinds of steps, in the order in which a partition takes them.
const (
	// StepCopy makes a copy on the node.
	StepCopy StepKind = "copy"
	// StepHandOver makes the node the primary; its copy is ready.
	StepHandOver StepKind = "hand_over"
	// StepRelease gives up the copy of the node.
	StepRelease StepKind = "release"
)

// Step is one change on the way to a plan.
type Step struct {
	Partition int      `json:"partition"`
	Kind      StepKind `json:"kind"`
	Node      string   `json:"node"`
}

// Next returns the steps that can be taken now, in the order of the
// partitions: at most one copy or release for each, and a hand-over. Releases
// wait until everything that is wanted is ready and present, so at no time has
// a partition fewer copies than before, or than wanted.
func Next(s Situation) []Step {
	w := newWorkload(s)
	var steps []Step
	for i, p := range s.Partitions {
		if s.Paused {
			if p.present() < len(p.Wanted) {
				steps = append(steps, w.copies(i, p)...)
			}
			continue
		}
		copies := w.copies(i, p)
		steps = append(steps, copies...)
		if p.handOverDue() {
			steps = append(steps, Step{i, StepHandOver, p.Wanted[0]})
		}
		if len(copies) > 0 {
			continue
		}
		if c, ok := p.releasable(); ok {
			steps = append(steps, Step{i, StepRelease, c.Node})
		}
	}
	return steps
}

// Steps returns the whole way to the plan, in rounds: the steps of a round can
// be taken side by side, and those of the next when they are completed. It is
// what [Next] leads to if nothing else changes.
func Steps(s Situation) [][]Step {
	partitions := slices.Clone(s.Partitions)
	for i := range partitions {
		partitions[i].Copies = slices.Clone(partitions[i].Copies)
		for j := range partitions[i].Copies {
			// What is being made will be ready.
			c := &partitions[i].Copies[j]
			c.Ready = c.Ready || c.Present
		}
	}
	s.Partitions = partitions
	var rounds [][]Step
	for {
		steps := Next(s)
		if len(steps) == 0 {
			return rounds
		}
		for _, step := range steps {
			partitions[step.Partition].complete(step)
		}
		rounds = append(rounds, steps)
	}
}

func (p *Progress) complete(s Step) {
	at := slices.IndexFunc(p.Copies, func(c Copy) bool { return c.Node == s.Node })
	switch s.Kind {
	case StepCopy:
		p.Copies = append(p.Copies, Copy{Node: s.Node, Ready: true, Present: true})
	case StepHandOver:
		p.Primary = at
	case StepRelease:
		p.Copies = slices.Delete(p.Copies, at, at+1)
		if p.Primary > at {
			p.Primary--
		}
	}
}

// workload has what the nodes hold and make.
type workload struct {
	situation Situation
	// making counts the copies that are being made on a node, room how many
	// more it may hold.
	making, room map[string]int
	// waits is set once a partition was kept from a node for want of room.
	waits bool
}

func newWorkload(s Situation) *workload {
	w := &workload{situation: s, making: make(map[string]int), room: make(map[string]int)}
	for id := range s.Present {
		w.room[id] = s.CopiesPerNode
	}
	for _, p := range s.Partitions {
		for _, id := range p.Wanted {
			w.room[id]++
		}
		for _, c := range p.Copies {
			w.room[c.Node]--
			if !c.Ready && c.Present {
				w.making[c.Node]++
			}
		}
	}
	return w
}

// copies returns the copy that can be made of the partition now, if any. The
// first partition that waits for room is given it, so that no two wait for one
// another.
func (w *workload) copies(partition int, p Progress) []Step {
	for _, id := range p.Wanted {
		if !w.situation.Present[id] || p.holds(id) || w.making[id] >= w.situation.CopiesPerNode {
			continue
		}
		if w.room[id] <= 0 {
			if w.waits {
				continue
			}
			w.waits = true
		}
		w.making[id]++
		w.room[id]--
		return []Step{{partition, StepCopy, id}}
	}
	return nil
}

func (p Progress) holds(id string) bool {
	return slices.ContainsFunc(p.Copies, func(c Copy) bool { return c.Node == id })
}

func (p Progress) isReady(id string) bool {
	return slices.ContainsFunc(p.Copies, func(c Copy) bool { return c.Node == id && c.Ready && c.Present })
}

func (p Progress) present() int {
	n := 0
	for _, c := range p.Copies {
		if c.Present {
			n++
		}
	}
	return n
}

// handOverDue reports whether the wanted primary is ready and not yet the
// primary.
func (p Progress) handOverDue() bool {
	if p.Primary < 0 || len(p.Wanted) == 0 {
		return false
	}
	return p.Copies[p.Primary].Node != p.Wanted[0] && p.isReady(p.Wanted[0])
}

// releasable returns a copy that nobody needs any more.
func (p Progress) releasable() (Copy, bool) {
	settled := p.Primary >= 0 && slices.Contains(p.Wanted, p.Copies[p.Primary].Node)
	for _, id := range p.Wanted {
		settled = settled && p.isReady(id)
	}
	ready := 0
	for _, c := range p.Copies {
		if c.Ready {
			ready++
		}
	}
	for i, c := range p.Copies {
		last := c.Ready && ready == 1
		if i == p.Primary || last || slices.Contains(p.Wanted, c.Node) {
			continue
		}
		if settled || !c.Ready {
			return c, true
		}
	}
	return Copy{}, false
}
