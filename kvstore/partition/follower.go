package partition

import (
	"slices"

	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// stepRequest takes what a primary asks.
func (r *Replica) stepRequest(m Message) {
	if m.To != r.self || r.self == (Member{}) || r.state.Incarnation != r.self.Incarnation {
		r.reply(m, Message{Status: NotMember})
		return
	}
	if m.Epoch < r.state.Promise && !r.cfg.Breaks(planted.AcceptLowerEpochs) {
		r.reply(m, Message{Status: Stale, Epoch: r.state.Promise})
		return
	}
	if m.Epoch > r.state.Promise {
		r.stepDown()
		r.matched, r.leaderCommit = 0, 0
		r.replies = nil // they speak for epochs that this replica has left
		if r.cfg.Breaks(planted.TruncateToCommit) {
			r.truncate(r.commit + 1)
		}
		r.writeState(State{Promise: m.Epoch, Incarnation: r.self.Incarnation})
	}
	if r.role != Follower {
		return // nobody else leads an epoch that this replica leads
	}
	switch m.Kind {
	case Append:
		r.stepAppend(m)
	case Confirm:
		r.reply(m, Message{Status: OK})
	case Behind:
		r.stepBehind(m)
	}
}

// stepAppend puts the primary's entries behind those that agree with it.
func (r *Replica) stepAppend(m Message) {
	prev, entries := m.Prev, m.Entries
	if r.fetching {
		r.reply(m, Message{Status: NotMember}) // the log is about to be replaced
		return
	}
	differs := prev.LSN <= r.log.last && prev.LSN >= r.log.base.LSN && r.log.epochAt(prev.LSN) != prev.Epoch
	if prev.LSN > r.log.last || differs && !r.cfg.Breaks(planted.SuffixNotReconciled) {
		r.reply(m, Message{Status: Mismatch, Prev: prev, Hint: r.log.agreeable(prev)})
		return
	}
	through := prev.LSN + uint64(len(entries))
	// Everything through base is committed, so the primary has the same.
	for len(entries) > 0 && entries[0].LSN <= r.log.base.LSN {
		entries = entries[1:]
	}
	for len(entries) > 0 && entries[0].LSN <= r.log.last && r.log.epochAt(entries[0].LSN) == entries[0].Epoch {
		entries = entries[1:]
	}
	if len(entries) > 0 {
		if at := entries[0].LSN; at <= r.log.last {
			if at <= r.commit {
				r.fail("primary of epoch %d replaces the committed entry %v by %v", m.Epoch, r.log.position(at), entries[0].Position())
				return
			}
			r.truncate(at)
		}
		r.appendLocal(entries)
	} else if r.cfg.Breaks(planted.TruncateOnRepeat) && through < r.log.last && through >= r.commit {
		r.truncate(through + 1)
	}
	r.matched = max(r.matched, through)
	r.leaderCommit = max(r.leaderCommit, m.Commit)
	// Never the end of the log: what stands above matched may be of another
	// primary.
	r.reply(m, Message{Status: OK})
	r.followCommit()
}

// followCommit applies what the primary has committed, as far as the log is
// known to equal the primary's and is on disk.
func (r *Replica) followCommit() {
	if r.fetching {
		return // what is committed now would follow the snapshot into the storage
	}
	limit := min(r.matched, r.synced)
	if r.cfg.Breaks(planted.CommitUnclamped) {
		limit = r.log.last
	}
	r.advance(min(r.leaderCommit, limit))
}

// stepBehind begins to fetch a snapshot, unless the log reaches to where the
// primary's begins. A member of the in-sync set never
// throws its log away: it has to leave the set first.
func (r *Replica) stepBehind(m Message) {
	if r.fetching {
		r.reply(m, Message{Status: NotMember})
		return
	}
	if p := m.Prev; p.LSN <= r.log.last && (p.LSN < r.log.base.LSN || r.log.epochAt(p.LSN) == p.Epoch) {
		r.reply(m, Message{Status: Mismatch, Prev: p, Hint: r.log.lastPosition()})
		return
	}
	if slices.Contains(r.view.InSync, r.self) {
		return
	}
	r.fetching = true
	r.out.Snapshot = &m.From
}

// SnapshotLoaded reports that the storage now holds a snapshot taken at p,
// on disk. The log goes on above p.
func (r *Replica) SnapshotLoaded(p Position) {
	r.fetching = false
	if r.dead || r.role != Follower || r.self == (Member{}) || p.LSN <= r.commit {
		return
	}
	r.resetLog(p)
}

// SnapshotFailed reports that no snapshot could be fetched; the primary will
// ask again.
func (r *Replica) SnapshotFailed() {
	r.fetching = false
	r.followCommit()
}

// Behind returns how many entries the primary has committed and this follower
// has not, as far as it was told.
func (r *Replica) Behind() uint64 {
	if r.role != Follower {
		return 0
	}
	return r.leaderCommit - min(r.leaderCommit, r.commit)
}

// reply answers a request as soon as everything that the answer rests on is
// on disk: the promise, and for an Append that matched the entries.
func (r *Replica) reply(req, m Message) {
	m.Kind, m.From, m.To, m.Round = AppendReply, req.To, req.From, req.Round
	if req.Kind == Confirm {
		m.Kind = ConfirmReply
	}
	if m.Epoch == 0 {
		m.Epoch = req.Epoch
	}
	if m.Status == NotMember {
		r.send(m)
		return
	}
	if m.Kind == AppendReply && m.Status == OK {
		m.Durable = req.Prev.LSN + uint64(len(req.Entries))
		m.Commit = r.commit
		if r.cfg.Breaks(planted.AckEndOfLog) {
			m.Durable = r.log.last
		}
	}
	if len(r.writes) == 0 || r.cfg.Breaks(planted.AckBeforeFsync) {
		r.send(m)
		return
	}
	r.replies = append(r.replies, pendingReply{after: r.lastSeq, msg: m})
}
