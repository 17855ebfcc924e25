package partition

import (
	"fmt"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// Config are the settings of a replica.
type Config struct {
	// Node and Store name this node and its disk.
	Node, Store string
	// Heartbeat is how often a primary speaks to a peer that has nothing to
	// receive; it carries the commit mark and finds silent peers.
	Heartbeat time.Duration
	// SilentAfter is how long an in-sync peer may leave something unanswered
	// before it is proposed out of the in-sync set.
	SilentAfter time.Duration
	// MaxBatchBytes bounds the entries of one message, MaxInflightBytes those
	// on their way to one peer.
	MaxBatchBytes, MaxInflightBytes int
	// CatchUpLag is how many entries a learner may be behind when it begins
	// to count for acknowledgements.
	CatchUpLag uint64
	// TailBytes is how much of the log that is applied already stays in
	// memory for peers that lag.
	TailBytes int

	// Rules can be broken on purpose, in builds with the tag "planted" only.
	planted.Rules
}

// DefaultConfig returns the settings that kvnode uses.
func DefaultConfig(node, store string) Config {
	return Config{
		Node: node, Store: store,
		Heartbeat:     100 * time.Millisecond,
		SilentAfter:   time.Second,
		MaxBatchBytes: 1 << 20, MaxInflightBytes: 8 << 20,
		CatchUpLag: 64,
		TailBytes:  1 << 20,
	}
}

// Recovered is what a replica finds on its disk when it starts.
type Recovered struct {
	State State
	// Base is the position below which the log knows nothing; it is
	// committed. Positions are those of the entries above it, in order.
	Base      Position
	Positions []Position
	// Applied is the position through which the storage holds the log.
	Applied Position
	// Unapplied are the entries above Applied.
	Unapplied []Entry
}

// Replica is the protocol of one partition on one node. It is not safe for
// concurrent use. After each call the caller drains the output.
type Replica struct {
	cfg  Config
	now  time.Duration
	out  Output
	view View
	self Member // zero while the node is not a member

	role  Role
	epoch uint64 // of the activation that role speaks of, when not Follower
	noop  uint64 // LSN of the epoch's first entry
	mark  uint64 // LSN of the last mark of this epoch

	state       State // as written
	stateSynced State // as on disk
	log         history
	synced      uint64 // the log is on disk through here
	writes      []pendingWrite
	lastSeq     uint64

	commit  uint64
	applied uint64

	// As a follower: the log equals that of the primary of epoch
	// state.Promise through matched; leaderCommit is its mark.
	matched      uint64
	leaderCommit uint64
	replies      []pendingReply
	fetching     bool

	// As a primary.
	peers      []*progress   // in the order of the view, so that a schedule replays exactly
	proposal   *InSyncChange // in flight until a later version is seen
	proposedAt time.Duration
	reads      confirmation
	handover   handover
	tickets    uint64 // of comparisons

	// mayAbdicate is when the replica may abdicate again.
	mayAbdicate time.Duration

	dead bool
}

// pendingWrite is a write that has not been reported as synced.
type pendingWrite struct {
	seq      uint64
	state    State
	hasState bool
	last     uint64 // the log is on disk through here when it is synced; 0 says nothing
}

// pendingReply is an answer that may leave only after the state is on disk.
type pendingReply struct {
	after uint64
	msg   Message
}

// New returns a replica as it stands after a process start: it follows, and
// leads nothing before the control plane gives it a new epoch.
func New(cfg Config, rec Recovered) (*Replica, error) {
	at := rec.Applied
	r := &Replica{cfg: cfg, state: rec.State, stateSynced: rec.State, applied: at.LSN, commit: at.LSN}
	r.log.reset(rec.Base)
	for _, p := range rec.Positions {
		if p.LSN != r.log.last+1 || p.Epoch < r.log.epochAt(r.log.last) {
			return nil, fmt.Errorf("partition log: position %v follows %v", p, r.log.lastPosition())
		}
		r.log.append(Entry{Epoch: p.Epoch, LSN: p.LSN})
	}
	if at.LSN < rec.Base.LSN {
		return nil, fmt.Errorf("partition log: begins above %v, but the storage has applied only %v", rec.Base, at)
	}
	if at.LSN > r.log.last || r.log.position(at.LSN) != at {
		// The storage took a snapshot, and a crash came before the log was
		// told to begin above it.
		r.resetLog(at)
		return r, nil
	}
	if want := r.log.last - at.LSN; uint64(len(rec.Unapplied)) != want {
		return nil, fmt.Errorf("partition log: %d entries above the applied one, want %d", len(rec.Unapplied), want)
	}
	r.log.forget(r.log.last)
	for i, e := range rec.Unapplied {
		if lsn := at.LSN + 1 + uint64(i); e.Position() != r.log.position(lsn) {
			return nil, fmt.Errorf("partition log: entry %v where %v was expected", e.Position(), r.log.position(lsn))
		}
		r.log.tail = append(r.log.tail, e)
		r.log.bytes += e.size()
	}
	r.synced = r.log.last
	return r, nil
}

// Drain returns what the calls since the last Drain ask for.
func (r *Replica) Drain() Output {
	if r.role != Follower {
		for _, p := range r.peers {
			if p.wantsAppend(r) {
				r.out.Ready = append(r.out.Ready, p.member)
			}
		}
	}
	out := r.out
	r.out = Output{}
	return out
}

// Role returns the replica's role and, unless it follows, the epoch of it.
func (r *Replica) Role() (Role, uint64) { return r.role, r.epoch }

// View returns the view that was configured last.
func (r *Replica) View() View { return r.view }

// Self returns the member that this replica is, zero when it is none.
func (r *Replica) Self() Member { return r.self }

// Promise returns the highest epoch that the replica has taken part in.
func (r *Replica) Promise() uint64 { return r.state.Promise }

// Commit returns the LSN through which the replica knows the log committed.
func (r *Replica) Commit() uint64 { return r.commit }

// Last returns the position of the last entry of the log.
func (r *Replica) Last() Position { return r.log.lastPosition() }

// Configure takes a new view. Older ones are ignored.
func (r *Replica) Configure(v View) {
	if r.dead || v.Version < r.view.Version {
		return
	}
	r.welcome(v.Absent)
	if v.Version == r.view.Version {
		r.view.Absent = v.Absent
		return
	}
	r.view = v
	r.self = Member{}
	for _, m := range v.Members {
		if m.Node == r.cfg.Node && m.Store == r.cfg.Store {
			r.self = m
		}
	}
	if r.self == (Member{}) {
		r.stepDown()
		return
	}
	if r.role != Follower && v.Epoch > r.epoch {
		r.stepDown()
	}
	r.join()
	switch {
	case r.role != Follower:
		r.reconfigure()
	case v.Primary == r.self && (v.Epoch > r.state.Promise || r.mayActivate(v.Epoch)):
		r.activate()
	}
}

// mayActivate reports whether a broken rule lets the replica lead an epoch that
// is not above its promise.
func (r *Replica) mayActivate(epoch uint64) bool {
	return epoch < r.state.Promise && r.cfg.Breaks(planted.ActivateLowerEpochs) ||
		epoch == r.state.Promise && (r.cfg.Breaks(planted.ResumeRecovery) || r.cfg.Breaks(planted.RestartServes))
}

// join persists the promise that a new or newly assigned member gives before
// it answers anything.
func (r *Replica) join() {
	if r.state.Incarnation == r.self.Incarnation {
		return
	}
	promise := r.view.Epoch
	if slices.Contains(r.view.InSync, r.self) {
		// Only the first assignment names a member in-sync that never
		// answered. It may still lead that very epoch.
		promise--
	}
	r.matched = 0
	r.writeState(State{Promise: max(promise, r.state.Promise), Incarnation: r.self.Incarnation})
}

// activate opens the epoch: the promise and the no-op go to disk before
// anything is sent in it, so that a crash cannot make two logs of one epoch.
func (r *Replica) activate() {
	if r.cfg.Breaks(planted.RestartServes) && r.view.Epoch == r.state.Promise {
		r.setRole(Serving, r.view.Epoch)
		r.reconfigure()
		return
	}
	r.setRole(Activating, r.view.Epoch)
	r.matched, r.leaderCommit = 0, 0
	if r.cfg.Breaks(planted.TruncateToCommit) {
		r.truncate(r.commit + 1)
	}
	r.noop = r.log.last + 1
	r.mark = r.noop
	r.peers, r.proposal, r.handover = nil, nil, handover{}
	r.writeState(State{Promise: r.epoch, Incarnation: r.self.Incarnation})
	r.appendLocal([]Entry{{Epoch: r.epoch, LSN: r.noop}})
	r.reconfigure()
}

// reconfigure brings the primary's knowledge of its peers up to the view.
func (r *Replica) reconfigure() {
	if r.proposal != nil && r.view.Version > r.proposal.Version {
		r.proposal = nil
	}
	known := r.peers
	r.peers = nil
	for _, m := range r.view.Members {
		if m == r.self {
			continue
		}
		p := newProgress(m, r.log.last+1, r.now)
		for _, k := range known {
			if k.member == m {
				p = k
			}
		}
		if slices.Contains(r.view.InSync, m) {
			p.leave()
			p.held = false
		}
		r.peers = append(r.peers, p)
	}
	r.forgiveReads()
	r.abandonHandover()
	r.tryCommit()
}

// peer returns the progress of m, nil when m is no peer.
func (r *Replica) peer(m Member) *progress {
	for _, p := range r.peers {
		if p.member == m {
			return p
		}
	}
	return nil
}

// stepDown ends whatever role the replica has. What it appended and could
// not commit may yet be committed by the next primary.
func (r *Replica) stepDown() {
	if r.role == Follower {
		return
	}
	r.setRole(Follower, 0)
	r.failReads()
	r.peers, r.proposal, r.handover = nil, nil, handover{}
	r.matched, r.leaderCommit = 0, 0
}

func (r *Replica) setRole(role Role, epoch uint64) {
	r.role, r.epoch = role, epoch
	r.out.RoleChanged = true
}

// Synced reports that the writes through seq are on disk.
func (r *Replica) Synced(seq uint64) {
	for len(r.writes) > 0 && r.writes[0].seq <= seq {
		w := r.writes[0]
		r.writes = r.writes[1:]
		if w.hasState {
			r.stateSynced = w.state
		}
		r.synced = max(r.synced, w.last)
	}
	n := 0
	for n < len(r.replies) && r.replies[n].after <= seq {
		r.send(r.replies[n].msg)
		n++
	}
	r.replies = r.replies[n:]
	switch {
	case r.role == Activating && r.stateSynced.Promise >= r.epoch:
		r.setRole(Recovering, r.epoch)
		for _, p := range r.peers {
			p.heard, p.reached = r.now, r.now
		}
		fallthrough
	case r.role != Follower:
		r.tryCommit()
		r.completeJoins()
		r.relinquish()
	default:
		r.followCommit()
	}
}

// Applied reports that the storage holds the log through lsn, on disk.
func (r *Replica) Applied(lsn uint64) {
	if lsn <= r.applied {
		return
	}
	r.applied = lsn
	r.trimTail()
}

// Retained reports that the log on disk no longer holds entries below first.
func (r *Replica) Retained(first uint64) {
	if first > 0 && first-1 <= r.applied {
		r.log.raiseBase(first - 1)
	}
}

// trimTail lets go of content that the storage holds, and keeps up to
// TailBytes of it for peers that lag a little.
func (r *Replica) trimTail() {
	needed := r.log.last + 1
	for _, p := range r.peers {
		if p.state != behind {
			needed = min(needed, p.match+1)
		}
	}
	r.log.forget(min(r.applied, needed-1))
	for r.log.bytes > r.cfg.TailBytes && r.log.tailFirst() <= r.applied {
		r.log.forget(r.log.tailFirst())
	}
}

// Tick tells the time, which must not go back, and lets time-outs act.
func (r *Replica) Tick(now time.Duration) {
	if pause := now - r.now; pause > r.cfg.SilentAfter/2 {
		// It was this process that stood still, not its peers.
		for _, p := range r.peers {
			p.heard, p.reached = p.heard+pause, p.reached+pause
		}
	}
	r.now = max(r.now, now)
	if r.dead || r.role == Follower || r.role == Activating {
		return
	}
	r.tickReads()
	r.tickMembership()
	r.tickHandover()
}

// Step takes a message from another replica.
func (r *Replica) Step(m Message) {
	if r.dead {
		return
	}
	switch m.Kind {
	case Append, Confirm, Behind:
		r.stepRequest(m)
	case AppendReply, ConfirmReply:
		r.stepReply(m)
	}
}

// writeState puts the state on disk.
func (r *Replica) writeState(s State) {
	r.state = s
	written := s
	if r.cfg.Breaks(planted.PromiseVolatile) {
		written.Promise = 0
	}
	r.write(Write{State: written, HasState: true}, pendingWrite{state: s, hasState: true})
}

// appendLocal appends entries and puts them on disk.
func (r *Replica) appendLocal(entries []Entry) {
	for _, e := range entries {
		r.log.append(e)
	}
	r.write(Write{Entries: entries}, pendingWrite{last: r.log.last})
}

// truncate drops the log from lsn on. The disk follows with the entry that
// takes the place of lsn.
func (r *Replica) truncate(lsn uint64) {
	r.log.truncate(lsn)
	r.synced = min(r.synced, lsn-1)
	r.matched = min(r.matched, lsn-1)
	for i := range r.writes {
		r.writes[i].last = min(r.writes[i].last, lsn-1)
	}
}

// resetLog begins the log above p, which the storage holds.
func (r *Replica) resetLog(p Position) {
	r.log.reset(p)
	r.applied, r.commit = p.LSN, p.LSN
	r.matched, r.leaderCommit, r.synced = 0, 0, 0
	for i := range r.writes {
		r.writes[i].last = 0
	}
	r.write(Write{Reset: p, HasReset: true}, pendingWrite{last: p.LSN})
}

func (r *Replica) write(w Write, p pendingWrite) {
	r.lastSeq++
	w.Seq, p.seq = r.lastSeq, r.lastSeq
	r.out.Writes = append(r.out.Writes, w)
	r.writes = append(r.writes, p)
}

func (r *Replica) send(m Message) { r.out.Messages = append(r.out.Messages, m) }

// advance moves the commit mark and hands the entries out.
func (r *Replica) advance(to uint64) {
	if to <= r.commit {
		return
	}
	first := r.log.tailFirst()
	entries := r.log.tail[r.commit+1-first : to+1-first]
	if len(r.out.Committed) == 0 {
		r.out.Committed = slices.Clip(entries)
	} else {
		r.out.Committed = append(r.out.Committed, entries...)
	}
	r.commit = to
}

// fail ends the replica: the disk contradicts the protocol.
func (r *Replica) fail(format string, args ...any) {
	r.stepDown()
	r.dead = true
	r.out.Fatal = fmt.Errorf(format, args...)
}
