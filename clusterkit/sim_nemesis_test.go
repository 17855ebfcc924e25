package clusterkit

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// nemesis does something bad, and comes again.
func (w *simWorld) nemesis() {
	if w.healing {
		return
	}
	w.after(w.between(0, 800*time.Millisecond), w.nemesis)
	n := w.victim()
	switch w.rng.IntN(16) {
	case 0, 1:
		w.crashFor(n, w.outage())
	case 2:
		for _, n := range w.nodes {
			w.crashFor(n, w.outage())
		}
	case 3:
		first := w.rng.IntN(len(w.nodes))
		for i := range 1 + w.rng.IntN(len(w.nodes)) {
			w.crashFor(w.nodes[(first+i)%len(w.nodes)], w.outage())
		}
	case 4, 5:
		w.result.pauses++
		n.paused = max(n.paused, w.now+w.outage())
		w.say("%s stands still until %v", n.name, n.paused)
	case 6:
		w.cut(n, w.nodes[w.rng.IntN(len(w.nodes))])
	case 7:
		for _, other := range w.nodes {
			if w.chance(0.9) {
				w.cut(n, other)
			}
			if w.chance(0.9) {
				w.cut(other, n)
			}
		}
	case 8:
		w.wipe(n)
	case 9:
		d := w.outage()
		n.receive(func() { n.stopFor(d) })
	case 10:
		w.raft.elect(w.nodes[w.rng.IntN(len(w.nodes))])
	case 11:
		n.lag = w.now + w.outage()
	case 12:
		w.raft.slow = w.now + w.outage()
	case 13:
		if t := w.raft.newest(); t != nil {
			t.leader.receive(func() { w.raft.stepDown(t) })
		}
	default:
		w.operate(n)
	}
}

// operate orders something, as an operator does.
func (w *simWorld) operate(n *simNode) {
	w.result.orders++
	meant := n.raftID
	if w.chance(0.5) {
		meant = "" // whichever there is by then
	}
	orders := []command{
		drainCommand{Node: n.name, RaftID: meant, Drain: w.chance(0.6)},
		weightCommand{Node: n.name, Weight: 1 + w.rng.IntN(3)},
		replicationCommand{ReplicationFactor: 2 + w.rng.IntN(2)},
		pauseCommand{Paused: w.chance(0.5)},
		cancelCommand{},
	}
	if w.opt.removals {
		remove := removeCommand{Node: n.name, RaftID: meant}
		orders = append(orders, remove, remove)
	}
	w.order(orders[w.rng.IntN(len(orders))])
}

// order brings an operator's command to some node.
func (w *simWorld) order(c command) {
	by := w.nodes[w.rng.IntN(len(w.nodes))]
	by.receive(func() {
		w.say("%s is told: %T %+v", by.name, c, c)
		by.propose(c, func(result, error) {})
	})
}

// resume ends the pause of moves.
func (w *simWorld) resume() {
	if w.raft.state.Paused {
		w.order(pauseCommand{})
	}
	w.after(time.Second, w.resume)
}

// usurp has others lead meanwhile, where a leader is interrupted, and perhaps
// the same one when it goes on.
func (w *simWorld) usurp(n *simNode, d time.Duration) {
	t := n.ruling
	if t == nil {
		return
	}
	other := w.nodes[w.rng.IntN(len(w.nodes))]
	w.after(w.between(0, d/4), func() {
		n.receive(func() { w.raft.stepDown(t) })
		w.raft.elect(other)
	})
	w.after(w.between(d*3/4, d), func() { w.raft.elect(n) })
}

// victim prefers those that matter.
func (w *simWorld) victim() *simNode {
	switch x := w.rng.Float64(); {
	case x < 0.3 && w.raft.newest() != nil:
		return w.raft.newest().leader
	case x < 0.6:
		if n := w.named(w.raft.state.Partitions[w.rng.IntN(len(w.writes))].Primary); n != nil {
			return n
		}
	}
	return w.nodes[w.rng.IntN(len(w.nodes))]
}

// outage draws how long something lasts: often about as long as a lease.
func (w *simWorld) outage() time.Duration {
	if w.chance(0.3) {
		return w.between(0, 200*time.Millisecond)
	}
	return w.between(0, 3*time.Second)
}

func (w *simWorld) crashFor(n *simNode, d time.Duration) {
	if n.up {
		n.crash()
		w.startAfter(n, d)
	}
}

// startAfter starts the node, unless it has been started meanwhile.
func (w *simWorld) startAfter(n *simNode, d time.Duration) {
	w.after(d, func() {
		if !n.up {
			n.start()
		}
	})
}

func (w *simWorld) cut(from, to *simNode) {
	w.result.cuts++
	w.cuts[[2]int{from.id, to.id}] = w.now + w.outage()
}

// wipe takes a disk away, if the others are enough for Raft without it. A server
// that does not vote may be about to.
func (w *simWorld) wipe(n *simNode) {
	intact, voters := 0, 1
	for _, s := range w.raft.servers {
		if s.Suffrage == raft.Voter && string(s.ID) != n.raftID {
			voters++
			if slices.ContainsFunc(w.nodes, func(other *simNode) bool { return other.raftID == string(s.ID) }) {
				intact++
			}
		}
	}
	if !n.up || w.opt.removals || 2*intact <= voters {
		return
	}
	w.say("%s loses its disk", n.name)
	w.result.wipes++
	n.crash()
	n.format()
	w.startAfter(n, w.outage())
}
