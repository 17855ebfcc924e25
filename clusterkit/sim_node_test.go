package clusterkit

import (
	"fmt"
	"time"

	"github.com/hashicorp/raft"
)

// simNode is one node: a clock, a disk that survives a crash, and a process
// that may be down or stand still.
type simNode struct {
	w    *simWorld
	id   int
	name string
	// The clock reads base when true time is 0, and is wrong by rate.
	base time.Duration
	rate float64

	// The disk. The Raft ID is that of the data directory.
	raftID      string
	incarnation uint64
	store       string
	data        []simSet
	disks       int
	snapshot    int

	// The process. Its number tells it from those before and after.
	process  int
	up       bool
	paused   time.Duration // until
	stopping bool
	lag      time.Duration // until when it applies nothing
	ruling   *simTerm
	term     uint64
	leader   *simNode // as it was told last
	applied  int
	m        *Map

	tenure tenure
	lease  lease
	// session is the incarnation that was used last, as others in the process
	// read it.
	session uint64
	// abandon gives up the renewal or registration that was asked of another
	// node last.
	abandon  func()
	ended    endedEpochs
	handing  bool
	fired    map[int]Member
	proposed map[int]uint64
	control  *simControl
}

func newSimNode(w *simWorld, id int) *simNode {
	n := &simNode{w: w, id: id, name: fmt.Sprintf("n%d", id+1), base: w.between(0, time.Hour)}
	const worst = clockRateErrorPercent / 100.0
	switch w.rng.IntN(4) {
	case 0:
		n.rate = 1 + worst
	case 1:
		n.rate = 1 - worst
	default:
		n.rate = 1 + worst*(2*w.rng.Float64()-1)
	}
	n.format()
	return n
}

// format gives the node an empty disk.
func (n *simNode) format() {
	n.disks++
	n.raftID = serverID(n.name, fmt.Sprintf("d%d", n.disks))
	n.incarnation, n.applied, n.snapshot = 0, 0, 0
	n.newStore()
}

// newStore begins without any data of the application.
func (n *simNode) newStore() {
	n.w.serial++
	n.store = fmt.Sprintf("%s-%d", n.name, n.w.serial)
	if n.w.opt.volatile {
		n.store = volatilePrefix + n.store
	}
	n.data = make([]simSet, n.w.opt.partitions)
}

// clock reads the node's clock. It goes on while the process stands still.
func (n *simNode) clock() time.Duration {
	return n.base + time.Duration(float64(n.w.now)*n.rate)
}

// runs reports whether there is a process that does not stand still.
func (n *simNode) runs() bool { return n.up && n.w.now >= n.paused }

// later runs do in this process in true time, if it still lives then.
func (n *simNode) later(d time.Duration, do func()) {
	process := n.process
	n.w.after(d, func() { n.run(process, do) })
}

// sleep is later on the node's clock.
func (n *simNode) sleep(d time.Duration, do func()) {
	n.later(time.Duration(float64(d)/n.rate)+n.w.between(0, 200*time.Microsecond), do)
}

// step goes on with something: usually at once, but whatever a process does, it
// may be interrupted between any two of its steps, for long.
func (n *simNode) step(do func()) { n.interrupted(0.003, do) }

// decided is a step between a decision and what follows from it, where an
// interruption can do the most harm.
func (n *simNode) decided(do func()) { n.interrupted(0.05, do) }

func (n *simNode) interrupted(often float64, do func()) {
	d := n.w.between(0, 20*time.Microsecond)
	switch {
	case n.w.healing:
	case n.w.chance(0.01):
		d = n.w.between(0, 30*time.Millisecond)
	case n.w.chance(often):
		d = n.w.between(0, simLongestDelay)
		n.w.usurp(n, d)
	}
	n.later(d, do)
}

// receive runs do in the process that is there, if any.
func (n *simNode) receive(do func()) {
	if n.up {
		n.run(n.process, do)
	}
}

// run runs do, when the process goes on if it stands still. What has waited
// goes on in any order.
func (n *simNode) run(process int, do func()) {
	switch {
	case !n.up || n.process != process:
	case n.w.now < n.paused:
		n.w.after(n.paused-n.w.now+n.w.between(0, time.Millisecond), func() { n.run(process, do) })
	default:
		do()
	}
}

