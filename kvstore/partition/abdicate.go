package partition

import (
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

const (
	// abdicateAfter is for how many times SilentAfter nothing is heard of members
	// before the primary abdicates: by then their sessions have ended if they are
	// dead, also when the control plane has had to elect a leader.
	abdicateAfter = 3
	// abdicateAgain is how long a replica that has abdicated does not do so again:
	// where nobody reaches most of the others, the role does not go round for ever.
	abdicateAgain = 10 * time.Second
)

// suspect reports whether this primary is the likelier culprit: there are two or
// more members with a session of which it has heard nothing for so long, and
// they are more than those it hears, itself included. To remove them one by one
// would leave it alone with the only copy, or, where min-in-sync forbids that,
// stuck.
func (r *Replica) suspect(silence time.Duration) bool {
	if r.now < r.mayAbdicate || r.cfg.Breaks(planted.StayUnreached) {
		return false
	}
	reached, unreached := 1, 0
	for _, p := range r.peers {
		switch {
		case slices.Contains(r.view.Absent, p.member):
		case r.now-p.reached <= silence:
			reached++
		default:
			unreached++
		}
	}
	return unreached >= 2 && unreached > reached
}

// abdicate gives up the role if this primary has been suspect for long. The next
// one is one of those that it does not reach: any other would see the same.
//
// What is not committed is not waited for: its outcome is unknown. There is no
// way back, as with a hand-over. It reports whether the role has ended.
func (r *Replica) abdicate() bool {
	if !r.suspect(abdicateAfter * r.cfg.SilentAfter) {
		return false
	}
	to, ok := r.successor()
	if !ok {
		return false
	}
	r.mayAbdicate = r.now + abdicateAgain
	r.handover = handover{draining: true, to: to}
	r.setRole(Relinquished, r.epoch)
	r.failReads()
	r.askTransfer()
	return true
}

// successor returns a member that is in-sync, stays so whatever becomes of the
// proposal in flight, and has a session. With each epoch it begins with another.
func (r *Replica) successor() (Member, bool) {
	n := uint64(len(r.view.InSync))
	for i := range n {
		m := r.view.InSync[(r.epoch+i)%n]
		p := r.peer(m)
		if p == nil || r.now-p.reached <= r.cfg.SilentAfter || slices.Contains(r.view.Absent, m) || r.proposal != nil && !r.proposed(m) {
			continue
		}
		return m, true
	}
	return Member{}, false
}

// welcome gives members that were absent, and are not by the next view, time to
// answer.
func (r *Replica) welcome(absent []Member) {
	for _, m := range r.view.Absent {
		if p := r.peer(m); p != nil && !slices.Contains(absent, m) {
			p.reached = r.now
		}
	}
}

// SessionInDoubt tells that the node's own session may have ended. It is not
// known then whose others have, and this primary is none to judge; if it stays
// so, it is deposed.
func (r *Replica) SessionInDoubt() {
	for _, p := range r.peers {
		p.reached = r.now
	}
}
