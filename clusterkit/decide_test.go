package clusterkit

import (
	"slices"
	"strings"
	"testing"
	"time"

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
		m = mustApply(t, m, endSessionCommand{Term: testTerm, Sessions: []sessionRef{{id, m.Node(id).Incarnation}}})
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
	alone := mustApply(t, lose(m, t, wanted[0], kept[0], kept[1]), desireCommand{Term: testTerm, Desired: []desire{{0, wanted[:2]}}})
	for _, step := range nextMoves(alone) {
		if step.Release.Node == "n4" {
			t.Fatal("a copy is to be released while no complete one is present, which is refused")
		}
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
