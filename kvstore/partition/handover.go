package partition

import (
	"slices"
	"time"
)

// handover is the planned end of a primary.
type handover struct {
	draining bool
	to       Member
	deadline time.Duration
	askedAt  time.Duration
	// notBefore keeps a hand-over that failed from being tried again at once.
	notBefore time.Duration
}

// handOverAgain is how long writes are let alone after a hand-over that did
// not succeed.
const handOverAgain = 5 * time.Second

// HandOver begins to give the primary role to an in-sync member: no more
// writes are taken, and once everything is committed and on the target's
// disk, the replica stops for good to serve its epoch and asks for the
// transfer. If it does not get there within patience it serves on. It
// reports whether the hand-over has begun.
func (r *Replica) HandOver(to Member, patience time.Duration) bool {
	p := r.peer(to)
	if r.role != Serving || r.handover.draining || r.now < r.handover.notBefore || r.proposal != nil ||
		p == nil || r.silent(p) || !slices.Contains(r.view.InSync, to) {
		return false
	}
	r.handover = handover{draining: true, to: to, deadline: r.now + patience}
	r.out.RoleChanged = true
	r.relinquish()
	return true
}

// relinquish stops serving if everything is settled. There is no way back:
// only a higher epoch ends it.
func (r *Replica) relinquish() {
	if !r.handover.draining || r.role != Serving || r.proposal != nil || r.commit != r.log.last {
		return
	}
	if p := r.peer(r.handover.to); p == nil || p.match != r.log.last {
		return
	}
	r.setRole(Relinquished, r.epoch)
	r.failReads()
	r.askTransfer()
}

// abandonHandover serves on when the target has left the in-sync set, or the
// time is up.
func (r *Replica) abandonHandover() {
	h := &r.handover
	if r.role == Serving && h.draining && (r.now > h.deadline || !slices.Contains(r.view.InSync, h.to)) {
		*h = handover{notBefore: r.now + handOverAgain}
		r.out.RoleChanged = true
	}
}

func (r *Replica) askTransfer() {
	r.handover.askedAt = r.now
	r.out.Transfer = &Transfer{Epoch: r.epoch, To: r.handover.to}
}

func (r *Replica) tickHandover() {
	if r.role == Relinquished && r.now-r.handover.askedAt >= proposeAgain {
		r.askTransfer()
	}
	r.abandonHandover()
	r.relinquish()
}
