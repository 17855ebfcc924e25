package partition

import (
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// proposeAgain is how long a proposal may stay without an effect before it
// is repeated. It is a compare-and-set, so repeating does no harm.
const proposeAgain = 500 * time.Millisecond

// tickMembership sends heartbeats, proposes silent members out of the
// in-sync set, and repeats a proposal that has not shown.
func (r *Replica) tickMembership() {
	for _, p := range r.peers {
		if r.now-p.sentAt >= r.cfg.Heartbeat {
			p.heartbeat = true
		}
		if p.joined && r.silent(p) && !r.proposed(p.member) {
			p.leave()
			r.tryCommit()
		}
		r.refuseAgain(p)
	}
	if r.role != Recovering && r.role != Serving || r.abdicate() {
		return
	}
	if r.proposal != nil {
		if r.now-r.proposedAt >= proposeAgain {
			if r.cfg.Breaks(planted.ForgetProposal) {
				r.forgetProposal()
				return
			}
			r.propose(*r.proposal)
		}
		return
	}
	r.completeJoins()
	if r.proposal != nil || len(r.view.InSync) <= r.minInSync() {
		return
	}
	suspect := r.suspect(r.cfg.SilentAfter)
	for _, m := range r.view.InSync {
		if suspect && !slices.Contains(r.view.Absent, m) {
			continue // it may be this primary that has to go
		}
		if p := r.peer(m); p != nil && r.silent(p) {
			r.proposeInSync(slices.DeleteFunc(slices.Clone(r.view.InSync), func(o Member) bool { return o == m }))
			return
		}
	}
}

func (r *Replica) silent(p *progress) bool {
	return r.now-p.heard > r.cfg.SilentAfter || slices.Contains(r.view.Absent, p.member)
}

// proposed reports whether the proposal in flight names m.
func (r *Replica) proposed(m Member) bool {
	return r.proposal != nil && slices.Contains(r.proposal.InSync, m)
}

// completeJoins lets learners that have nearly everything count for
// acknowledgements, and proposes those in-sync that have everything since and
// whose copies equal the primary's.
// A primary does so while it recovers, too: with one of two in-sync members
// dead, a learner is what lets it serve again.
func (r *Replica) completeJoins() {
	if r.role != Recovering && r.role != Serving || r.handover.draining {
		return
	}
	if r.role == Recovering && r.cfg.Breaks(planted.NoAdditionsInRecovery) {
		return
	}
	for _, m := range r.view.Members {
		p := r.peer(m)
		if p == nil || p.state != streaming || p.comparison.refused || slices.Contains(r.view.InSync, m) || r.silent(p) {
			continue
		}
		if !p.joined && p.match+r.cfg.CatchUpLag >= r.log.last {
			p.join(r.markEnd())
		}
		ready := r.cfg.Breaks(planted.JoinEarly) || p.match >= p.joinLSN && r.equal(p)
		if p.joined && ready && r.proposal == nil {
			r.proposeInSync(append(slices.Clone(r.view.InSync), m))
		}
	}
}

// proposeInSync asks the control plane for another in-sync set. Whoever is
// in it counts for acknowledgements from now until a later version is seen,
// even if the request seems to have failed.
func (r *Replica) proposeInSync(set []Member) {
	r.proposal = &InSyncChange{Epoch: r.epoch, Version: r.view.Version, InSync: set}
	r.propose(*r.proposal)
}

func (r *Replica) propose(c InSyncChange) {
	r.proposedAt = r.now
	r.out.InSync = &c
}

// forgetProposal is what must not be done with a proposal: it may have been
// committed, and who is in it may be elected.
func (r *Replica) forgetProposal() {
	r.proposal = nil
	for _, p := range r.peers {
		p.leave()
	}
	r.tryCommit()
}
