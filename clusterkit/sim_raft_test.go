package clusterkit

import (
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

// simRaft is what Raft promises and no more: one leader in a term, and one log
// that all nodes apply in order. The adversary elects whom it likes, as long as
// a majority can vote; decides which entries of deposed leaders survive; lets
// them go on as leaders in their own eyes; and lets nodes apply as late as it
// likes. Leaders and whatever waits for them may never learn the outcome.
type simRaft struct {
	w *simWorld
	// log has the committed entries, state is the map after the last.
	log     []simEntry
	state   *Map
	servers []raft.Server
	// terms have had a leader; the last one is the newest.
	terms []*simTerm
	// missing is since when no leader can commit, patience how long that may
	// last before another is elected.
	missing, patience time.Duration
	// slow is until when the leader's writes take long.
	slow time.Duration
}

type simEntry struct {
	term uint64
	// m is the map after the entry.
	m *Map
}

// simTerm is one term and its leader.
type simTerm struct {
	number uint64
	leader *simNode
	// over: its leader knows that it does not lead any more, or is gone.
	over bool
	// known is the length of the log that the leader knows to be committed.
	known int
	// base is the length of the log that tail continues. The first inherited
	// entries of tail are of earlier terms, and commit with one of this term.
	base, inherited int
	tail            []*simProposal
	// waiting has the proposals whose outcome the leader has not told.
	waiting     []*simProposal
	replicating bool
}

// simProposal is an entry that is not committed.
type simProposal struct {
	term *simTerm
	// command is nil in a barrier, and in an entry that changes the servers.
	command command
	change  func([]raft.Server) []raft.Server
	done    func(result, error)
}

// end tells the outcome, once.
func (p *simProposal) end(verdict result, err error) {
	t := p.term
	if i := slices.Index(t.waiting, p); i >= 0 {
		t.waiting = slices.Delete(t.waiting, i, i+1)
		p.done(verdict, err)
	}
}

func newSimRaft(w *simWorld) *simRaft {
	r := &simRaft{w: w, patience: w.between(0, time.Second)}
	config, err := Config{PartitionCount: w.opt.partitions, ReplicationFactor: w.opt.replicas}.withDefaults()
	if err != nil {
		panic(err)
	}
	r.state, _ = bootstrapCommand{ClusterUUID: "cluster", Config: config}.apply(nil, 1)
	r.log = []simEntry{{1, r.state}}
	for i, n := range w.nodes[:w.opt.nodes-w.opt.joiners] {
		suffrage := raft.Voter
		if i >= maxVoters {
			suffrage = raft.Nonvoter
		}
		r.servers = append(r.servers, n.server(suffrage))
	}
	w.after(0, r.watch)
	return r
}

func (r *simRaft) newest() *simTerm {
	if len(r.terms) == 0 {
		return nil
	}
	return r.terms[len(r.terms)-1]
}

// lets reports whether the node is a server of the given kind at least.
func (r *simRaft) lets(n *simNode, suffrage raft.ServerSuffrage) bool {
	return slices.ContainsFunc(r.servers, func(s raft.Server) bool {
		return string(s.ID) == n.raftID && (s.Suffrage == suffrage || s.Suffrage == raft.Voter)
	})
}

// majority reports whether the node and those that it selects are enough of the
// voters.
func (r *simRaft) majority(selected func(*simNode) bool) bool {
	voters, with := 0, 0
	for _, s := range r.servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		for _, n := range r.w.nodes {
			if n.raftID == string(s.ID) && selected(n) {
				with++
			}
		}
	}
	return 2*with > voters
}

// heard reports whether a majority answers the node.
func (r *simRaft) heard(by *simNode) bool {
	return by.runs() && r.majority(func(n *simNode) bool { return n.runs() && (n == by || r.w.reach(n, by)) })
}

// watch elects a leader where there is none that can commit.
func (r *simRaft) watch() {
	w := r.w
	w.after(50*time.Millisecond, r.watch)
	t := r.newest()
	if t != nil && !t.over && r.heard(t.leader) {
		r.missing = w.now
		return
	}
	if t != nil && !t.over && w.now-r.missing > raftLeaderLease {
		t.leader.step(func() { r.stepDown(t) })
	}
	if w.now-r.missing < r.patience {
		return
	}
	first := w.rng.IntN(len(w.nodes))
	for i := range w.nodes {
		if r.elect(w.nodes[(first+i)%len(w.nodes)]) {
			return
		}
	}
}

// elect makes the node the leader of a new term, if a majority lets it.
func (r *simRaft) elect(n *simNode) bool {
	w := r.w
	if !r.lets(n, raft.Voter) || !r.heard(n) || n.ruling != nil {
		return false
	}
	number := uint64(2)
	if old := r.newest(); old != nil {
		number = old.number + 1
		r.depose(old)
	}
	t := &simTerm{number: number, leader: n, known: len(r.log), base: len(r.log)}
	t.tail = r.survivors()
	t.inherited = len(t.tail)
	t.tail = append(t.tail, &simProposal{term: t})
	r.terms = append(r.terms, t)
	r.missing, r.patience = w.now, w.between(raftElectionTimeout, 2*raftElectionTimeout)
	n.ruling = t
	w.result.elections++
	w.say("%s leads term %d, %d entries of others survive", n.name, number, t.inherited)
	w.mix(number, uint64(n.id), uint64(t.inherited))
	r.replicate(t)
	r.beat(t)
	n.step(func() { n.notified(t) })
	return true
}

