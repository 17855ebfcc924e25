package partition

import (
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// confirmation asks everyone who may count whether this is still the latest
// epoch. Reads that took their value before the requests were sent share a
// round.
type confirmation struct {
	ticket  uint64 // the last one drawn
	round   uint64
	running bool
	missing []Member // those who have not answered the round that is running
	asked   time.Duration
	through uint64 // tickets that the round under way answers
	done    uint64 // tickets that have been answered
}

// Confirm draws a ticket: its answer in Output.Confirmed tells whether the
// replica was the only primary at an instant after this call. The caller has
// taken the value that it wants to return before it calls.
func (r *Replica) Confirm() (ticket uint64, err error) {
	if r.role != Serving {
		return 0, ErrNotServing
	}
	r.reads.ticket++
	ticket = r.reads.ticket
	if !r.reads.running {
		r.beginRound()
	}
	r.finishReads()
	return ticket, nil
}

func (r *Replica) beginRound() {
	c := &r.reads
	c.round++
	c.through = c.ticket
	c.running, c.missing = true, nil
	r.ackSet(func(m Member) {
		if m != r.self && !slices.Contains(c.missing, m) {
			c.missing = append(c.missing, m)
		}
	})
	r.ask()
}

// ask sends the requests of the round to those that have not answered.
func (r *Replica) ask() {
	r.reads.asked = r.now
	for _, m := range r.reads.missing {
		r.send(Message{Kind: Confirm, From: r.self, To: m, Epoch: r.epoch, Round: r.reads.round})
	}
}

func (c *confirmation) confirm(m Member, round uint64) {
	if round == c.round {
		c.missing = slices.DeleteFunc(c.missing, func(o Member) bool { return o == m })
	}
}

// forgiveReads no longer waits for members that have left the
// acknowledgement set: that a later version of this epoch is committed proves
// that none of them led a later epoch before.
func (r *Replica) forgiveReads() {
	c := &r.reads
	if !c.running {
		return
	}
	var counts []Member
	r.ackSet(func(m Member) { counts = append(counts, m) })
	c.missing = slices.DeleteFunc(c.missing, func(m Member) bool { return !slices.Contains(counts, m) })
	r.finishReads()
}

// finishReads answers the tickets of a finished round and begins the next.
func (r *Replica) finishReads() {
	c := &r.reads
	for c.running && len(c.missing) <= r.dispensable() {
		c.running = false
		r.answer(c.through, true)
		if c.ticket > c.done {
			r.beginRound()
		}
	}
}

// dispensable is how many need not answer a round: none, unless the rule is
// broken.
func (r *Replica) dispensable() int {
	if !r.cfg.Breaks(planted.ConfirmByMajority) {
		return 0
	}
	counts := map[Member]bool{}
	r.ackSet(func(m Member) { counts[m] = true })
	return (len(counts) - 1) / 2
}

// failReads answers all open tickets: the role has ended.
func (r *Replica) failReads() {
	r.answer(r.reads.ticket, false)
	r.reads = confirmation{ticket: r.reads.ticket, done: r.reads.done, round: r.reads.round}
}

func (r *Replica) answer(through uint64, ok bool) {
	for c := &r.reads; c.done < through; {
		c.done++
		r.out.Confirmed = append(r.out.Confirmed, Confirmed{Ticket: c.done, OK: ok})
	}
}

func (r *Replica) tickReads() {
	if r.reads.running && r.now-r.reads.asked >= r.cfg.Heartbeat {
		r.ask()
	}
}
