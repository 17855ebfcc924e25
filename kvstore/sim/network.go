package sim

import "time"

// maxNodes bounds Options.Nodes.
const maxNodes = 5

// controlPlane is its address on the network, beside those of the nodes.
const controlPlane = maxNodes

// network knows until when each one-way link is cut.
type network struct {
	cut [maxNodes + 1][maxNodes + 1]time.Duration
}

// carry brings something from one end to another: it may be lost, late, out of
// order, or arrive twice. It happens at the node, unless that is nil.
func (w *world) carry(from, to int, node *node, do func()) {
	if w.now < w.network.cut[from][to] {
		return
	}
	copies := 1
	if !w.healing {
		switch p := &w.plan; {
		case w.chance(p.loss):
			return
		case w.chance(p.repeat):
			copies = 2
		}
	}
	for range copies {
		d := w.between(50*time.Microsecond, 2*time.Millisecond)
		switch {
		case w.healing:
		case to == controlPlane && w.chance(2*w.plan.late):
			d = w.between(0, 2*w.plan.lasting)
		case w.chance(w.plan.late):
			d = w.between(0, pick(w, w.plan.lasting/2, w.plan.lasting/2, 3*time.Second))
		}
		w.queue.push(event{at: w.now + d, node: node, do: do})
	}
}

// toNode brings something to a node.
func (w *world) toNode(from int, to *node, do func()) { w.carry(from, to.id, to, do) }

// toControl brings something to the control plane.
func (w *world) toControl(from *node, do func()) { w.carry(from.id, controlPlane, nil, do) }

// cut cuts a one-way link for a while. When it is whole again, those at its
// ends may find out by themselves what was lost, or be told.
func (w *world) cut(from, to int, d time.Duration) {
	if from == to {
		return
	}
	w.note("cut", min(from, to), uint64(from), uint64(to), uint64(d))
	w.network.cut[from][to] = max(w.network.cut[from][to], w.now+d)
	if from == controlPlane || to == controlPlane || w.chance(0.5) {
		return
	}
	n := w.nodes[from]
	w.queue.push(event{at: w.now + d, node: n, process: n.process, do: func() {
		for _, m := range n.view.Members {
			if nodeOf(m) == to {
				n.replica.Reconnected(m)
			}
		}
	}})
}
