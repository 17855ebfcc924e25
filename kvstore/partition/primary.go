package partition

import (
	"errors"
	"slices"

	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// ErrNotServing is returned by [Replica.Propose] when the replica does not
// take writes: it is not the primary, recovers, hands over, or has too few
// in-sync members. Nothing was appended.
var ErrNotServing = errors.New("partition: not serving")

// Propose appends data as the next entry. The write is done when an entry
// with the returned position is among the committed; if the role ends before
// that, its outcome is unknown.
func (r *Replica) Propose(data []byte) (Position, error) {
	if !r.Writable() {
		return Position{}, ErrNotServing
	}
	e := Entry{Epoch: r.epoch, LSN: r.log.last + 1, Data: data}
	r.appendLocal([]Entry{e})
	return e.Position(), nil
}

// Writable reports whether Propose takes a write. It does not while somebody
// is silent whose acknowledgement the write would need: it could only end
// with an unknown outcome.
func (r *Replica) Writable() bool {
	return r.role == Serving && !r.handover.draining && !r.stalled()
}

// stalled reports whether nothing is committed for the time being: somebody
// who has to acknowledge it is silent, or too few are in-sync.
func (r *Replica) stalled() bool {
	stalled := !r.enoughInSync()
	r.ackSet(func(m Member) {
		if m != r.self {
			p := r.peer(m)
			stalled = stalled || p == nil || r.silent(p)
		}
	})
	return stalled
}

func (r *Replica) enoughInSync() bool { return len(r.view.InSync) >= r.minInSync() }

func (r *Replica) minInSync() int {
	if r.cfg.Breaks(planted.IgnoreMinInSync) {
		return 1
	}
	return r.view.MinInSync
}

// ackSet calls f for every member whose disk must have an entry before it is
// committed: the in-sync set, the learners that have joined, and everyone in
// a proposal in flight. It may call f twice for one.
func (r *Replica) ackSet(f func(Member)) {
	f(r.self)
	for _, m := range r.view.InSync {
		if r.cfg.Breaks(planted.ShrinkEarly) && r.proposal != nil && !slices.Contains(r.proposal.InSync, m) {
			continue
		}
		f(m)
	}
	if r.cfg.Breaks(planted.IgnoreProposals) {
		return
	}
	for _, p := range r.peers {
		if p.joined {
			f(p.member)
		}
	}
	if r.proposal != nil {
		for _, m := range r.proposal.InSync {
			f(m)
		}
	}
}

// tryCommit commits what every member of the acknowledgement set has on disk.
func (r *Replica) tryCommit() {
	if r.role != Recovering && r.role != Serving || !r.enoughInSync() {
		return
	}
	through := r.log.last
	r.ackSet(func(m Member) {
		if m == r.self {
			if !r.cfg.Breaks(planted.AckBeforeFsync) {
				through = min(through, r.synced)
			}
		} else if p := r.peer(m); p != nil {
			through = min(through, p.match)
		} else {
			through = 0
		}
	})
	marked := r.commit >= r.mark
	if r.advance(through); !marked && r.commit >= r.mark {
		for _, p := range r.peers {
			p.heartbeat = true // somebody may wait for the digest there
		}
	}
	if r.role == Recovering && (r.commit >= r.noop || r.cfg.Breaks(planted.ServeEarly)) {
		r.setRole(Serving, r.epoch)
	}
}

// stepReply takes what a peer answers.
func (r *Replica) stepReply(m Message) {
	if r.role == Follower || m.To != r.self {
		return
	}
	if m.Status == Stale && m.Epoch > r.epoch {
		r.stepDown()
		return
	}
	p := r.peer(m.From)
	if p != nil {
		p.reached = r.now
	}
	if p == nil || m.Epoch != r.epoch || m.Status == NotMember {
		return
	}
	if m.Durable > r.log.last {
		return // nobody has what was never sent
	}
	p.heard = r.now
	switch {
	case m.Kind == ConfirmReply:
		r.reads.confirm(m.From, m.Round)
		r.finishReads()
	case m.Status == OK:
		p.acknowledge(m.Durable)
		r.learnCommit(m)
		r.trimTail()
		r.tryCommit()
		r.completeJoins()
		r.relinquish()
	case m.Status == Mismatch:
		r.stepMismatch(p, m)
	}
}

// learnCommit takes from a peer what an earlier primary has committed. Without
// that a learner that was told more than the new primary would wait for it, and
// the primary, which has to compare their copies, for the learner.
func (r *Replica) learnCommit(m Message) {
	if r.role == Recovering {
		r.advance(min(m.Commit, m.Durable, r.synced))
	}
}

// stepMismatch goes back to where the peer's log may agree.
func (r *Replica) stepMismatch(p *progress, m Message) {
	base := r.log.base
	if m.Hint.LSN < base.LSN || m.Hint.LSN == base.LSN && m.Hint.Epoch != base.Epoch {
		if p.state != behind {
			r.fallBehind(p)
		}
		return
	}
	next := r.log.agreeable(m.Hint).LSN + 1
	if p.state != behind {
		if m.Prev.LSN < p.match || m.Prev.LSN >= p.next {
			return // the answer to a message that is history
		}
		next = min(next, m.Prev.LSN)
	}
	p.probe(next)
}
