package partition

import (
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// Verify asks whether the copy of a member equals the primary's. The answer is
// given to [Replica.Verified], whatever it is; until then the member is not
// proposed in-sync.
type Verify struct {
	Member Member
	// Ticket belongs into the answer.
	Ticket uint64
	// At is the LSN behind which the copies are to be compared. It is that of a
	// mark or, where nothing is committed for the time being, the last committed:
	// both replicas get there, and one that has gone on knows the digest of a mark.
	At uint64
}

// Verdict is the outcome of a comparison.
type Verdict uint8

const (
	// Undecided says that one of the digests could not be had. The replica asks again.
	Undecided Verdict = iota
	// Equal says that the digests behind that LSN agree.
	Equal
	// Different says that they do not. The member is refused: it is never proposed.
	Different
)

// comparison is what a primary knows of a learner's copy.
type comparison struct {
	// ticket is that of the comparison under way, 0 if none is.
	ticket    uint64
	equal     bool
	notBefore time.Duration
	// refused: the copy is to be made anew, as was last asked at refusedAt.
	refused   bool
	refusedAt time.Duration
}

// equal reports whether the learner's copy has been found equal, and asks to
// compare it when that can succeed: when the mark with which the learner joined
// is committed, or nothing can be, as when this learner is what is missing.
func (r *Replica) equal(p *progress) bool {
	c := &p.comparison
	if c.equal || r.cfg.Breaks(planted.JoinUnverified) {
		return true
	}
	if !p.joined || c.ticket != 0 || r.now < c.notBefore {
		return false
	}
	at := p.joinLSN
	if r.commit < at {
		if !r.stalled() {
			return false
		}
		at = r.commit
	}
	r.tickets++
	c.ticket = r.tickets
	p.heartbeat = true // it has to know what is committed
	r.out.Verify = append(r.out.Verify, Verify{Member: p.member, Ticket: c.ticket, At: at})
	return false
}

// markEnd returns the LSN of a mark at the end of the log. A serving primary
// appends one if there is none; while it recovers its no-op is the end.
func (r *Replica) markEnd() uint64 {
	if r.role == Serving && r.log.last != r.mark {
		r.mark = r.log.last + 1
		r.appendLocal([]Entry{{Epoch: r.epoch, LSN: r.mark}})
	}
	return r.log.last
}

// Mark returns an LSN behind which all copies can be compared now: that of a
// mark at the end of the log, or the last committed where nothing is committed
// for the time being. It returns [ErrNotServing] unless the replica serves.
func (r *Replica) Mark() (lsn uint64, err error) {
	switch {
	case r.role != Serving:
		return 0, ErrNotServing
	case r.stalled():
		return r.commit, nil
	default:
		return r.markEnd(), nil
	}
}

// Verified takes the answer to [Output.Verify]. One that comes late, for a
// member that has left the acknowledgement set since or has another copy, has
// no effect.
func (r *Replica) Verified(v Verify, verdict Verdict) {
	p := r.peer(v.Member)
	if p == nil || !p.joined || p.comparison.ticket != v.Ticket {
		return
	}
	c := &p.comparison
	c.ticket = 0
	switch verdict {
	case Equal:
		c.equal = true
		r.completeJoins()
	case Different:
		c.refused = true
		p.leave()
		r.refuse(p)
		r.tryCommit()
	default:
		c.notBefore = r.now + r.cfg.Heartbeat
		p.joinLSN = r.markEnd() // a digest that is forgotten is not found again
	}
}

func (r *Replica) refuse(p *progress) {
	p.comparison.refusedAt = r.now
	r.out.Refused = append(r.out.Refused, p.member)
}

func (r *Replica) refuseAgain(p *progress) {
	if p.comparison.refused && r.now-p.comparison.refusedAt >= proposeAgain {
		r.refuse(p)
	}
}
