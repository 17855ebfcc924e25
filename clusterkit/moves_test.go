package clusterkit

import (
	"errors"
	"maps"
	"strings"
	"testing"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

// planned returns a map in which a fourth node has joined three, and the plan
// counts on it.
func planned(t testing.TB) *Map {
	t.Helper()
	m := fourNodes(t)
	changes, err := desires(m, nodesOf("n1", "n2", "n3", "n4"))
	if err != nil {
		t.Fatal(err)
	}
	return mustApply(t, m, desireCommand{Term: testTerm, Desired: changes})
}

func waits(moves []Move, kind placement.StepKind) map[string]int {
	out := make(map[string]int)
	for _, v := range moves {
		if v.Kind == kind {
			out[v.Waiting]++
		}
	}
	return out
}

func TestMovesSayWhyTheyWait(t *testing.T) {
	m := planned(t)
	if settled := settle(t, m).Moves(); settled != nil {
		t.Errorf("moves of a settled map: %+v", settled)
	}
	for _, v := range m.Moves() {
		if v.Kind == placement.StepCopy && (v.Node != "n4" || v.From == "" || v.Waiting != "") {
			t.Errorf("a copy onto the new node: %+v", v)
		}
		if v.Kind == placement.StepRelease && !strings.Contains(v.Waiting, "the copy on n4 is not complete") && !strings.Contains(v.Waiting, "still the primary") {
			t.Errorf("a release before the copy: %+v", v)
		}
	}
	paused := mustApply(t, m, pauseCommand{Paused: true})
	if got := waits(paused.Moves(), placement.StepCopy); got["moves are paused"] != 3 {
		t.Errorf("paused: %v", got)
	}
	dead := lose(m, t, "n4")
	if got := waits(dead.Moves(), placement.StepCopy); got["n4 is down"] != 3 {
		t.Errorf("the target is down: %v", got)
	}
	nobody := lose(m, t, "n1", "n2", "n3")
	if got := waits(nobody.Moves(), placement.StepCopy); got["no node with a complete copy is up"] == 0 {
		t.Errorf("no source: %v", got)
	}
	crowded := mustApply(t, foundedMap(64, 2), register("n1", "s1", 1))
	for i := range crowded.Partitions {
		crowded = mustApply(t, crowded, desireCommand{Term: testTerm, Desired: []desire{{i, []string{"n1"}}}})
	}
	crowded = mustApply(t, crowded, register("n2", "s2", 1))
	changes, err := desires(crowded, nodesOf("n1", "n2"))
	if err != nil {
		t.Fatal(err)
	}
	crowded = mustApply(t, crowded, desireCommand{Term: testTerm, Desired: changes})
	crowded = mustApply(t, crowded, movesCommand{Term: testTerm, Steps: nextMoves(crowded)})
	got := waits(crowded.Moves(), placement.StepCopy)
	if got[""] != maxCopiesPerNode || got["n2 makes 8 copies already, as many as it may at a time"] != 64-maxCopiesPerNode {
		t.Errorf("a crowded node: %v", got)
	}
}

func TestPausedMovesStandStill(t *testing.T) {
	m := planned(t)
	paused := mustApply(t, m, pauseCommand{Paused: true})
	if again := mustApply(t, paused, pauseCommand{Paused: true}); again != paused {
		t.Error("a repeated pause changes the map")
	}
	if steps := nextMoves(paused); len(steps) != 0 {
		t.Errorf("steps while paused: %+v", steps)
	}
	// A node that is lost takes copies with it, which are made again.
	lost := settle(t, lose(paused, t, "n1"))
	for i := range lost.Partitions {
		if got := len(lost.Partitions[i].Members); got < 3 {
			t.Errorf("a lost copy is not replaced while paused: %+v", lost.Partitions[i])
		}
	}
	resumed := settle(t, mustApply(t, paused, pauseCommand{}))
	if got := resumed.copiesOn("n4"); got != 3 {
		t.Errorf("after the pause n4 has %d of 12 copies", got)
	}
}

func TestCancelledMovesAreTakenBack(t *testing.T) {
	before := planned(t)
	m := mustApply(t, before, movesCommand{Term: testTerm, Steps: nextMoves(before)})
	if m.copiesOn("n4") == 0 {
		t.Fatal("nothing was begun")
	}
	mustRefuse(t, m, cancelCommand{Partitions: []int{4}}, "they are 0 to 3")
	one := -1
	for _, v := range m.Moves() {
		if v.Kind == placement.StepCopy {
			one = v.Index
		}
	}
	partly := mustApply(t, m, cancelCommand{Partitions: []int{one}})
	if got := partly.copiesOn("n4"); got != m.copiesOn("n4")-1 {
		t.Errorf("%d of %d copies are left, one was cancelled", got, m.copiesOn("n4"))
	}
	m = mustApply(t, m, cancelCommand{})
	if !m.Paused || m.copiesOn("n4") != 0 || m.Moves() != nil {
		t.Errorf("after the cancellation: %+v", m.Moves())
	}
	if changes, err := desires(m, nodesOf("n1", "n2", "n3", "n4")); err != nil || len(changes) != 0 {
		t.Errorf("planned again at once: %v, %v", changes, err)
	}
	if m = settle(t, mustApply(t, m, pauseCommand{})); m.copiesOn("n4") != 3 {
		t.Errorf("after resuming n4 has %d copies", m.copiesOn("n4"))
	}
}

func TestDryRunIsWhatHappens(t *testing.T) {
	m := settle(t, fourNodes(t))
	plan, err := dryRun(m, Changes{Drain: []string{"n1"}})
	if err != nil {
		t.Fatal(err)
	}
	loads := make(map[string]int)
	for _, n := range plan.Nodes {
		loads[n.Node] = n.Copies
	}
	if want := map[string]int{"n1": 0, "n2": 4, "n3": 4, "n4": 4}; !maps.Equal(loads, want) {
		t.Errorf("the plan ends with %v, want %v", loads, want)
	}
	if plan.Copies != m.copiesOn("n1") {
		t.Errorf("%d copies are planned, %d are on the node", plan.Copies, m.copiesOn("n1"))
	}
	done := settle(t, mustApply(t, m, drainCommand{Node: "n1", Drain: true}))
	for id, copies := range loads {
		if got := done.copiesOn(id); got != copies {
			t.Errorf("%s ends with %d copies, planned were %d", id, got, copies)
		}
	}
	if again, err := dryRun(done, Changes{}); err != nil || len(again.Rounds) != 0 {
		t.Errorf("a settled map has a plan: %+v, %v", again, err)
	}
	if _, err := dryRun(m, Changes{Drain: []string{"n1", "n2"}}); !errors.Is(err, ErrRefused) {
		t.Errorf("a drain that would be refused: %v", err)
	}
	if m.Node("n1").Draining {
		t.Error("the map itself was changed")
	}
}

func TestReplicationFactorAndMetadata(t *testing.T) {
	m := settle(t, fourNodes(t))
	mustRefuse(t, m, replicationCommand{1}, "use 2")
	mustRefuse(t, m, replicationCommand{5}, "there are 4: add nodes first")
	for _, factor := range []int{4, 2} {
		changed := settle(t, mustApply(t, m, replicationCommand{factor}))
		for i := range changed.Partitions {
			if got := len(changed.Partitions[i].InSync); got != factor {
				t.Errorf("factor %d: %d copies", factor, got)
			}
		}
	}

	m = mustApply(t, m, metadataCommand{Key: "schema", Value: "2"})
	next := mustApply(t, m, metadataCommand{Key: "schema", Value: "3"}, metadataCommand{Key: "gone", Delete: true})
	if m.Metadata["schema"] != "2" || next.Metadata["schema"] != "3" || next.Version != m.Version+1 {
		t.Errorf("got %v and %v", m.Metadata, next.Metadata)
	}
	if next = mustApply(t, next, metadataCommand{Key: "schema", Delete: true}); len(next.Metadata) != 0 {
		t.Errorf("not deleted: %v", next.Metadata)
	}
	mustRefuse(t, m, metadataCommand{Value: "x"}, "1 to 128 bytes")
	mustRefuse(t, m, metadataCommand{Key: "k", Value: strings.Repeat("x", maxMetadataValue+1)}, "at most 4096 bytes")
	for i := range maxMetadataEntries - 1 {
		m = mustApply(t, m, metadataCommand{Key: strings.Repeat("k", i+1)})
	}
	mustRefuse(t, m, metadataCommand{Key: "one more"}, "delete one first")
}
