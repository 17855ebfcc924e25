package partition

import (
	"slices"
	"time"
)

// stage is how a primary sends to a peer.
type stage uint8

const (
	// probing: where the logs agree is being looked for, one message at a
	// time.
	probing stage = iota
	// streaming: they agree through match; entries are sent ahead of answers.
	streaming
	// behind: the peer lacks entries that the log no longer holds.
	behind
)

// progress is what a primary knows of one peer in its epoch.
type progress struct {
	member Member
	state  stage
	// match: the peer's log equals this one and is on its disk through here.
	match uint64
	// next is the first entry to send.
	next uint64
	// inflight are the messages under way, oldest first.
	inflight []sent
	bytes    int
	// waiting: a probe is under way.
	waiting bool
	// held: the caller wants no entries sent for the time being.
	held bool
	// loading: the caller reads entries from the disk.
	loading bool
	sentAt  time.Duration
	heard   time.Duration
	// reached is when the peer last answered anything, be it that it is no
	// member.
	reached   time.Duration
	heartbeat bool // one is due

	// joined: the peer is a learner that counts for acknowledgements; it may
	// be proposed when it has everything through joinLSN, and its copy has been
	// compared.
	joined     bool
	joinLSN    uint64
	comparison comparison
}

type sent struct {
	last  uint64
	bytes int
}

func newProgress(m Member, next uint64, now time.Duration) *progress {
	return &progress{member: m, next: next, heard: now, reached: now, sentAt: now, heartbeat: true}
}

// wantsAppend reports whether NextAppend has something for the peer.
func (p *progress) wantsAppend(r *Replica) bool {
	return r.role != Activating && (p.heartbeat || p.takesEntries(r))
}

// takesEntries reports whether there are entries to be sent to the peer now.
func (p *progress) takesEntries(r *Replica) bool {
	return !p.waiting && !p.loading && !p.held && p.state != behind &&
		p.next <= r.log.last && p.bytes < r.cfg.MaxInflightBytes
}

// MustLoad reports whether NextAppend would ask to load entries for a peer. It
// changes nothing: a caller that cannot read the log now leaves NextAppend to
// another.
func (r *Replica) MustLoad(to Member) bool {
	p := r.peer(to)
	return p != nil && r.role != Follower && r.role != Activating && p.takesEntries(r) && p.next < r.log.tailFirst()
}

// NextAppend returns the next message for a peer. When load is true the
// message lacks its entries: the caller reads them from the log, from
// Prev.LSN+1 on, and calls [Replica.Loaded]. ok is false when there is
// nothing to send.
func (r *Replica) NextAppend(to Member) (m Message, load, ok bool) {
	p := r.peer(to)
	if p == nil || r.role == Follower || !p.wantsAppend(r) {
		return Message{}, false, false
	}
	m = Message{Kind: Append, From: r.self, To: to, Epoch: r.epoch, Commit: r.commit}
	due := p.heartbeat
	p.heartbeat, p.sentAt = false, r.now
	if p.state == behind {
		m.Kind, m.Prev = Behind, r.log.base
		return m, false, true
	}
	m.Prev = r.log.position(p.next - 1)
	if !p.takesEntries(r) {
		return m, false, due
	}
	entries, inMemory := r.log.entries(p.next, r.cfg.MaxBatchBytes)
	if !inMemory {
		p.loading = true
		return m, true, true
	}
	m.Entries = entries
	p.sent(entries)
	return m, false, true
}

// Loaded completes a message for which NextAppend asked to load the entries;
// it must be called once for each.
// It returns false when the message must not be sent: the replica no longer
// leads the epoch, or nothing was read. Reading nothing because the log no
// longer holds it makes the peer fetch a snapshot.
func (r *Replica) Loaded(m Message, entries []Entry) (Message, bool) {
	p := r.peer(m.To)
	if p == nil || r.role == Follower || r.epoch != m.Epoch {
		return m, false
	}
	if p.loading = false; p.next != m.Prev.LSN+1 {
		return m, false
	}
	if len(entries) == 0 {
		r.fallBehind(p)
		return m, false
	}
	m.Entries = entries
	p.sent(entries)
	return m, true
}

func (p *progress) sent(entries []Entry) {
	size := 0
	for _, e := range entries {
		size += e.size()
	}
	last := entries[len(entries)-1].LSN
	p.inflight = append(p.inflight, sent{last, size})
	p.bytes += size
	if p.next = last + 1; p.state == probing {
		p.waiting = true
	}
}

// probe looks again for the position where the logs agree.
func (p *progress) probe(next uint64) {
	p.state, p.next, p.waiting = probing, max(next, p.match+1), false
	p.inflight, p.bytes = nil, 0
	p.heartbeat = true
}

// fallBehind takes that the peer needs another copy. It counts for nothing that
// it had.
func (r *Replica) fallBehind(p *progress) {
	p.probe(p.next)
	p.state = behind
	p.leave()
	r.tryCommit()
}

// join makes a learner count for acknowledgements.
func (p *progress) join(lsn uint64) {
	p.joined, p.joinLSN, p.held = true, lsn, false
	p.comparison = comparison{refused: p.comparison.refused}
}

// leave takes that back. Where it is in a proposal in flight, it goes on to
// count for that.
func (p *progress) leave() { p.joined, p.comparison.ticket = false, 0 }

// acknowledge takes that the peer has everything through lsn on its disk.
func (p *progress) acknowledge(lsn uint64) {
	p.match = max(p.match, lsn)
	if p.state != streaming {
		p.state, p.waiting = streaming, false
	}
	p.next = max(p.next, p.match+1)
	n := 0
	for n < len(p.inflight) && p.inflight[n].last <= p.match {
		p.bytes -= p.inflight[n].bytes
		n++
	}
	p.inflight = p.inflight[n:]
}

// Hold keeps entries from a learner, or ends that; heartbeats go on. Whoever
// counts for acknowledgements, from now on or later, is held no more: writes wait
// for it. The caller asks [Replica.NextAppend] again when it ends.
func (r *Replica) Hold(to Member, hold bool) {
	if p := r.peer(to); p != nil {
		p.held = hold && !p.joined && !r.proposed(to) && !slices.Contains(r.view.InSync, to)
	}
}

// Reconnected reports that messages to the peer may have been lost.
func (r *Replica) Reconnected(to Member) {
	if p := r.peer(to); p != nil {
		p.probe(p.match + 1)
	}
}
