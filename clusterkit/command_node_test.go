package clusterkit

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// mustRefuse applies a command that has to be refused, for a reason with these
// words in it.
func mustRefuse(t testing.TB, m *Map, c command, reason string) {
	t.Helper()
	next, verdict := c.apply(m, testTerm)
	if err := verdict.err(); !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), reason) {
		t.Errorf("%T %+v: got %v, want a refusal with %q", c, c, err, reason)
	}
	if next != m {
		t.Errorf("%T %+v was refused and changed the map", c, c)
	}
}

// settle takes the steps of the controller, the copies being made and the
// primaries handed over at once, until nothing is left to do.
func settle(t testing.TB, m *Map) *Map {
	t.Helper()
	return repeat(t, m, func(m *Map) *Map {
		changes, err := desires(m, placeable(m, deadSince(m), 1, 0))
		if err != nil {
			t.Fatal(err)
		}
		return step(t, mustApply(t, m, desireCommand{Term: testTerm, Desired: changes}))
	})
}

// arrive is settle, without another plan.
func arrive(t testing.TB, m *Map) *Map {
	t.Helper()
	return repeat(t, m, func(m *Map) *Map { return step(t, m) })
}

func repeat(t testing.TB, m *Map, f func(*Map) *Map) *Map {
	t.Helper()
	for range 100 {
		before := m
		if m = f(m); m == before {
			return m
		}
	}
	t.Fatal("the moves do not end")
	return nil
}

func step(t testing.TB, m *Map) *Map {
	t.Helper()
	m = mustApply(t, m, movesCommand{Term: testTerm, Steps: nextMoves(m)})
	for i := range m.Partitions {
		p := &m.Partitions[i]
		for _, c := range p.Members {
			if m.Present(c) {
				m = mustApply(t, m, acknowledgeCommand{Partition: i, Member: c})
			}
		}
		p = &m.Partitions[i]
		if to := p.wantedPrimary(); to != p.Primary && m.progress(p).Primary >= 0 && slices.ContainsFunc(p.InSync, func(c Member) bool { return c.Node == to && m.Present(c) }) {
			m = mustApply(t, m, transferCommand{TransferRequest{i, p.Epoch, p.Primary, to}})
		}
	}
	return m
}

func deadSince(m *Map) map[string]time.Duration {
	dead := make(map[string]time.Duration)
	for _, n := range m.Nodes {
		if !n.Alive {
			dead[n.ID] = 0
		}
	}
	return dead
}

func TestDrainEmptiesANodeAndRemoveEndsIt(t *testing.T) {
	m := settle(t, fourNodes(t))
	if m.copiesOn("n2") == 0 {
		t.Fatal("n2 has no copies to begin with")
	}
	mustRefuse(t, m, removeCommand{Node: "n2"}, "drain it first")
	m = mustApply(t, m, drainCommand{Node: "n2", Drain: true})
	if again := mustApply(t, m, drainCommand{Node: "n2", Drain: true}); again != m {
		t.Error("a repeated drain changes the map")
	}
	m = settle(t, m)
	if got := m.copiesOn("n2"); got != 0 {
		t.Fatalf("%d copies are left on the drained node", got)
	}
	if m = mustApply(t, m, register("n2", "s2", 2)); !m.Node("n2").Draining {
		t.Error("a restart ends the drain")
	}
	back := settle(t, mustApply(t, m, drainCommand{Node: "n2"}))
	if got := back.copiesOn("n2"); got != 3 {
		t.Errorf("after the drain n2 has %d of 12 copies on 4 nodes", got)
	}

	m = mustApply(t, m, removeCommand{Node: "n2"})
	if m.Node("n2") != nil || !slices.Contains(m.Removed, RemovedNode{"n2", "n2/s2", 2}) {
		t.Fatalf("n2 is still there: %+v", m.Nodes)
	}
	if again := mustApply(t, m, removeCommand{Node: "n2"}); again != m {
		t.Error("a repeated removal changes the map")
	}
	if _, verdict := register("n2", "s2", 3).apply(m, testTerm); !errors.Is(verdict.err(), ErrJoinRefused) {
		t.Errorf("a removed node comes back: %v", verdict)
	}
	if _, verdict := register("n2", "new", 2).apply(m, testTerm); verdict.Code != codeIncarnation {
		t.Errorf("the number of an earlier session is used again: %+v", verdict)
	}
	// While it replays the log, a node sees itself as its predecessor was.
	again := register("n2", "new", 3)
	again.Node.Draining, again.Node.Stopping = true, true
	if n := mustApply(t, m, again).Node("n2"); n.Draining || n.Stopping {
		t.Errorf("a new node under the old ID begins as %+v", n)
	}
}

// TestALateOrderSparesTheNextNodeOfTheID repeats what was ordered of a node when
// it has been removed and another one has joined under its ID.
func TestALateOrderSparesTheNextNodeOfTheID(t *testing.T) {
	m := mustApply(t, settle(t, fourNodes(t)), drainCommand{Node: "n2", RaftID: "n2/s2", Drain: true})
	m = mustApply(t, settle(t, m), removeCommand{Node: "n2", RaftID: "n2/s2"})
	for _, id := range []string{"", "n2/s2", "n2/"} {
		mustRefuse(t, m, drainCommand{Node: "n2", RaftID: id, Drain: true}, "no such node")
		if again := mustApply(t, m, removeCommand{Node: "n2", RaftID: id}); again != m {
			t.Errorf("the removal of %q is made twice", id)
		}
	}
	m = mustApply(t, m, register("n2", "new", 3))
	for _, id := range []string{"n2/s2", "n2/"} {
		if next, verdict := (drainCommand{Node: "n2", RaftID: id, Drain: true}).apply(m, testTerm); next != m || !errors.Is(verdict.err(), ErrStale) {
			t.Errorf("a drain of %s: %+v", id, verdict)
		}
	}
	if again := mustApply(t, m, removeCommand{Node: "n2", RaftID: "n2/s2"}); again != m {
		t.Error("a late removal changes the map")
	}
	if next, verdict := (removeCommand{Node: "n2", RaftID: "n2/never"}).apply(m, testTerm); next != m || !errors.Is(verdict.err(), ErrStale) {
		t.Errorf("the removal of a node that never was: %+v", verdict)
	}
	if m = mustApply(t, m, drainCommand{Node: "n2", RaftID: "n2/new", Drain: true}); !m.Node("n2").Draining {
		t.Error("the present node is not drained")
	}
}

