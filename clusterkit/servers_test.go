package clusterkit

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
	"pgregory.net/rapid"
)

// parseServers reads servers as "id: word ...", separated by commas.
func parseServers(text string) []raftServer {
	var out []raftServer
	for part := range strings.SplitSeq(text, ", ") {
		id, words, _ := strings.Cut(part, ": ")
		has := func(word string) bool { return slices.Contains(strings.Fields(words), word) }
		out = append(out, raftServer{
			id: raft.ServerID(id), voter: has("voter"), self: has("self"), live: has("live") || has("caught-up") || has("proven"),
			caughtUp: has("caught-up") || has("proven"), proven: has("proven"), lost: has("lost"), useless: has("useless"), removed: has("removed"),
		})
	}
	return out
}

func TestServerChanges(t *testing.T) {
	tests := []struct{ name, servers, want string }{
		{"the founder alone", "a: voter live self", ""},
		{"one that looks in", "a: voter live self, b: caught-up", ""},
		{"one that stays", "a: voter live self, b: proven", "promotion of b"},
		{"the first three do not wait", "a: voter live self, b: caught-up, c: caught-up", "promotion of b"},
		{"the third of them", "a: voter live self, b: voter live, c: caught-up", "promotion of c"},
		{"the fourth waits", "a: voter live self, b: voter live, c: voter live, d: caught-up", ""},
		{"the fourth has waited", "a: voter live self, b: voter live, c: voter live, d: proven", "promotion of d"},
		{"voters enough", "a: voter live, b: voter live, c: voter live, d: voter live, e: voter live self, f: proven", ""},
		{"one is away", "a: voter live self, b: voter live, c: voter, d: live", ""},
		{"lost and nobody to replace it", "a: voter live self, b: voter live, c: voter lost", ""},
		{"replaced: first a vote more", "a: voter live self, b: voter live, c: voter lost, d: proven", "promotion of d"},
		{"replaced: then one less", "a: voter live self, b: voter live, c: voter lost, d: voter live", "demotion of c"},
		{"one of five is replaced", "a: voter live self, b: voter live, c: voter lost, d: voter live, e: voter live, f: proven", "promotion of f"},
		{"and loses its vote", "a: voter live self, b: voter live, c: voter lost, d: voter live, e: voter live, f: voter live", "demotion of c"},
		{"it has returned meanwhile", "a: voter live self, b: voter live, c: voter live, d: voter live, e: voter live, f: voter live", "demotion of b"},
		{"another one is away meanwhile", "a: voter live self, b: voter live, c: voter live, d: voter live, e: voter live, f: voter", "demotion of f"},
		{"no quorum is live", "a: voter live self, b: voter lost, c: voter lost, d: voter lost, e: proven", ""},
		{"a lost disk goes first", "a: voter live self, b: voter live, c/old: voter useless, c: caught-up", "removal of c/old"},
		{"not without a quorum", "a: voter live self, b: voter, c/old: voter useless, c: caught-up", ""},
		{"a server that never came", "a: voter live self, b: voter, c: voter, d: useless", "removal of d"},
		{"a removed follower", "a: voter live self, b: removed", "removal of b"},
		{"a removed voter of two", "a: voter live self, b: voter removed", "removal of b"},
		{"a removed voter of three", "a: voter live self, b: voter live, c: voter removed", "removal of c"},
		{"a removed voter is replaced first", "a: voter live self, b: voter live, c: voter removed, d: proven", "promotion of d"},
		{"a removed voter that was replaced", "a: voter live self, b: voter live, c: voter removed, d: voter live", "removal of c"},
		{"its vote is needed", "a: voter live self, b: voter, c: voter removed", ""},
		{"this leader was removed", "a: voter self removed, b: voter live, c: voter live", "removal of a"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if change, ok := nextServerChange(parseServers(tt.servers)); ok {
				got = fmt.Sprintf("%s of %s", change.kind, change.id)
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

// TestServerChangesKeepTheQuorum lets nodes come and go, and takes every change
// that is decided on the way. A voter that is taken for lost may still vote.
func TestServerChangesKeepTheQuorum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		servers := []raftServer{{id: "founder", voter: true, self: true, live: true, caughtUp: true, proven: true}}
		for joined := range rapid.IntRange(1, 80).Draw(t, "steps") {
			if change, ok := nextServerChange(servers); ok && rapid.IntRange(0, 2).Draw(t, "takes part") > 0 {
				servers = changeChecked(t, servers, change)
				continue
			}
			if len(servers) < 9 && rapid.IntRange(0, 3).Draw(t, "joins") == 0 {
				servers = append(servers, raftServer{id: raft.ServerID(fmt.Sprintf("s%d", joined))})
			}
			turnServer(t, &servers[rapid.IntRange(0, len(servers)-1).Draw(t, "server")])
		}
		for range 4 * len(servers) {
			change, ok := nextServerChange(servers)
			if !ok {
				return
			}
			servers = changeChecked(t, servers, change)
		}
		t.Fatalf("the changes do not end: %+v", servers)
	})
}

// turnServer gives the server another condition.
func turnServer(t *rapid.T, s *raftServer) {
	*s = raftServer{id: s.id, voter: s.voter, self: s.self}
	switch condition := rapid.IntRange(0, 7).Draw(t, "condition"); {
	case s.self, condition >= 5:
		s.live, s.caughtUp, s.proven = true, true, true
	case condition == 0:
		s.useless = true
	case condition == 1:
		s.lost = true
	case condition == 2:
		s.live = true
	case condition == 3:
		s.removed = true
	default:
		s.live, s.caughtUp = true, true
	}
}

func changeChecked(t *rapid.T, before []raftServer, change serverChange) []raftServer {
	after := slices.Clone(before)
	i := slices.IndexFunc(after, func(s raftServer) bool { return s.id == change.id })
	if after[i].self && (change.kind == serverRemoval || change.kind == serverDemotion) {
		t.Fatalf("the leader ends itself: %+v", change)
	}
	switch change.kind {
	case serverPromotion:
		after[i].voter = true
	case serverDemotion:
		after[i].voter = false
	case serverRemoval:
		after = slices.Delete(after, i, i+1)
	}
	for name, votes := range map[string]func(raftServer) bool{
		"live":          func(s raftServer) bool { return s.live },
		"live or taken": func(s raftServer) bool { return s.live || s.lost },
	} {
		was, is := spareVoters(before, votes), spareVoters(after, votes)
		if was >= 0 && is < was {
			t.Fatalf("%s of %s: of the voters that are %s, %d more could fail, now %d\n%+v", change.kind, change.id, name, was, is, before)
		}
	}
	if n := count(after, func(s raftServer) bool { return s.voter }); n > maxVoters+1 {
		t.Fatalf("%d voters: %+v", n, after)
	}
	return after
}

// spareVoters returns how many of those that vote may fail, below 0 if there is
// no quorum.
func spareVoters(servers []raftServer, votes func(raftServer) bool) int {
	voters := count(servers, func(s raftServer) bool { return s.voter })
	return count(servers, func(s raftServer) bool { return s.voter && votes(s) }) - quorum(voters)
}

func count(servers []raftServer, is func(raftServer) bool) int {
	n := 0
	for _, s := range servers {
		if is(s) {
			n++
		}
	}
	return n
}

// TestServersAreWatched follows one server through its life.
func TestServersAreWatched(t *testing.T) {
	joined := clusterOf(t)
	server := func(id string, suffrage raft.ServerSuffrage) []raft.Server {
		return []raft.Server{{ID: raft.ServerID(id), Suffrage: suffrage, Address: raft.ServerAddress(id + "@n3:1")}}
	}
	follower, voter := server("n3/s3", raft.Nonvoter), server("n3/s3", raft.Voter)
	oldDisk, stranger := server("n3/old", raft.Voter), server("n9/s9", raft.Nonvoter)
	moved := register("n3", "s3", 2)
	moved.Node.RaftAddr = "elsewhere:1"
	removed := mustApply(t, lose(joined, t, "n3"), removeCommand{Node: "n3"})
	type look struct {
		at      time.Duration
		m       *Map
		servers []raft.Server
		caught  bool
		want    string
	}
	probation, loss := defaultPatience.probation, defaultPatience.loss
	tests := []struct {
		name  string
		looks []look
	}{
		{"a follower", []look{
			{0, joined, follower, false, "live"},
			{probation, joined, follower, false, "live"},
			{probation, joined, follower, true, "live caught-up"},
			{2*probation - 1, joined, follower, true, "live caught-up"},
			{2 * probation, joined, follower, true, "live caught-up proven"},
			{2 * probation, joined, follower, false, "live"},
			{2 * probation, joined, follower, true, "live caught-up proven"},
		}},
		{"a follower that begins another session", []look{
			{0, joined, follower, true, "live caught-up"},
			{probation, mustApply(t, joined, register("n3", "s3", 2)), follower, true, "live caught-up"},
			{2 * probation, mustApply(t, joined, register("n3", "s3", 2)), follower, true, "live caught-up proven"},
		}},
		{"a voter that goes and returns", []look{
			{0, joined, voter, true, "voter live caught-up"},
			{time.Hour, lose(joined, t, "n3"), voter, true, "voter"},
			{time.Hour + loss - 1, lose(joined, t, "n3"), voter, true, "voter"},
			{time.Hour + loss, lose(joined, t, "n3"), voter, true, "voter lost"},
			{2 * time.Hour, mustApply(t, joined, register("n3", "s3", 2)), voter, false, "voter live"},
			{2 * time.Hour, mustApply(t, joined, moved), voter, false, "voter live"},
		}},
		{"a lost disk", []look{
			{0, joined, oldDisk, false, "voter"},
			{time.Hour, joined, oldDisk, false, "voter"},
			{time.Hour, lose(joined, t, "n3"), oldDisk, true, "voter lost"},
			{time.Hour, joined, oldDisk, true, "voter useless"},
		}},
		{"a server that never registers", []look{
			{time.Hour, joined, stranger, false, ""},
			{time.Hour + registrationTime - 1, joined, stranger, false, ""},
			{time.Hour + registrationTime, joined, stranger, false, "useless"},
			{time.Hour + registrationTime, joined, follower, false, "live"},
			{time.Hour + registrationTime, joined, stranger, false, ""},
		}},
		{"a removed node", []look{
			{0, joined, voter, true, "voter live caught-up"},
			{0, removed, voter, true, "voter removed"},
			{time.Hour, mustApply(t, removed, register("n3", "new", 3)), voter, false, "voter removed"},
			{time.Hour, mustApply(t, removed, register("n3", "new", 3)), voter, true, "voter removed useless"},
		}},
		{"a founder that has not registered yet", []look{
			{0, joined, server("n9/s9", raft.Voter), false, "voter"},
			{time.Hour, joined, server("n9/s9", raft.Voter), false, "voter"},
		}},
		{"this leader without a session", []look{
			{0, lose(joined, t, "n1"), server("n1/s1", raft.Voter), false, "voter self"},
			{time.Hour, lose(joined, t, "n1"), server("n1/s1", raft.Voter), false, "voter self"},
		}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			watch := newServerWatch("n1/s1", defaultPatience)
			for _, l := range tt.looks {
				s := watch.observe(l.servers, l.m, func(Node) bool { return l.caught }, l.at)[0]
				var got []string
				for word, is := range map[string]bool{"voter": s.voter, "self": s.self, "live": s.live, "caught-up": s.caughtUp, "proven": s.proven, "lost": s.lost, "useless": s.useless, "removed": s.removed} {
					if is {
						got = append(got, word)
					}
				}
				want := strings.Fields(l.want)
				slices.Sort(got)
				slices.Sort(want)
				if !slices.Equal(got, want) {
					t.Errorf("after %s: got %q, want %q", l.at, got, want)
				}
			}
		})
	}
}

