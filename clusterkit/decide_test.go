package clusterkit

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

// fourNodes returns a map of 4 partitions, 3 copies each, on n1 to n3, settled
// as planned; n4 has joined since.
func fourNodes(t testing.TB) *Map {
	t.Helper()
	m := mustApply(t, foundedMap(4, 3), register("n1", "s1", 1), register("n2", "s2", 1), register("n3", "s3", 1))
	changes, err := desires(m, nodesOf("n1", "n2", "n3"))
	if err != nil {
		t.Fatal(err)
	}
	return mustApply(t, m, desireCommand{Term: testTerm, Desired: changes}, register("n4", "s4", 1))
}

func nodesOf(ids ...string) []placement.Node {
	nodes := make([]placement.Node, len(ids))
	for i, id := range ids {
		nodes[i] = placement.Node{ID: id, Weight: 1}
	}
	return nodes
}

func lose(m *Map, t testing.TB, ids ...string) *Map {
	t.Helper()
	for _, id := range ids {
		m = mustApply(t, m, endSessionCommand{Term: testTerm, Session: sessionRef{id, m.Node(id).Incarnation}})
	}
	return m
}

func TestPlaceable(t *testing.T) {
	const delay = time.Minute
	all := []string{"n1", "n2", "n3", "n4"}
	tests := []struct {
		name string
		lost []string
		at   time.Duration
		want []string
	}{
		{"all alive", nil, 0, all},
		{"dead within the delay", []string{"n1"}, delay - 1, all},
		{"dead for longer", []string{"n1"}, delay, []string{"n2", "n3", "n4"}},
		{"too few copies left: at once, but somebody must hold the third", []string{"n1", "n2"}, 0, []string{"n1", "n3", "n4"}},
		{"dead for longer with nobody to replace them", []string{"n1", "n4"}, delay, []string{"n1", "n2", "n3"}},
		{"nobody left", all, delay, []string{"n1", "n2", "n3"}},
		{"drained", nil, 0, []string{"n1", "n2", "n3"}},
		{"drained, and needed again", []string{"n1"}, delay, []string{"n2", "n3", "n4"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := fourNodes(t)
			if strings.HasPrefix(tt.name, "drained") {
				m = mustApply(t, m, drainCommand{Node: "n4", Drain: true})
			}
			m = lose(m, t, tt.lost...)
			since := make(map[string]time.Duration)
			for _, id := range tt.lost {
				since[id] = 0
			}
			if got := placeable(m, since, tt.at, delay); !slices.Equal(got, nodesOf(tt.want...)) {
				t.Errorf("got %v, want %v", got, tt.want)
			}
		})
	}
}

func TestPlanIsKeptAndSpreads(t *testing.T) {
	m := fourNodes(t)
	if changes, err := desires(m, nodesOf("n1", "n2", "n3")); err != nil || len(changes) != 0 {
		t.Errorf("the same nodes change the plan: %v, %v", changes, err)
	}
	changes, err := desires(m, nodesOf("n1", "n2", "n3", "n4"))
	if err != nil {
		t.Fatal(err)
	}
	copies := make(map[string]int)
	m = mustApply(t, m, desireCommand{Term: testTerm, Desired: changes})
	for _, p := range m.Partitions {
		for _, id := range p.Desired {
			copies[id]++
		}
	}
	for id, n := range copies {
		if n != 3 {
			t.Errorf("%s gets %d of 12 copies on 4 nodes", id, n)
		}
	}
	if changes, err := desires(m, nodesOf("n1", "n2", "n3", "n4")); err != nil || len(changes) != 0 {
		t.Errorf("a plan on its way changes: %v, %v", changes, err)
	}
}

