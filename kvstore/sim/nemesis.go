package sim

import (
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// plan is what a run has in store. Each run leaves some of it out and has more
// of the rest: what always happens together hides what happens alone.
type plan struct {
	faults  []fault
	weights []int         // of the faults
	every   time.Duration // faults come that far apart at most
	lasting time.Duration // and last that long at most

	// likely is how likely faults lie in wait for a moment, beside those that
	// come at random.
	likely [numMoments]float64

	loss, repeat, late float64 // of what is sent
	slowDisk           float64 // of fsyncs
	preempt            float64 // of what goroutines do
	damage             float64 // of copies in transit
	apart              time.Duration
}

// moment is a phase of the protocol at which a fault is likely to hurt.
type moment uint8

const (
	electing moment = iota
	recovering
	serving
	proposing
	changing
	fetching
	relinquishing
	verifying
	expiring
	numMoments
)

func (w *world) drawPlan() plan {
	p := plan{
		every:    pick(w, 200*time.Millisecond, 500*time.Millisecond, time.Second, 2*time.Second),
		lasting:  pick(w, 200*time.Millisecond, 800*time.Millisecond, 2*time.Second),
		loss:     pick(w, 0, 0.01, 0.05),
		repeat:   pick(w, 0, 0.01, 0.05),
		late:     pick(w, 0, 0.01, 0.05),
		slowDisk: pick(w, 0, 0.02, 0.1),
		preempt:  pick(w, 0, 0.01, 0.05),
		damage:   pick(w, 0, 0.1, 0.5),
		apart:    pick(w, 0, 20*time.Millisecond, 200*time.Millisecond, time.Second),
	}
	for m := range p.likely {
		p.likely[m] = pick(w, 0, 0, 0, 0.1, 0.5)
	}
	p.faults = faults()
	for range p.faults {
		p.weights = append(p.weights, max(0, w.rng.IntN(5)-1))
	}
	return p
}

// fault does something bad, for d, to n or to something that n has to do with.
type fault func(w *world, n *node, d time.Duration)

func faults() []fault {
	return []fault{
		(*world).crashFor,
		(*world).crashFor,
		(*world).relay,
		func(w *world, _ *node, d time.Duration) { // power cut
			for _, n := range w.nodes {
				w.crashFor(n, w.between(0, d))
			}
		},
		func(w *world, n *node, d time.Duration) { n.pause(d) },
		func(w *world, n *node, d time.Duration) { w.cut(n.id, w.someEnd(), d) },
		func(w *world, n *node, d time.Duration) { w.cut(w.someEnd(), n.id, d) },
		func(w *world, n *node, d time.Duration) { // alone
			for _, other := range w.ends() {
				w.cut(n.id, other, d)
				w.cut(other, n.id, d)
			}
		},
		func(w *world, n *node, d time.Duration) { // unheard by the control plane
			w.cut(n.id, controlPlane, d)
			w.cut(controlPlane, n.id, d)
			w.cutPair(n.id, w.someEnd(), d)
		},
		(*world).separate,
		(*world).tangle,
		(*world).split,
		(*world).wipe,
		func(w *world, _ *node, _ time.Duration) { w.handOver() },
		func(w *world, _ *node, d time.Duration) { w.strand(d) },
		func(_ *world, n *node, d time.Duration) { n.stall(d) },
	}
}

// nemesis does something bad, and comes again.
func (w *world) nemesis() {
	if w.healing {
		return
	}
	w.strike(w.someNode())
	w.after(w.between(0, w.plan.every), w.nemesis)
}

// ambush strikes shortly after a moment for which faults lie in wait.
func (w *world) ambush(m moment, n *node) {
	if w.healing || !w.chance(w.plan.likely[m]) {
		return
	}
	w.after(w.between(0, pick(w, 3*time.Millisecond, 50*time.Millisecond, lease)), func() {
		if w.healing {
			return
		}
		for range pick(w, 1, 1, 2, 3) {
			if w.chance(0.4) {
				n = w.someNode()
			}
			w.strike(n)
		}
	})
}

func (w *world) strike(n *node) {
	total := 0
	for _, weight := range w.plan.weights {
		total += weight
	}
	if total == 0 {
		return
	}
	draw := w.rng.IntN(total)
	for i, weight := range w.plan.weights {
		if draw -= weight; draw < 0 {
			w.plan.faults[i](w, n, w.between(0, w.plan.lasting))
			return
		}
	}
}

// someNode draws a node, and often the primary.
func (w *world) someNode() *node {
	if w.chance(0.4) {
		return w.leader()
	}
	return w.nodes[w.rng.IntN(len(w.nodes))]
}

// ends are all ends of the network.
func (w *world) ends() []int {
	ends := []int{controlPlane}
	for _, n := range w.nodes {
		ends = append(ends, n.id)
	}
	return ends
}

func (w *world) someEnd() int { return pick(w, w.ends()...) }

func (w *world) cutPair(a, b int, d time.Duration) {
	w.cut(a, b, d)
	w.cut(b, a, d)
}

// separate cuts a node from all others, but not from the control plane: both
// ways, or only one.
func (w *world) separate(n *node, d time.Duration) {
	out, in := w.oneOrBoth()
	for _, other := range w.nodes {
		if out {
			w.cut(n.id, other.id, d+lease)
		}
		if in {
			w.cut(other.id, n.id, d+lease)
		}
	}
}

// oneOrBoth draws the directions of a cut.
func (w *world) oneOrBoth() (out, in bool) {
	out = w.chance(0.7)
	return out, !out || w.chance(0.7)
}

// tangle cuts about half of all pairs: who reaches whom has no order. Among
// other things a primary that the control plane has given up may reach some
// that its successor does not.
func (w *world) tangle(_ *node, d time.Duration) {
	ends := w.ends()
	for i, a := range ends {
		for _, b := range ends[:i] {
			if w.chance(0.5) {
				w.cutPair(a, b, d+lease)
			}
		}
	}
}

// relay takes the others down and then the primary, when they come back: who
// takes over has forgotten everything but its disk, and missed the last of what
// the primary said.
func (w *world) relay(_ *node, d time.Duration) {
	primary := w.leader()
	d = min(d, 250*time.Millisecond)
	for _, n := range w.nodes {
		if n != primary {
			w.crashFor(n, w.between(0, d))
		}
	}
	w.after(d, func() {
		if !w.healing {
			w.crashFor(primary, 2*lease)
		}
	})
}

// split parts the network in two, and has the control plane on the side that
// the node is not on. That side hears from it again before it hears from the
// other nodes, and may be slow to act on that.
func (w *world) split(n *node, d time.Duration) {
	here := map[int]bool{n.id: true}
	for _, o := range w.nodes {
		if o != n && w.chance(0.5) {
			here[o.id] = true
		}
	}
	d += lease
	alone := pick(w, d, leaseWait+w.between(0, d/4))
	for _, a := range w.nodes {
		if !here[a.id] {
			continue
		}
		w.cutPair(a.id, controlPlane, alone)
		for _, b := range w.nodes {
			if !here[b.id] {
				w.cutPair(a.id, b.id, d)
			}
		}
	}
	if w.chance(0.5) {
		n.stall(d)
	}
}

// strand makes a primary hand over to a node that loses its disk before the
// control plane hears of it.
func (w *world) strand(d time.Duration) {
	n := w.leader()
	w.cut(n.id, controlPlane, d)
	w.handOver()
	w.after(w.between(0, d/2), func() {
		if role, _ := n.replica.Role(); !w.healing && n.up && role == partition.Relinquished {
			for _, m := range n.view.InSync {
				if to := w.nodes[nodeOf(m)]; to != n {
					w.wipe(to, d/4)
					return
				}
			}
		}
	})
}

// stall makes the node act on what the control plane says later than it knows
// it.
func (n *node) stall(d time.Duration) {
	if n.up && !n.stalled {
		n.stalled = true
		n.later(d, func() {
			n.stalled = false
			n.replica.Configure(n.view)
		})
	}
}

func (n *node) pause(d time.Duration) {
	n.w.note("pause", n.id, uint64(d), 0, 0)
	n.paused = max(n.paused, n.w.now+d)
}

func (w *world) crashFor(n *node, d time.Duration) {
	n.crash()
	w.startAfter(n, d)
}

func (w *world) startAfter(n *node, d time.Duration) {
	p := n.process
	w.after(d, func() {
		if !n.up && n.process == p && (n != w.away || w.apart) {
			n.start()
		}
	})
}

// disksKnown reports whether the control plane knows the disks of all in-sync
// members.
func (w *world) disksKnown() bool {
	return !slices.ContainsFunc(w.control.view.InSync, func(m partition.Member) bool {
		return w.nodes[nodeOf(m)].disk.store != m.Store
	})
}

// lossy reports whether the copy of an in-sync member is about to be given up.
func (w *world) lossy() bool {
	return slices.ContainsFunc(w.control.view.InSync, func(m partition.Member) bool { return w.nodes[nodeOf(m)].disk.refused == m })
}

// wipe takes a disk away, if the promise covers that: min-in-sync less one
// disks at a time, here one, and only while another is in-sync.
func (w *world) wipe(n *node, d time.Duration) {
	if w.opt.MinInSync < 2 || len(w.control.view.InSync) < 2 || !w.disksKnown() || w.lossy() {
		return
	}
	w.note("wipe", n.id, 0, 0, 0)
	w.count(wipes)
	n.crash()
	n.format()
	w.startAfter(n, d)
}

func (w *world) handOver() {
	for _, n := range w.nodes {
		if n.up && n.servingEpoch() != 0 {
			n.later(0, func() {
				to := pick(w, n.replica.View().InSync...)
				if n.servingEpoch() != 0 && n.replica.HandOver(to, 300*time.Millisecond) {
					w.note("hand over", n.id, uint64(nodeOf(to)), 0, 0)
					w.count(handOvers)
				}
			})
		}
	}
}
