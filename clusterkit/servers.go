package clusterkit

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/hashicorp/raft"
)

const (
	// maxVoters bounds the servers that vote in Raft; further ones only follow.
	maxVoters = 5
	// fewVoters is how many it takes so that one may be lost.
	fewVoters = 3
	// promotionLag is how many entries a follower may be behind to be made a
	// voter.
	promotionLag = 64
	// registrationTime is how long a server may be let in without its node
	// having registered.
	registrationTime = 5 * time.Minute
)

// serverPatience is for how long servers are watched before they vote, or do no
// more.
type serverPatience struct {
	// probation is how long a follower has to stay before it is made a voter, so
	// that a node that only looks in does not count for the quorum.
	probation time.Duration
	// loss is how long the node of a voter may be away before another one votes in
	// its place.
	loss time.Duration
}

var defaultPatience = serverPatience{probation: 5 * time.Second, loss: time.Minute}

// raftServer is a server of Raft's configuration, with what the leader knows of
// it.
type raftServer struct {
	id    raft.ServerID
	voter bool
	// self: it is this leader.
	self bool
	// live: its node has an open session under this identity.
	live bool
	// caughtUp: it is live and knows nearly everything. proven: it also has
	// stayed for the probation.
	caughtUp, proven bool
	// lost: its node has been away for voterLossTime.
	lost bool
	// useless: its node is there under another identity, or was let in and never
	// came.
	useless bool
	// removed: its node was removed from the cluster.
	removed bool
	// address is what Raft has recorded; see addressFile.
	address raft.ServerAddress
}

type serverChangeKind string

const (
	serverRemoval   serverChangeKind = "removal"
	serverPromotion serverChangeKind = "promotion"
	serverDemotion  serverChangeKind = "demotion"
)

// serverChange is one change of Raft's configuration.
type serverChange struct {
	kind serverChangeKind
	id   raft.ServerID
	// address stays as it is.
	address raft.ServerAddress
}

func (c serverChange) apply(r *raft.Raft, prevIndex uint64) raft.Future {
	switch c.kind {
	case serverPromotion:
		return r.AddVoter(c.id, c.address, prevIndex, serverChangeTimeout)
	case serverDemotion:
		return r.DemoteVoter(c.id, prevIndex, serverChangeTimeout)
	default:
		return r.RemoveServer(c.id, prevIndex, serverChangeTimeout)
	}
}

// nextServerChange returns the change of Raft's configuration that comes next,
// and whether there is one. The removal of this leader itself means that it has
// to hand on the leadership.
//
// What matters is how many more voters may fail: the live ones less the quorum.
// No change makes it fewer, other than to take the vote of a removed node,
// whether or not a voter that is taken for lost is truly gone. From an odd number
// of voters, one more raises both by one; from an even number, one less lowers
// the quorum by one. So a voter that is lost is replaced by a promotion and then
// a demotion, and without anybody to replace it it keeps its vote, unless the
// number is even.
func nextServerChange(servers []raftServer) (serverChange, bool) {
	t := tally(servers)
	first := func(kind serverChangeKind, when func(raftServer) bool) (serverChange, bool) {
		i := slices.IndexFunc(servers, when)
		if i < 0 {
			return serverChange{}, false
		}
		return serverChange{kind: kind, id: servers[i].id, address: servers[i].address}, true
	}
	canTake := t.live >= quorum(t.voters-1)
	even := t.voters%2 == 0 || t.voters > maxVoters
	surplus := t.voters > maxVoters
	room := t.voters <= maxVoters && t.voters-t.leaving < maxVoters && t.live >= quorum(t.voters)
	enough := t.voters < fewVoters && t.voters+t.caughtUp >= fewVoters
	for _, rule := range []struct {
		kind serverChangeKind
		when func(raftServer) bool
	}{
		{serverRemoval, func(s raftServer) bool { return s.removed && s.self }},
		{serverRemoval, func(s raftServer) bool { return (s.useless || s.removed) && !s.voter }},
		{serverRemoval, func(s raftServer) bool { return s.useless && canTake }},
		{serverRemoval, func(s raftServer) bool { return s.removed && canTake && even }},
		{serverDemotion, func(s raftServer) bool { return s.voter && s.lost && canTake && even }},
		{serverDemotion, func(s raftServer) bool { return s.voter && !s.self && !s.live && surplus }},
		{serverDemotion, func(s raftServer) bool { return s.voter && !s.self && surplus }},
		{serverPromotion, func(s raftServer) bool { return !s.voter && room && (s.proven || s.caughtUp && enough) }},
		{serverRemoval, func(s raftServer) bool { return s.removed && canTake }},
	} {
		if change, ok := first(rule.kind, rule.when); ok {
			return change, true
		}
	}
	return serverChange{}, false
}