// TestMovesConverge takes the steps as the controller does, the copies being
// acknowledged and the primaries handed over, until nothing is left to do.
func TestMovesConverge(t *testing.T) {
	m := fourNodes(t)
	changes, err := desires(m, nodesOf("n1", "n2", "n3", "n4"))
	if err != nil {
		t.Fatal(err)
	}
	m = mustApply(t, m, desireCommand{Term: testTerm, Desired: changes})
	for round := 0; ; round++ {
		if round > 20 {
			t.Fatal("the moves do not end")
		}
		steps := nextMoves(m)
		before := m
		if len(steps) > 0 {
			m = mustApply(t, m, movesCommand{Term: testTerm, Steps: steps})
		}
		for i := range m.Partitions {
			p := &m.Partitions[i]
			for _, c := range p.Members {
				if c.Node == p.Primary && !p.IsInSync(c) {
					t.Fatalf("primary without a copy: %+v", p)
				}
				m = mustApply(t, m, acknowledgeCommand{Partition: i, Member: c})
			}
			if p := &m.Partitions[i]; p.Primary != p.wantedPrimary() {
				m = mustApply(t, m, transferCommand{TransferRequest{i, p.Epoch, p.Primary, p.wantedPrimary()}})
			}
			if len(m.Partitions[i].InSync) < 3 {
				t.Fatalf("a move left fewer copies: %+v", m.Partitions[i])
			}
		}
		if m == before {
			break
		}
	}
	for i := range m.Partitions {
		if p := &m.Partitions[i]; !p.settled(m) {
			t.Errorf("not settled: %+v", p)
		}
	}
}

func TestMovesAreBounded(t *testing.T) {
	m := mustApply(t, foundedMap(64, 2), register("n1", "s1", 1))
	for i := range m.Partitions {
		m = mustApply(t, m, desireCommand{Term: testTerm, Desired: []desire{{i, []string{"n1"}}}})
	}
	m = mustApply(t, m, register("n2", "s2", 1))
	changes, err := desires(m, nodesOf("n1", "n2"))
	if err != nil {
		t.Fatal(err)
	}
	m = mustApply(t, m, desireCommand{Term: testTerm, Desired: changes})
	m = mustApply(t, m, movesCommand{Term: testTerm, Steps: nextMoves(m)})
	learners := 0
	for i := range m.Partitions {
		learners += len(m.Partitions[i].Members) - len(m.Partitions[i].InSync)
	}
	if learners != maxCopiesPerNode {
		t.Errorf("%d copies are made at once, want %d", learners, maxCopiesPerNode)
	}
	if steps := nextMoves(m); len(steps) != 0 {
		t.Errorf("further steps before one has ended: %+v", steps)
	}
}

func TestUnwantedCopiesStayUntilTheWantedAreThere(t *testing.T) {
	m := fourNodes(t)
	p := &m.Partitions[0]
	kept := slices.DeleteFunc([]string{"n1", "n2", "n3"}, func(id string) bool { return id == p.Primary })
	wanted := []string{p.Primary, kept[0], "n4"}
	m = mustApply(t, m, desireCommand{Term: testTerm, Desired: []desire{{0, wanted}}})
	m = mustApply(t, m, movesCommand{Term: testTerm, Steps: nextMoves(m)})
	learner, ok := m.Partitions[0].MemberOf("n4")
	if !ok {
		t.Fatal("no copy was assigned to n4")
	}
	if steps := nextMoves(m); len(steps) != 0 {
		t.Fatalf("steps while n4 copies: %+v", steps)
	}
	m = mustApply(t, m, acknowledgeCommand{Partition: 0, Member: learner})
	dead := lose(m, t, "n4")
	if steps := nextMoves(dead); len(steps) != 0 {
		t.Fatalf("steps while a wanted copy is dead: %+v", steps)
	}
	m = mustApply(t, m, movesCommand{Term: testTerm, Steps: nextMoves(m)})
	if _, ok := m.Partitions[0].MemberOf(kept[1]); ok || len(m.Partitions[0].InSync) != 3 {
		t.Fatalf("the copy that is not wanted any more stays: %+v", m.Partitions[0])
	}
}