// start begins a process on the disk.
func (n *simNode) start() {
	if n.up {
		return
	}
	w := n.w
	w.say("%s starts", n.name)
	n.process++
	n.up, n.paused, n.stopping, n.lag = true, 0, false, 0
	n.ruling, n.term, n.leader, n.control = nil, 0, nil, nil
	n.lease, n.session, n.abandon, n.ended, n.handing = lease{}, 0, nil, nil, false
	n.fired, n.proposed = make(map[int]Member), make(map[int]uint64)
	if w.opt.volatile {
		n.newStore()
	}
	n.applied, n.m = 0, nil
	if w.chance(0.5) {
		n.applied = w.rng.IntN(n.snapshot + 1)
	}
	n.snapshot = n.applied
	if n.applied > 0 {
		n.m = w.raft.log[n.applied-1].m
	}
	n.tenure = newTenure(n.name, n.incarnation)
	n.join()
	n.awaitMap()
	if w.opt.managed {
		n.replicate()
	}
}

// crash ends the process.
func (n *simNode) crash() {
	if !n.up {
		return
	}
	n.w.say("%s crashes", n.name)
	n.w.result.crashes++
	if n.ruling != nil {
		n.ruling.over = true
		n.ruling = nil
	}
	n.up = false
	n.process++
	n.snapshot = n.applied
}

// stopFor says goodbye, ends the process, and starts another after a while.
func (n *simNode) stopFor(d time.Duration) {
	if n.stopping || !n.up {
		return
	}
	n.w.say("%s stops", n.name)
	n.w.result.goodbyes++
	n.stopping = true
	n.lease = lease{}
	said := false
	end := func() {
		if !said {
			said = true
			n.w.crashFor(n, d)
		}
	}
	ref := sessionRef{Node: n.name, Incarnation: n.session}
	if n.m == nil || !ref.openIn(n.m) {
		end()
		return
	}
	n.sleep(goodbyeTimeout, end)
	n.step(func() {
		n.propose(endSessionCommand{Sessions: []sessionRef{ref}, DropCopies: !n.w.opt.managed}, func(result, error) { end() })
	})
}

// join asks to be let in while the node is no server.
func (n *simNode) join() {
	n.sleep(200*time.Millisecond, n.join)
	if n.w.raft.lets(n, raft.Nonvoter) {
		return
	}
	peer := n.w.nodes[n.w.rng.IntN(len(n.w.nodes))]
	if n.leader != nil {
		peer, n.leader = n.leader, nil
	}
	simCall(n, peer, joinTimeout, func(reply func(simAdmission)) { peer.admit(n, reply) }, func(a simAdmission, _ error) {
		if n.leader = a.leader; a.refused {
			n.leave()
		}
	})
}

// leave ends a process that the cluster has turned away for good. It begins
// anew, with an empty disk.
func (n *simNode) leave() {
	n.w.say("%s is turned away", n.name)
	n.crash()
	n.format()
	n.w.startAfter(n, n.w.outage())
}

// follow takes what a leader tells. Who led before steps down then: Raft does so
// with the first message of a later term. While there are faults the adversary
// lets it lead on, as if it had not got that message yet; see depose.
func (n *simNode) follow(t *simTerm, known int) {
	if t.number < n.term {
		return
	}
	if n.w.healing && n.ruling != nil && n.ruling.number < t.number {
		n.w.raft.stepDown(n.ruling)
	}
	was := n.leader
	n.term, n.leader = t.number, t.leader
	if n.leader != was && n.abandon != nil {
		n.abandon()
	}
	if n.w.now < n.lag {
		return
	}
	if n.w.chance(0.2) && known > n.applied {
		known = n.applied + n.w.rng.IntN(known-n.applied+1)
	}
	n.advance(known)
}

// advance applies the log through that index: entry by entry or, from a
// snapshot, at once.
func (n *simNode) advance(index int) {
	if index > n.applied+1 && n.w.chance(0.05) {
		n.applied = index - 1
	}
	for n.applied < index {
		n.applied++
		prev, next := n.m, n.w.raft.log[n.applied-1].m
		if next == prev {
			continue
		}
		if prev != nil && next.Version <= prev.Version {
			n.w.violate("%s goes from version %d of the map to %d", n.name, prev.Version, next.Version)
		}
		n.m = next
		n.published()
	}
}

// published looks what there is to do in a new map.
func (n *simNode) published() {
	if n.control != nil {
		n.control.review()
	}
	if n.stopping {
		return
	}
	if !n.w.opt.managed {
		n.copyLearners()
		if !n.handing {
			n.handing = true
			n.step(n.handOver)
		}
	}
}