// TestANodeRegistersWithWhatItWasToldAlone has a map in which an earlier node of
// the same ID is drained, as one has that joins and has not seen all of the log.
func TestANodeRegistersWithWhatItWasToldAlone(t *testing.T) {
	c := newTestCluster(t, Config{})
	ck, err := NewClusterKit(c.options("node-1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ck.Stop() })
	ck.state.current.Store(mustApply(t, foundedMap(1, 3), register("node-1", "removed", 1),
		weightCommand{Node: "node-1", Weight: 7}))
	drained := *ck.Map()
	drained.Nodes[0].Draining = true
	ck.state.current.Store(&drained)
	if n := ck.session.self(); n.Draining || n.Weight != 1 {
		t.Errorf("it registers as %+v", n)
	}
}

func TestDrainIsRefusedWhereCopiesWouldBeMissing(t *testing.T) {
	m := settle(t, fourNodes(t))
	mustRefuse(t, m, drainCommand{Node: "n9", Drain: true}, `no such node: "n9"`)
	m = mustApply(t, m, drainCommand{Node: "n1", Drain: true})
	mustRefuse(t, m, drainCommand{Node: "n2", Drain: true}, "without n2 there are 2: add a node first")
	dead := lose(settle(t, fourNodes(t)), t, "n1")
	mustRefuse(t, dead, drainCommand{Node: "n2", Drain: true}, "without n2 there are 2")
}

func TestRemoveOfADeadNodeReplacesItsCopies(t *testing.T) {
	m := lose(settle(t, fourNodes(t)), t, "n1")
	m = settle(t, mustApply(t, m, removeCommand{Node: "n1"}))
	for i := range m.Partitions {
		if p := &m.Partitions[i]; len(p.InSync) != 3 || !p.settled(m) {
			t.Errorf("not whole again: %+v", p)
		}
	}
}

func TestTheLastCompleteCopyIsNotRemoved(t *testing.T) {
	m := mustApply(t, foundedMap(1, 1), register("n1", "s1", 1), register("n2", "s2", 1),
		desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1"}}}})
	m = lose(m, t, "n1")
	mustRefuse(t, m, removeCommand{Node: "n1"}, "the last complete copy of partition-0")

	mustRefuse(t, m, forceCommand{Partition: 0, Epoch: 1, Node: "n1"}, "n1 is down")
	if _, verdict := (forceCommand{Partition: 0, Epoch: 9, Node: "n2"}).apply(m, testTerm); !errors.Is(verdict.err(), ErrStale) {
		t.Errorf("another epoch: %v", verdict)
	}
	m = mustApply(t, m, forceCommand{Partition: 0, Epoch: 1, Node: "n2"})
	p := &m.Partitions[0]
	if p.Primary != "n2" || p.Epoch != 2 || p.Forced != 1 || !strings.Contains(p.Reason, "may be lost") {
		t.Errorf("after the force: %+v", p)
	}
	if old, _ := p.MemberOf("n1"); p.IsInSync(old) || old.Incarnation == 1 {
		t.Errorf("the old copy still counts: %+v", p)
	}
	mustRefuse(t, m, forceCommand{Partition: 0, Epoch: 2, Node: "n2"}, "nothing needs to be lost")
	mustApply(t, m, removeCommand{Node: "n1"})
}

func TestWeightsAndZonesReachThePlan(t *testing.T) {
	zoned := func(id, store, zone string, weight int) registerCommand {
		c := register(id, store, 1)
		c.Node.Zone, c.Node.Weight = zone, weight
		return c
	}
	m := settle(t, mustApply(t, foundedMap(12, 2), zoned("n1", "s1", "a", 1), zoned("n2", "s2", "a", 1), zoned("n3", "s3", "b", 0), zoned("n4", "s4", "b", 1)))
	for i := range m.Partitions {
		zones := make(map[string]bool)
		for _, c := range m.Partitions[i].InSync {
			zones[m.Node(c.Node).Zone] = true
		}
		if len(zones) != 2 {
			t.Errorf("both copies are in one zone: %+v", m.Partitions[i])
		}
	}
	mustRefuse(t, m, weightCommand{Node: "n4", Weight: 0}, "out of range")
	m = settle(t, mustApply(t, m, weightCommand{Node: "n4", Weight: 3}))
	if n3, n4 := m.copiesOn("n3"), m.copiesOn("n4"); n4 != 3*n3 {
		t.Errorf("of weights 1 and 3, n3 has %d copies and n4 %d", n3, n4)
	}
	if m = mustApply(t, m, register("n4", "s4", 2)); m.Node("n4").Weight != 3 {
		t.Errorf("a restart changes the weight to %d", m.Node("n4").Weight)
	}
}