// depose decides what a majority had of the leader's entries when it voted for
// another: that much is committed, although the leader may not know it yet. It
// learns of both some time later, or never; once everything is healed, as soon
// as the new leader reaches it.
func (r *simRaft) depose(old *simTerm) {
	w, leader := r.w, old.leader
	chosen := w.rng.IntN(len(old.tail) + 1)
	if old.base != len(r.log) || chosen <= old.inherited {
		chosen = 0
	}
	outcomes := r.commit(old, chosen)
	if old.over {
		return
	}
	if w.chance(0.5) {
		leader.later(w.between(0, 500*time.Millisecond), func() { r.learn(old, outcomes) })
	}
	limit := time.Second
	if w.chance(0.1) {
		limit = 4 * time.Second
	}
	leader.later(w.between(0, limit), func() { r.stepDown(old) })
}

// survivors returns entries of deposed leaders that the next one has.
func (r *simRaft) survivors() []*simProposal {
	var with []*simTerm
	for _, t := range r.terms {
		if t.base == len(r.log) && len(t.tail) > 0 {
			with = append(with, t)
		}
	}
	if len(with) == 0 {
		return nil
	}
	tail := with[r.w.rng.IntN(len(with))].tail
	return slices.Clone(tail[:r.w.rng.IntN(len(tail)+1)])
}

// simOutcome is what the leader tells whoever proposed an entry.
type simOutcome struct {
	proposal *simProposal
	index    int
	verdict  result
}

// commit appends the first entries of the leader's tail to the log.
func (r *simRaft) commit(t *simTerm, count int) []simOutcome {
	var outcomes []simOutcome
	for _, p := range t.tail[:count] {
		o := simOutcome{proposal: p, index: len(r.log) + 1}
		next := r.state
		if p.command != nil {
			next, o.verdict = r.w.opt.broken.apply(p.command, r.state, p.term.number)
		}
		if p.change != nil {
			r.servers = p.change(slices.Clone(r.servers))
			r.w.say("servers are %v", r.servers)
		}
		r.log = append(r.log, simEntry{p.term.number, next})
		prev := r.state
		r.state = next
		if next != prev {
			r.w.committed(prev, next, p.command)
		}
		outcomes = append(outcomes, o)
	}
	t.tail = t.tail[count:]
	t.base = len(r.log)
	t.inherited = max(0, t.inherited-count)
	return outcomes
}

// learn tells the leader that entries of its are committed: it applies them and
// answers.
func (r *simRaft) learn(t *simTerm, outcomes []simOutcome) {
	for _, o := range outcomes {
		if t.over {
			return
		}
		t.known = max(t.known, o.index)
		t.leader.advance(o.index)
		if o.proposal.term == t {
			o.proposal.end(o.verdict, nil)
		}
	}
}

// handOn has another lead that can.
func (r *simRaft) handOn(n *simNode) {
	if n.ruling != nil {
		r.stepDown(n.ruling)
	}
	for _, other := range r.w.nodes {
		if other != n && r.elect(other) {
			return
		}
	}
}

// stepDown ends the term in its leader's eyes: the outcome of what it has not
// committed is unknown to it, and some of it may be committed yet.
func (r *simRaft) stepDown(t *simTerm) {
	if t.over {
		return
	}
	r.w.say("%s steps down from term %d", t.leader.name, t.number)
	t.over = true
	if t.leader.ruling == t {
		t.leader.ruling = nil
	}
	if c := t.leader.control; c != nil && c.term == t {
		t.leader.step(func() { c.ended = true })
	}
	for _, p := range slices.Clone(t.waiting) {
		p.end(result{}, ErrUnknown)
	}
}

// propose appends an entry to the log of the node that leads in its own eyes.
// done runs in its process, if it ever learns the outcome.
func (r *simRaft) propose(n *simNode, c command, change func([]raft.Server) []raft.Server, done func(result, error)) {
	t := n.ruling
	if t == nil {
		done(result{}, ErrNoLeader)
		return
	}
	p := &simProposal{term: t, command: c, change: change, done: done}
	t.tail = append(t.tail, p)
	t.waiting = append(t.waiting, p)
	r.replicate(t)
}

// replicate commits what the leader has, round after round.
func (r *simRaft) replicate(t *simTerm) {
	if t.replicating || len(t.tail) == 0 || t.over {
		return
	}
	w := r.w
	t.replicating = true
	count := len(t.tail)
	d := w.between(300*time.Microsecond, 3*time.Millisecond)
	if w.now < r.slow {
		d = w.between(0, 1500*time.Millisecond)
	}
	t.leader.later(d, func() {
		t.replicating = false
		switch {
		case t.over || t != r.newest():
			return // nobody follows it any more
		case !r.heard(t.leader):
			t.leader.later(20*time.Millisecond, func() { r.replicate(t) })
			return
		}
		before := r.state
		outcomes := r.commit(t, count)
		t.known = len(r.log)
		t.leader.step(func() { r.learn(t, outcomes) })
		if before != r.state {
			r.push(t)
		}
		r.replicate(t)
	})
}

// push tells the others how much is committed.
func (r *simRaft) push(t *simTerm) {
	w := r.w
	for _, n := range w.nodes {
		if known := t.known; n != t.leader && r.lets(n, raft.Nonvoter) {
			t.leader.later(w.between(0, raftCommitTimeout), func() {
				w.send(t.leader, n, func() { n.follow(t, known) })
			})
		}
	}
}

// beat repeats that, so that who did not get it gets it later.
func (r *simRaft) beat(t *simTerm) {
	if !t.over {
		r.push(t)
		t.leader.later(100*time.Millisecond, func() { r.beat(t) })
	}
}