func TestANeededVoteIsNotTaken(t *testing.T) {
	m := mustApply(t, clusterOf(t), register("n4", "s4", 1))
	voters := []raft.Server{{ID: "n1/s1"}, {ID: "n2/s2"}, {ID: "n3/s3"}}
	follower := raft.Server{ID: "n4/s4", Suffrage: raft.Nonvoter}
	tests := []struct {
		name    string
		m       *Map
		servers []raft.Server
		node    string
		refused bool
	}{
		{"one of three", m, voters, "n3", false},
		{"the dead one of three", lose(m, t, "n3"), voters, "n3", false},
		{"one of three while another is away", lose(m, t, "n2"), voters, "n3", true},
		{"one of three while another is being removed", mustApply(t, lose(m, t, "n2"), removeCommand{Node: "n2"}), voters, "n3", true},
		{"one of three whose disk was lost before", mustApply(t, lose(m, t, "n3"), register("n3", "new", 2)), voters, "n3", false},
		{"one of two", m, voters[:2], "n2", false},
		{"a follower", lose(m, t, "n2"), append(voters[:3:3], follower), "n4", false},
		{"nobody", m, voters, "n9", false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if err := tt.m.needsVote(tt.servers, tt.node); errors.Is(err, ErrRefused) != tt.refused || err != nil != tt.refused {
				t.Errorf("got %v, want a refusal: %v", err, tt.refused)
			}
		})
	}
}
