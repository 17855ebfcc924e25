package sim

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// node is one node: what survives a crash, and a process that may be down or
// paused.
type node struct {
	w    *world
	id   int
	name string
	rate float64

	// The disk.
	store    string
	writes   []partition.Write // fsynced, in order
	storage  storage
	retained uint64 // the first LSN that the log still holds

	// incarnation counts sessions; it is kept by the control plane and only
	// rises.
	incarnation uint64

	// The process.
	process uint64 // rises with every start and crash, so that stale events die
	up      bool
	paused  time.Duration // until
	replica *partition.Replica
	queue   []partition.Write // written, not fsynced
	syncing bool
	state   map[string]string // all committed entries applied
	applied []partition.Entry // committed, not yet in the storage
	waiting map[uint64]func(outcome)
	reads   map[uint64]func(bool)

	leaseEnd  time.Duration // on the node's clock
	leaseFor  uint64        // incarnation
	viewOf    uint64        // highest incarnation that a learned view reflects
	committed uint64
}

// storage is the committed data on disk.
type storage struct {
	at   partition.Position
	data map[string]string
}

func newNode(w *world, id int) *node {
	n := &node{w: w, id: id, name: string(rune('A' + id)), rate: w.clockRate()}
	n.format()
	return n
}

// format gives the node an empty disk.
func (n *node) format() {
	n.store = fmt.Sprintf("%s%d", n.name, n.w.serial)
	n.writes, n.retained = nil, 1
	n.storage = storage{data: map[string]string{}}
}

func (n *node) clock() time.Duration { return time.Duration(float64(n.w.now) * n.rate) }

// receive runs do on the process that is up now, later if it is paused.
func (n *node) receive(do func()) {
	if !n.up {
		return
	}
	if p := n.process; n.w.now < n.paused {
		n.w.after(n.paused-n.w.now, func() {
			if n.process == p {
				n.receive(do)
			}
		})
		return
	}
	do()
	n.drain()
}

// later runs do on this process after d, if it still lives.
func (n *node) later(d time.Duration, do func()) {
	p := n.process
	n.w.after(d, func() {
		if n.process == p {
			n.receive(do)
		}
	})
}

// start recovers from the disk and opens a session.
func (n *node) start() {
	n.process++
	n.up, n.paused = true, 0
	n.queue, n.syncing = nil, false
	n.applied = nil
	n.waiting, n.reads = map[uint64]func(outcome){}, map[uint64]func(bool){}
	n.leaseEnd, n.leaseFor, n.viewOf = 0, 0, 0
	rec := n.recover()
	cfg := partition.DefaultConfig(n.name, n.store)
	cfg.SilentAfter = 300 * time.Millisecond
	cfg.CatchUpLag, cfg.TailBytes, cfg.MaxBatchBytes = 3, 60, 200
	cfg.Rules = n.w.opt.Planted
	r, err := partition.New(cfg, rec)
	if err != nil {
		n.w.violate("%s does not start: %v", n.name, err)
	}
	n.replica = r
	n.state = maps.Clone(n.storage.data)
	n.committed = n.storage.at.LSN
	n.incarnation++
	n.tick()
	n.register()
	n.renew()
}

// recover reads what the disk holds: physical order of writes wins.
func (n *node) recover() partition.Recovered {
	var rec partition.Recovered
	var log []partition.Entry
	for _, w := range n.writes {
		if w.HasState {
			rec.State = w.State
		}
		if w.HasReset {
			rec.Base, log = w.Reset, nil
		}
		for _, e := range w.Entries {
			log = slices.Clone(log[:e.LSN-rec.Base.LSN-1])
			log = append(log, e)
		}
	}
	at := n.storage.at
	if first := n.retained; first > rec.Base.LSN+1 && first <= rec.Base.LSN+uint64(len(log)) {
		drop := first - 1 - rec.Base.LSN
		rec.Base, log = log[drop-1].Position(), log[drop:]
	}
	for _, e := range log {
		rec.Positions = append(rec.Positions, e.Position())
		if e.LSN > at.LSN {
			rec.Unapplied = append(rec.Unapplied, e)
		}
	}
	rec.Applied = at
	return rec
}

// crash ends the process; what was written but not fsynced survives up to
// some point.
func (n *node) crash() {
	if !n.up {
		return
	}
	n.w.note("crash %d", n.id)
	n.w.result.Crashes++
	keep := n.w.rng.IntN(len(n.queue) + 1)
	if n.w.chance(0.5) {
		keep = 0
	}
	n.writes = append(n.writes, n.queue[:keep]...)
	n.up = false
	n.process++
	n.dropWaiting()
}

