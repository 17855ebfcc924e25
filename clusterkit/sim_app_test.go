package clusterkit

import (
	"errors"
	"slices"
	"time"
)

// The applications of the simulation. With ManagedReplication one changes the
// in-sync sets as it likes. Without, one keeps data, and takes the care that
// the hooks leave to it:
//
//   - A write is acknowledged when, in the map in which the node then is the
//     primary, in the epoch in which it took the write, every other present
//     member has it.
//   - A copy is given by a node that is the primary then, in a map that shows
//     the copy as a present member.

// simSet is a set of small numbers.
type simSet []uint64

func (s *simSet) add(x int) {
	for len(*s) <= x/64 {
		*s = append(*s, 0)
	}
	(*s)[x/64] |= 1 << (x % 64)
}

func (s *simSet) addAll(other simSet) {
	for len(*s) < len(other) {
		*s = append(*s, 0)
	}
	for i, word := range other {
		(*s)[i] |= word
	}
}

// missing returns a number that is in the other set and not in this one, and
// whether there is one.
func (s simSet) missing(other simSet) (int, bool) {
	for i, word := range other {
		have := uint64(0)
		if i < len(s) {
			have = s[i]
		}
		for x := range 64 {
			if word&^have&(1<<x) != 0 {
				return i*64 + x, true
			}
		}
	}
	return 0, false
}

// simWrites are the writes of one partition.
type simWrites struct {
	next int
	// checked is the last epoch whose primary was seen to have all of acked.
	checked uint64
	acked   simSet
}

// write has whoever is the primary write.
func (w *simWorld) write(i int) {
	w.after(w.between(20*time.Millisecond, 150*time.Millisecond), func() { w.write(i) })
	if w.opt.managed {
		return
	}
	for _, n := range w.nodes {
		if n.runs() && n.isPrimary(i) {
			n.write(i)
			return
		}
	}
}

func (n *simNode) write(i int) {
	w := n.w
	id := w.writes[i].next
	w.writes[i].next++
	n.data[i].add(id)
	began, epoch := n.m.Partitions[i].Began, n.m.Partitions[i].Epoch
	var have []Member
	acknowledge := func() {
		if !n.isPrimary(i) || n.m.Partitions[i].Epoch != epoch || n.m.Partitions[i].Began != began {
			return
		}
		for _, c := range n.m.Partitions[i].Members {
			if c.Node != n.name && n.m.Present(c) && !slices.Contains(have, c) {
				return
			}
		}
		w.result.acked++
		w.writes[i].acked.add(id)
	}
	for _, c := range n.m.Partitions[i].Members {
		to := w.named(c.Node)
		if c.Node == n.name || !n.m.Present(c) {
			continue
		}
		simCall(n, to, time.Second, func(reply func(bool)) {
			if to.store == c.Store {
				to.data[i].add(id)
				reply(true)
			}
		}, func(stored bool, err error) {
			if err == nil && stored {
				have = append(have, c)
				acknowledge()
			}
		})
	}
	acknowledge()
}

func (w *simWorld) named(name string) *simNode {
	for _, n := range w.nodes {
		if n.name == name {
			return n
		}
	}
	return nil
}

// copyLearners begins the copies that this node has to make.
func (n *simNode) copyLearners() {
	if ref := (sessionRef{Node: n.name, Incarnation: n.session}); !ref.openIn(n.m) {
		return
	}
	for i := range n.m.Partitions {
		p := &n.m.Partitions[i]
		c, ok := p.member(n.name, n.store)
		if ok && !p.IsInSync(c) && n.fired[i] != c && copySource(n.m, p) != nil {
			n.fired[i] = c
			n.step(func() { n.copy(i, c) })
		}
	}
}

// copy is the hook: it returns when the copy is made, or not wanted.
func (n *simNode) copy(i int, c Member) {
	w := n.w
	p := &n.m.Partitions[i]
	if n.stopping || !p.IsMember(c) || p.IsInSync(c) {
		return
	}
	again := func() { n.sleep(w.between(10*time.Millisecond, 100*time.Millisecond), func() { n.copy(i, c) }) }
	from := w.named(p.Primary)
	if from == nil {
		again()
		return
	}
	simCall(n, from, time.Second, func(reply func(simSet)) {
		if from.isPrimary(i) && from.m.Partitions[i].IsMember(c) && from.m.Present(c) {
			data := slices.Clone(from.data[i])
			from.later(w.between(0, 50*time.Millisecond), func() { reply(append(data, 0)) })
		} else {
			reply(nil)
		}
	}, func(data simSet, err error) {
		if err != nil || data == nil || n.store != c.Store {
			again()
			return
		}
		n.data[i].addAll(data)
		n.step(func() { n.acknowledge(i, c) })
	})
}

func (n *simNode) acknowledge(i int, c Member) {
	n.propose(acknowledgeCommand{Partition: i, Member: c}, func(_ result, err error) {
		switch {
		case err == nil:
			n.w.result.copies++
		case !errors.Is(err, ErrStale):
			n.sleep(maxRetryDelay, func() { n.acknowledge(i, c) })
		}
	})
}

// replicate is the application with ManagedReplication on this node. It acts
// wherever the node is the primary in its map, with a lease or without.
func (n *simNode) replicate() {
	w := n.w
	n.sleep(w.between(20*time.Millisecond, 200*time.Millisecond), n.replicate)
	if n.m == nil || n.stopping {
		return
	}
	for i := range n.m.Partitions {
		p := &n.m.Partitions[i]
		if p.Primary != n.name || n.proposed[i] == p.Version {
			continue
		}
		if set, ok := n.nextInSync(p); ok {
			n.proposed[i] = p.Version
			change := InSyncChange{Partition: i, Epoch: p.Epoch, Version: p.Version, InSync: set}
			n.step(func() {
				n.propose(inSyncCommand{InSyncChange: change, Proposer: n.name}, func(_ result, err error) {
					if err != nil {
						n.proposed[i] = 0
						return
					}
					w.result.copies++
				})
			})
			continue
		}
		if req, due := dueTransfer(n.m, p, n.name); due && !n.ended.has(p) && (w.healing || w.chance(0.3)) {
			n.hand(req, func() {})
		}
	}
}

// nextInSync returns the in-sync set that comes next, and whether there is one:
// a silent member goes, as does sometimes one that is not, and one that has
// caught up is added.
func (n *simNode) nextInSync(p *Partition) ([]Member, bool) {
	w := n.w
	for _, c := range p.InSync {
		silent := !n.m.Present(c) && w.chance(0.3)
		if (silent || !w.healing && w.chance(0.02)) && c.Node != n.name && len(p.InSync) > n.m.Config.MinInSync {
			return withoutMember(p.InSync, c), true
		}
	}
	for _, c := range p.Members {
		if !p.IsInSync(c) && n.m.Present(c) && w.chance(0.5) {
			return append(slices.Clone(p.InSync), c), true
		}
	}
	return nil, false
}
