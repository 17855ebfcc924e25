package sim

import (
	"slices"
	"strconv"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/execute"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// node is one node: what survives a crash, and a process that may be down or
// paused.
type node struct {
	w     *world
	id    int
	name  string
	rate  float64       // of its clock
	ahead time.Duration // its time of day, of the true one
	disk  disk

	// incarnation counts sessions; it is kept by the control plane and only
	// rises.
	incarnation uint64

	// The process.
	process uint64 // rises with every start and crash, so that stale events die
	up      bool
	paused  time.Duration // until
	replica *partition.Replica
	more    bool // the replica has been called since it was drained

	unsynced []partition.Write // written, not fsynced
	syncing  bool

	committed uint64 // the LSN through which everything is shown
	items     items  // all that is committed, as it is shown
	hidden    []partition.Entry
	backlog   []partition.Entry // committed, not yet in the storage
	storing   bool
	marks     map[uint64]uint64 // digests behind marks, by LSN

	pending execute.Pending
	expiry  expiryClock
	waiting []waiter // by rising LSN
	reads   []ticket // as they were drawn

	leaseEnd time.Duration // on the node's clock
	leaseFor uint64        // incarnation
	// wasLeased is the epoch that the lease covered when a request was answered
	// last, 0 if it did not.
	wasLeased uint64
	view      partition.View
	viewOf    uint64 // highest incarnation that a learned view reflects
	stalled   bool   // the replica is told later
}

func newNode(w *world, id int) *node {
	n := &node{w: w, id: id, name: string(rune('A' + id)), rate: w.clockRate(), ahead: w.between(-w.plan.apart, w.plan.apart)}
	n.format()
	return n
}

// format gives the node an empty disk.
func (n *node) format() {
	n.disk = newDisk(n.name + strconv.FormatUint(n.w.queue.serial, 10))
}

// later runs do on this process after d, if it still lives.
func (n *node) later(d time.Duration, do func()) {
	n.w.queue.push(event{at: n.w.now + d, node: n, process: n.process, do: do})
}

// start recovers from the disk and opens a session.
func (n *node) start() {
	w := n.w
	n.process++
	n.up, n.paused = true, 0
	n.unsynced, n.syncing = nil, false
	n.hidden, n.backlog, n.storing, n.marks = nil, nil, false, map[uint64]uint64{}
	n.wasLeased = 0
	n.leaseEnd, n.leaseFor, n.viewOf, n.view, n.stalled = 0, 0, 0, partition.View{}, false
	n.expiry = n.timeOfDay()
	n.pending = execute.Pending{Rules: w.opt.Rules}
	cfg := partition.DefaultConfig(n.name, n.disk.store)
	cfg.SilentAfter = 300 * time.Millisecond
	cfg.CatchUpLag, cfg.TailBytes, cfg.MaxBatchBytes = 3, 60, 200
	cfg.Rules = w.opt.Rules
	r, err := partition.New(cfg, n.disk.recover())
	if err != nil {
		w.violate(Start, "%s does not start: %v", n.name, err)
	}
	n.replica = r
	stored := n.disk.storage.clone()
	n.items, n.committed = stored.items, stored.at.LSN
	n.incarnation++
	w.note("start", n.id, n.committed, n.incarnation, 0)
	n.tick()
	n.register()
	n.renew()
	n.repair()
}

// crash ends the process; of what was written and not fsynced a part survives,
// or nothing.
func (n *node) crash() {
	if !n.up {
		return
	}
	w := n.w
	keep := 0
	if total := records(n.unsynced); w.chance(0.5) {
		keep = w.rng.IntN(total + 1)
	}
	w.note("crash", n.id, uint64(keep), 0, 0)
	w.count(crashes)
	n.disk.tear(n.unsynced, keep)
	n.up = false
	n.process++
	n.waiting, n.reads = nil, nil
}

func (n *node) tick() {
	n.replica.Tick(n.clock())
	if !n.holdsLease() {
		n.replica.SessionInDoubt()
	}
	n.later(n.w.between(20*time.Millisecond, 60*time.Millisecond), n.tick)
}

// renew keeps the session and its lease; it also asks for the view.
func (n *node) renew() {
	c, inc, process, s := n.w.control, n.incarnation, n.process, n.clock()
	n.w.toControl(n, func() {
		open := c.renew(n, inc)
		c.push(n)
		n.w.toNode(controlPlane, n, func() {
			if process == n.process {
				n.renewed(inc, s, open)
			}
		})
	})
	n.later(renewal, n.renew)
}

// renewed takes the answer to a renewal that was sent at s.
func (n *node) renewed(incarnation uint64, s time.Duration, open bool) {
	switch {
	case incarnation != n.incarnation:
	case open:
		n.leaseEnd, n.leaseFor = max(n.leaseEnd, s+lease), incarnation
	case n.viewOf >= incarnation: // the session was open once
		n.incarnation++
		n.register()
	}
}

func (n *node) register() {
	c, inc, store := n.w.control, n.incarnation, n.disk.store
	n.w.toControl(n, func() { c.register(n, store, inc) })
	n.later(100*time.Millisecond, func() {
		if n.viewOf < inc && inc == n.incarnation {
			n.register()
		}
	})
}

// learn takes a view; it reflects everything through the opening of the
// node's session of that incarnation. The replica may be told later.
func (n *node) learn(v partition.View, incarnation uint64) {
	if v.Version < n.view.Version {
		return
	}
	n.view, n.viewOf = v, max(n.viewOf, incarnation)
	if n.discard() {
		return
	}
	if n.w.chance(n.w.plan.preempt) && !n.w.healing {
		n.stall(n.w.between(0, n.w.plan.lasting))
	}
	if !n.stalled {
		n.replica.Configure(n.view)
	}
}

// soon does something at once, or as late as a goroutine may that has to wait
// for its turn.
func (n *node) soon(do func()) {
	if n.w.healing || !n.w.chance(n.w.plan.preempt) {
		do()
		return
	}
	n.later(n.w.between(0, n.w.plan.lasting), do)
}

// drain carries out what the replica asks for.
func (n *node) drain() {
	for n.more = true; n.more; {
		n.more = false
		n.carryOut(n.replica.Drain())
	}
}

func (n *node) carryOut(out partition.Output) {
	w := n.w
	if out.Fatal != nil {
		w.violate(Agreement, "%s: %v", n.name, out.Fatal)
	}
	n.unsynced = append(n.unsynced, out.Writes...)
	n.sync()
	for _, m := range out.Messages {
		n.send(m)
	}
	for _, to := range out.Ready {
		n.sendAppends(to)
	}
	n.commit(out.Committed)
	for _, c := range out.Confirmed {
		n.confirmed(c)
	}
	if p := out.InSync; p != nil {
		w.note("propose", n.id, p.Epoch, p.Version, uint64(len(p.InSync)))
		w.toControl(n, func() { w.control.changeInSync(*p) })
		w.ambush(proposing, n)
	}
	if t := out.Transfer; t != nil {
		w.toControl(n, func() { w.control.transfer(*t) })
		w.ambush(relinquishing, w.nodes[nodeOf(t.To)])
	}
	for _, v := range out.Verify {
		n.compare(v)
		w.ambush(verifying, n)
	}
	for _, m := range out.Refused {
		n.refuse(m)
	}
	if out.Snapshot != nil {
		n.fetch(*out.Snapshot)
		w.ambush(fetching, n)
	}
	if out.RoleChanged {
		n.roleChanged()
	}
}

func (n *node) roleChanged() {
	w := n.w
	role, epoch := n.replica.Role()
	w.note("role", n.id, uint64(role), epoch, n.replica.Last().LSN)
	switch role {
	case partition.Follower:
		n.roleEnded()
	case partition.Activating, partition.Recovering:
		w.ambush(recovering, n)
	case partition.Serving:
		if by := w.serving[epoch]; by != nil && by != n {
			w.violate(OnePrimary, "epoch %d is served by %s and by %s", epoch, by.name, n.name)
		}
		w.serving[epoch] = n
		w.ambush(serving, n)
	case partition.Relinquished:
		if n.replica.Commit() != n.replica.Last().LSN {
			w.count(abdications)
		}
	}
}

func (n *node) send(m partition.Message) {
	to := n.w.nodes[nodeOf(m.To)]
	n.w.note("send", n.id, uint64(m.Kind)<<8|uint64(m.Status)<<4|uint64(to.id), m.Epoch, m.Prev.LSN<<16+m.Durable<<8+uint64(len(m.Entries)))
	n.w.toNode(n.id, to, func() { to.replica.Step(m) })
}

// holdBack is what the rate for copies does to a learner now and then. Nobody
// looks at the rate for a member that counts.
func (n *node) holdBack(to partition.Member) {
	counts := func() bool { return slices.Contains(n.replica.View().InSync, to) }
	if counts() || !n.w.chance(0.02) {
		return
	}
	n.replica.Hold(to, true)
	n.later(n.w.between(0, 200*time.Millisecond), func() {
		if !counts() {
			n.replica.Hold(to, false)
			n.sendAppends(to)
		}
	})
}

// sendAppends sends what a peer is to get.
func (n *node) sendAppends(to partition.Member) {
	n.holdBack(to)
	for {
		m, load, ok := n.replica.NextAppend(to)
		if !ok {
			return
		}
		if !load {
			n.send(m)
			continue
		}
		n.later(n.w.between(0, 3*time.Millisecond), func() {
			if m, ok := n.replica.Loaded(m, n.disk.read(m.Prev.LSN+1)); ok {
				n.send(m)
			}
		})
		return
	}
}

// sync fsyncs what has been written; the next group gathers meanwhile.
func (n *node) sync() {
	if n.syncing || len(n.unsynced) == 0 {
		return
	}
	n.syncing = true
	group := len(n.unsynced)
	d := n.w.between(100*time.Microsecond, 3*time.Millisecond)
	if !n.w.healing && n.w.chance(n.w.plan.slowDisk) {
		d = n.w.between(0, n.w.plan.lasting/2)
	}
	n.later(d, func() {
		n.syncing = false
		for _, w := range n.unsynced[:group] {
			n.disk.write(w)
		}
		last := n.unsynced[group-1].Seq
		n.unsynced = slices.Clone(n.unsynced[group:])
		n.replica.Synced(last)
	})
}

// commit takes what is newly committed.
func (n *node) commit(entries []partition.Entry) {
	if len(entries) == 0 {
		return
	}
	if role, _ := n.replica.Role(); role != partition.Follower && n.w.opt.Rules.Breaks(planted.ShowLate) {
		n.hidden = append(n.hidden, entries...)
	} else {
		n.show(n.hidden)
		n.show(entries)
		n.hidden = nil
	}
	n.backlog = append(n.backlog, entries...)
	n.store()
}

// show makes committed entries visible and answers who waits for them.
func (n *node) show(entries []partition.Entry) {
	for _, e := range entries {
		if e.LSN != n.committed+1 {
			n.w.violate(Agreement, "%s commits lsn %d after %d", n.name, e.LSN, n.committed)
		}
		n.committed = e.LSN
		c := n.w.commits(n, e)
		n.observe(c.clock)
		n.items.take(c.effects)
		n.pending.Committed(e.LSN)
		n.answerThrough(e.LSN)
	}
}

// store moves committed entries into the storage some time later, and lets the
// log forget some of them.
func (n *node) store() {
	if n.storing {
		return
	}
	n.storing = true
	n.later(n.w.between(time.Millisecond, 100*time.Millisecond), func() {
		n.storing = false
		n.storeNow()
		n.replica.Applied(n.disk.storage.at.LSN)
		if at := n.disk.storage.at.LSN; n.w.chance(0.2) && at > 4 {
			n.disk.trim(at - 4)
			n.replica.Retained(n.disk.base.LSN + 1)
		}
	})
}

func (n *node) storeNow() {
	n.show(n.hidden)
	n.hidden = nil
	s := &n.disk.storage
	for _, e := range n.backlog {
		if e.LSN == s.at.LSN+1 {
			s.items.take(n.w.ledger[e.LSN-1].effects)
			if s.at = e.Position(); len(e.Data) == 0 {
				n.marks[e.LSN] = s.items.digest()
			}
		}
	}
	n.backlog = nil
}

// fetch copies a snapshot of the source's storage.
func (n *node) fetch(from partition.Member) {
	src := n.w.nodes[nodeOf(from)]
	n.later(n.w.between(5*time.Millisecond, 200*time.Millisecond), func() {
		n.storeNow()
		if !src.up || src.disk.store != from.Store || src.disk.storage.at.LSN <= n.disk.storage.at.LSN || n.w.chance(0.1) {
			n.replica.SnapshotFailed()
			return
		}
		n.w.count(snapshots)
		n.disk.storage = src.disk.storage.clone()
		if !n.w.healing && n.w.chance(n.w.plan.damage) {
			n.w.damage(n.disk.storage.items)
		}
		stored := n.disk.storage.clone()
		n.marks = map[uint64]uint64{}
		n.items, n.committed = stored.items, stored.at.LSN
		n.w.note("snapshot", n.id, n.committed, uint64(src.id), 0)
		n.replica.SnapshotLoaded(stored.at)
	})
}