// dropWaiting ends every request of the process as unknown.
func (n *node) dropWaiting() {
	for _, lsn := range sortedKeys(n.waiting) {
		n.waiting[lsn](unknown)
	}
	for _, t := range sortedKeys(n.reads) {
		n.reads[t](false)
	}
	n.waiting, n.reads = map[uint64]func(outcome){}, map[uint64]func(bool){}
}

func (n *node) tick() {
	n.replica.Tick(n.clock())
	n.later(n.w.between(20*time.Millisecond, 40*time.Millisecond), n.tick)
}

// renew keeps the session and its lease; it also asks for the view.
func (n *node) renew() {
	c, inc, s := n.w.control, n.incarnation, n.clock()
	n.w.transmit(n.id, controlPlane, func() {
		ok := c.renew(n, inc)
		c.push(n)
		n.w.transmit(controlPlane, n.id, func() {
			n.receive(func() {
				if inc != n.incarnation {
					return
				}
				if ok {
					n.leaseEnd, n.leaseFor = max(n.leaseEnd, s+lease), inc
				} else if n.viewOf >= inc { // the session was open once
					n.incarnation++
					n.register()
				}
			})
		})
	})
	n.later(renewal, n.renew)
}

func (n *node) register() {
	c, inc, store := n.w.control, n.incarnation, n.store
	n.w.transmit(n.id, controlPlane, func() { c.register(n, store, inc) })
	n.later(100*time.Millisecond, func() {
		if n.viewOf < inc && inc == n.incarnation {
			n.register()
		}
	})
}

// learn takes a view; it reflects everything through the opening of the
// node's session of that incarnation.
func (n *node) learn(v partition.View, incarnation uint64) {
	if v.Version < n.replica.View().Version {
		return
	}
	n.viewOf = max(n.viewOf, incarnation)
	n.replica.Configure(v)
}

func (n *node) leased() bool {
	return n.leaseFor == n.incarnation && n.viewOf >= n.incarnation && n.clock() < n.leaseEnd
}

// drain carries out what the replica asks for.
func (n *node) drain() {
	out := n.replica.Drain()
	if out.Fatal != nil {
		n.w.violate("%s: %v", n.name, out.Fatal)
	}
	n.queue = append(n.queue, out.Writes...)
	n.sync()
	for _, m := range out.Messages {
		n.sendTo(m)
	}
	for _, to := range out.Ready {
		n.w.note("ready %d %v", n.id, to)
		n.sendAppends(to)
	}
	for _, e := range out.Committed {
		n.commit(e)
	}
	n.persist(out.Committed)
	for _, c := range out.Confirmed {
		if f := n.reads[c.Ticket]; f != nil {
			delete(n.reads, c.Ticket)
			f(c.OK)
		}
	}
	if p := out.InSync; p != nil {
		n.w.transmit(n.id, controlPlane, func() { n.w.control.changeInSync(*p) })
	}
	if t := out.Transfer; t != nil {
		n.w.transmit(n.id, controlPlane, func() { n.w.control.transfer(*t) })
	}
	if out.Snapshot != nil {
		n.fetch(*out.Snapshot)
	}
	if role, epoch := n.replica.Role(); role == partition.Serving {
		if by, ok := n.w.serving[epoch]; ok && by != n.id {
			n.w.violate("epoch %d is served by %s and by %s", epoch, n.w.nodes[by].name, n.name)
		}
		n.w.serving[epoch] = n.id
	} else if role == partition.Follower {
		for _, lsn := range sortedKeys(n.waiting) {
			n.waiting[lsn](unknown)
		}
		clear(n.waiting)
	}
}

func (n *node) sendTo(m partition.Message) {
	to := n.w.nodes[n.w.control.nodeOf(m.To)]
	n.w.note("send %v", m)
	n.w.transmit(n.id, to.id, func() { to.receive(func() { to.replica.Step(m) }) })
}

// sendAppends sends what a peer is to get.
func (n *node) sendAppends(to partition.Member) {
	for {
		m, load, ok := n.replica.NextAppend(to)
		if !ok {
			return
		}
		if !load {
			n.sendTo(m)
			continue
		}
		n.later(n.w.between(0, 3*time.Millisecond), func() {
			if m, ok := n.replica.Loaded(m, n.read(m.Prev.LSN+1)); ok {
				n.sendTo(m)
			}
		})
		return
	}
}