func TestServerChanges(t *testing.T) {
	m := clusterOf(t)
	m = mustApply(t, m, register("n4", "s4", 1), register("n5", "s5", 1), register("n6", "s6", 1))
	server := func(id string, suffrage raft.ServerSuffrage) raft.Server {
		return raft.Server{ID: raft.ServerID(id), Suffrage: suffrage}
	}
	voters := []raft.Server{server("n1/s1", raft.Voter), server("n2/s2", raft.Voter), server("n3/s3", raft.Voter), server("n4/s4", raft.Voter), server("n5/s5", raft.Voter)}
	yes, no := func(Node) bool { return true }, func(Node) bool { return false }
	abandoned := func(id raft.ServerID) bool { return strings.HasSuffix(string(id), "/abandoned") }
	tests := []struct {
		name     string
		servers  []raft.Server
		caughtUp func(Node) bool
		want     string
	}{
		{"nothing to do", voters[:3], yes, ""},
		{"a follower that has caught up", append(voters[:2:2], server("n3/s3", raft.Nonvoter)), yes, "promote n3/s3"},
		{"a follower that has not", append(voters[:2:2], server("n3/s3", raft.Nonvoter)), no, ""},
		{"voters enough", append(voters[:5:5], server("n6/s6", raft.Nonvoter)), yes, ""},
		{"a lost disk goes first", append(voters[:2:2], server("n3/lost", raft.Voter), server("n3/s3", raft.Nonvoter)), yes, "remove n3/lost"},
		{"a lost disk stays until its node is back", append(voters[:2:2], server("n3/lost", raft.Voter), server("n3/s3", raft.Nonvoter)), no, ""},
		{"a server that has not registered yet", append(voters[:3:3], server("n9/s9", raft.Nonvoter)), yes, ""},
		{"a server that never registered", append(voters[:3:3], server("n9/abandoned", raft.Nonvoter)), no, "remove n9/abandoned"},
		{"a disk that never registered", append(voters[:3:3], server("n3/abandoned", raft.Nonvoter)), no, "remove n3/abandoned"},
		{"a voter is never taken for abandoned", append(voters[:3:3], server("n9/abandoned", raft.Voter)), no, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := ""
			if change, ok := nextServerChange(tt.servers, m, tt.caughtUp, abandoned); ok {
				got = "remove " + string(change.server.ID)
				if change.promote {
					got = "promote " + string(change.server.ID)
				}
			}
			if got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
	joining := append(voters[:3:3], server("n3/new", raft.Nonvoter))
	if change, ok := nextServerChange(joining, lose(m, t, "n3"), yes, abandoned); ok {
		t.Errorf("a new disk of a dead node is not let in: %+v", change)
	}
}

func TestServersAreAbandonedThatDoNotRegister(t *testing.T) {
	m := clusterOf(t)
	servers := []raft.Server{
		{ID: "n1/s1", Suffrage: raft.Voter}, {ID: "n2/s2", Suffrage: raft.Nonvoter},
		{ID: "n3/new", Suffrage: raft.Nonvoter}, {ID: "n9/s9", Suffrage: raft.Nonvoter},
	}
	waiting := make(letIn)
	const begin = time.Hour
	for _, tt := range []struct {
		name    string
		servers []raft.Server
		at      time.Duration
		want    []raft.ServerID
	}{
		{"let in", servers, begin, nil},
		{"not for long", servers, begin + registrationTime - 1, nil},
		{"for too long", servers, begin + registrationTime, []raft.ServerID{"n3/new", "n9/s9"}},
		{"one is removed", servers[:3], begin + registrationTime, []raft.ServerID{"n3/new"}},
		{"and let in again", servers, begin + registrationTime + 1, []raft.ServerID{"n3/new"}},
	} {
		waiting.follow(tt.servers, m, tt.at)
		var got []raft.ServerID
		for _, s := range servers {
			if waiting.abandoned(s.ID, tt.at) {
				got = append(got, s.ID)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: %v are abandoned, want %v", tt.name, got, tt.want)
		}
	}
}
