package sim

import (
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// nemesis does something bad, and comes again.
func (w *world) nemesis() {
	if w.healing {
		return
	}
	n := w.nodes[w.rng.IntN(len(w.nodes))]
	if w.chance(0.4) {
		n = w.nodes[w.control.nodeOf(w.control.view.Primary)]
	}
	switch w.rng.IntN(12) {
	case 0, 1, 2:
		w.crashFor(n, w.between(0, 2*time.Second))
	case 3:
		for _, n := range w.nodes {
			w.crashFor(n, w.between(0, 2*time.Second))
		}
	case 4, 5:
		n.paused = max(n.paused, w.now+w.between(0, 3*time.Second))
	case 6, 7:
		w.cut(n.id, w.rng.IntN(len(w.nodes)+1)-1)
	case 8:
		for to := controlPlane; to < len(w.nodes); to++ {
			w.cut(n.id, to)
			w.cut(to, n.id)
		}
	case 9:
		w.wipe(n)
	default:
		w.handOver()
	}
	w.after(w.between(0, time.Second), w.nemesis)
}

func (w *world) crashFor(n *node, d time.Duration) {
	n.crash()
	p := n.process
	w.after(d, func() {
		if !n.up && n.process == p {
			n.start()
		}
	})
}

func (w *world) cut(from, to int) {
	w.note("cut %d %d", from, to)
	w.cuts[[2]int{from, to}] = w.now + w.between(0, 3*time.Second)
}

// wipe takes a disk away, if the promise covers that: min-in-sync less one
// disks at a time, here one, and only while another is in-sync.
func (w *world) wipe(n *node) {
	view := w.control.view
	if w.opt.MinInSync < 2 || len(view.InSync) < 2 {
		return
	}
	for _, m := range view.InSync {
		if w.nodes[w.control.nodeOf(m)].store != m.Store {
			return
		}
	}
	w.result.Wipes++
	n.crash()
	n.format()
	w.crashFor(n, w.between(0, 2*time.Second))
}

func (w *world) handOver() {
	for _, n := range w.nodes {
		if !n.up {
			continue
		}
		n.receive(func() {
			view := n.replica.View()
			if role, _ := n.replica.Role(); role != partition.Serving {
				return
			}
			if n.replica.HandOver(view.InSync[w.rng.IntN(len(view.InSync))], 500*time.Millisecond) {
				w.result.HandOvers++
			}
		})
	}
}