// read returns a few entries of the log as it is written now.
func (n *node) read(from uint64) []partition.Entry {
	if from < n.retained {
		return nil
	}
	var log []partition.Entry
	base := uint64(0)
	for _, w := range append(slices.Clone(n.writes), n.queue...) {
		if w.HasReset {
			base, log = w.Reset.LSN, nil
		}
		for _, e := range w.Entries {
			log = append(slices.Clone(log[:e.LSN-base-1]), e)
		}
	}
	if from <= base || from > base+uint64(len(log)) {
		return nil
	}
	log = log[from-base-1:]
	return log[:min(len(log), 3)]
}

// sync fsyncs what is queued, one group at a time.
func (n *node) sync() {
	if n.syncing || len(n.queue) == 0 {
		return
	}
	n.syncing = true
	group := len(n.queue)
	d := n.w.between(100*time.Microsecond, 3*time.Millisecond)
	if !n.w.healing && n.w.chance(0.02) {
		d = n.w.between(0, 500*time.Millisecond)
	}
	n.later(d, func() {
		n.syncing = false
		n.writes = append(n.writes, n.queue[:group]...)
		last := n.queue[group-1].Seq
		n.queue = slices.Clone(n.queue[group:])
		n.replica.Synced(last)
	})
}

// commit applies one committed entry and answers who waits for it.
func (n *node) commit(e partition.Entry) {
	w := n.w
	if e.LSN != n.committed+1 {
		w.violate("%s commits lsn %d after %d", n.name, e.LSN, n.committed)
	}
	n.committed = e.LSN
	if i := int(e.LSN) - 1; i < len(w.log) {
		if w.log[i].Epoch != e.Epoch || string(w.log[i].Data) != string(e.Data) {
			w.violate("%s commits %d.%d %q, where %d.%d %q was committed", n.name, e.Epoch, e.LSN, e.Data, w.log[i].Epoch, w.log[i].LSN, w.log[i].Data)
		}
	} else if i == len(w.log) {
		w.log = append(w.log, e)
	} else {
		w.violate("%s commits lsn %d, the end is %d", n.name, e.LSN, len(w.log))
	}
	apply(n.state, e)
	if f := n.waiting[e.LSN]; f != nil {
		delete(n.waiting, e.LSN)
		f(done)
	}
}

func apply(state map[string]string, e partition.Entry) {
	if len(e.Data) > 0 {
		state[string(e.Data[:1])] = string(e.Data[1:])
	}
}

// persist moves committed entries into the storage some time later, and lets
// the log forget some of them.
func (n *node) persist(entries []partition.Entry) {
	if len(entries) == 0 {
		return
	}
	n.applied = append(n.applied, entries...)
	n.later(n.w.between(time.Millisecond, 100*time.Millisecond), func() {
		for _, e := range n.applied {
			if e.LSN == n.storage.at.LSN+1 {
				apply(n.storage.data, e)
				n.storage.at = e.Position()
			}
		}
		n.applied = nil
		n.replica.Applied(n.storage.at.LSN)
		if keep := n.storage.at.LSN; n.w.chance(0.1) && keep > 4 && keep-4 > n.retained {
			n.retained = keep - 4
			n.replica.Retained(n.retained)
		}
	})
}

// fetch copies a snapshot of the source's storage.
func (n *node) fetch(from partition.Member) {
	src := n.w.nodes[n.w.control.nodeOf(from)]
	n.later(n.w.between(5*time.Millisecond, 200*time.Millisecond), func() {
		if !src.up || src.store != from.Store || src.storage.at.LSN <= n.storage.at.LSN || n.w.chance(0.1) {
			n.replica.SnapshotFailed()
			return
		}
		n.w.result.Snapshots++
		n.storage = storage{at: src.storage.at, data: map[string]string{}}
		n.state = map[string]string{}
		for k, v := range src.storage.data {
			n.storage.data[k], n.state[k] = v, v
		}
		n.applied = nil
		n.committed = n.storage.at.LSN
		n.retained = n.storage.at.LSN + 1
		n.replica.SnapshotLoaded(n.storage.at)
	})
}

func sortedKeys[V any](m map[uint64]V) []uint64 {
	keys := make([]uint64, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