// votes counts the servers of a configuration.
type votes struct {
	// live and leaving are among the voters: those that can be relied on, and
	// those that are lost or removed.
	voters, live, leaving int
	// caughtUp counts the others that could vote at once.
	caughtUp int
}

func tally(servers []raftServer) votes {
	var t votes
	for _, s := range servers {
		if !s.voter {
			if s.caughtUp {
				t.caughtUp++
			}
			continue
		}
		t.voters++
		if s.live {
			t.live++
		}
		if s.lost || s.removed {
			t.leaving++
		}
	}
	return t
}

// needsVote returns why the node cannot be removed now, an error that matches
// [ErrRefused]: it is one of the voters, and without it fewer than a quorum of
// them would be up.
func (m *Map) needsVote(servers []raft.Server, nodeID string) error {
	voters, live, votes := 0, 0, false
	for _, s := range servers {
		if s.Suffrage != raft.Voter {
			continue
		}
		voters++
		n := m.nodeOfServer(s.ID)
		switch {
		case n == nil || n.RaftID != string(s.ID):
		case n.ID == nodeID:
			votes = true
		case n.Alive:
			live++
		}
	}
	if needed := quorum(voters - 1); votes && live < needed {
		return fmt.Errorf("%w: %s votes in Raft, and of the other %d voters %d are up where %d are needed: start them first, or wait until another node votes", ErrRefused, nodeID, voters-1, live, needed)
	}
	return nil
}

// quorum is the majority of so many voters.
func quorum(voters int) int { return voters/2 + 1 }

// serverWatch is what a leader remembers of Raft's servers in its term.
type serverWatch struct {
	self     raft.ServerID
	patience serverPatience
	standing map[raft.ServerID]serverStanding
}

// serverStanding is how the leader last saw a server, and since when.
type serverStanding struct {
	condition serverCondition
	// incarnation is that of the session in which it follows.
	incarnation uint64
	since       time.Duration
}

type serverCondition int

const (
	// unregistered: no node of the map runs under this identity.
	unregistered serverCondition = iota
	// away: its node has no session.
	away
	// behind: it has not caught up in this session yet.
	behind
	// following: it has caught up in this session.
	following
)

func newServerWatch(self raft.ServerID, patience serverPatience) serverWatch {
	return serverWatch{self: self, patience: patience, standing: make(map[raft.ServerID]serverStanding)}
}

// observe takes in what there is now. caughtUp reports whether a node with a
// session knows nearly everything.
func (w *serverWatch) observe(servers []raft.Server, m *Map, caughtUp func(Node) bool, now time.Duration) []raftServer {
	out := make([]raftServer, len(servers))
	for i, s := range servers {
		out[i] = w.look(s, m, caughtUp, now)
	}
	maps.DeleteFunc(w.standing, func(id raft.ServerID, _ serverStanding) bool {
		return !slices.ContainsFunc(servers, func(s raft.Server) bool { return s.ID == id })
	})
	return out
}

func (w *serverWatch) look(s raft.Server, m *Map, caughtUp func(Node) bool, now time.Duration) raftServer {
	n := m.nodeOfServer(s.ID)
	registered := n != nil && n.RaftID == string(s.ID)
	caught := n != nil && n.Alive && caughtUp(*n)
	before, known := w.standing[s.ID]

	is := serverStanding{since: now}
	switch {
	case !registered:
		is.condition = unregistered
	case !n.Alive:
		is.condition = away
	default:
		is.condition, is.incarnation = behind, n.Incarnation
		// A lag of a moment does not begin the probation anew.
		if caught || before.condition == following && before.incarnation == n.Incarnation {
			is.condition = following
		}
	}
	if known && before.condition == is.condition && before.incarnation == is.incarnation {
		is.since = before.since
	}
	w.standing[s.ID] = is

	lasts := now - is.since
	out := raftServer{id: s.ID, voter: s.Suffrage == raft.Voter, self: s.ID == w.self, address: s.Address}
	out.live = registered && n.Alive
	out.caughtUp = registered && caught
	out.proven = out.caughtUp && lasts >= w.patience.probation
	out.removed = m.wasRemoved(s.ID)
	out.lost = !out.self && n != nil && !n.Alive && lasts >= w.patience.loss
	out.useless = !registered && (caught || !out.voter && lasts >= registrationTime)
	return out
}

func (m *Map) wasRemoved(id raft.ServerID) bool {
	return slices.ContainsFunc(m.Removed, func(gone RemovedNode) bool { return gone.RaftID == string(id) })
}

// nodeOfServer returns the node that the server belongs to, perhaps under
// another identity by now; nil if there is none.
func (m *Map) nodeOfServer(id raft.ServerID) *Node {
	return m.Node(nodeIDOf(string(id)))
}
