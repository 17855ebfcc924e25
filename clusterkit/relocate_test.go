package clusterkit

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

// relocate changes where partition 0 is wanted.
func relocate(m *Map, r Relocation) (*Map, result) {
	return relocateCommand{Partition: 0, Relocation: r, Desired: m.Partitions[0].Desired}.apply(m, testTerm)
}

// outside returns a node that no copy of partition 0 is wanted on.
func outside(t *testing.T, m *Map) string {
	t.Helper()
	for _, n := range m.Nodes {
		if !slices.Contains(m.Partitions[0].Desired, n.ID) {
			return n.ID
		}
	}
	t.Fatalf("partition 0 is on all nodes: %v", m.Partitions[0].Desired)
	return ""
}

func TestRelocateACopy(t *testing.T) {
	m := settle(t, planned(t))
	was, to := m.Partitions[0].Desired, outside(t, m)
	for i, from := range was {
		next, verdict := relocate(m, Relocation{From: from, To: to})
		if err := verdict.err(); err != nil {
			t.Fatal(err)
		}
		want := slices.Clone(was)
		want[i] = to
		if got := next.Partitions[0].Desired; !slices.Equal(got, want) {
			t.Errorf("from %s to %s it is wanted on %v, want %v", from, to, got, want)
		}
		moves := next.Moves()
		if len(moves) < 2 || moves[0].Kind != placement.StepCopy || moves[0].Node != to {
			t.Errorf("from %s to %s it moves so: %+v", from, to, moves)
		}
		if done := arrive(t, next); !slices.Equal(done.Partitions[0].Desired, want) || done.Partitions[0].Primary != want[0] {
			t.Errorf("in the end it is %+v", done.Partitions[0])
		}
		// The same again, as after an answer that was lost.
		again, verdict := relocateCommand{Relocation: Relocation{From: from, To: to}, Desired: was}.apply(next, testTerm)
		if verdict.err() != nil || again != next {
			t.Errorf("a repetition: %v", verdict.err())
		}
	}
}

func TestRelocateThePrimary(t *testing.T) {
	m := settle(t, planned(t))
	was := m.Partitions[0].Desired
	next, verdict := relocate(m, Relocation{Primary: was[2]})
	if err := verdict.err(); err != nil {
		t.Fatal(err)
	}
	if got := next.Partitions[0].Desired; !slices.Equal(got, []string{was[2], was[0], was[1]}) {
		t.Errorf("of %v it is wanted on %v", was, got)
	}
	if moves := next.Moves(); len(moves) != 1 || moves[0].Kind != placement.StepHandOver || moves[0].Node != was[2] {
		t.Errorf("it moves so: %+v", moves)
	}
	to := outside(t, m)
	next, verdict = relocate(m, Relocation{From: was[1], To: to, Primary: to})
	if err := verdict.err(); err != nil {
		t.Fatal(err)
	}
	if got := next.Partitions[0].Desired; !slices.Equal(got, []string{to, was[0], was[2]}) {
		t.Errorf("of %v it is wanted on %v", was, got)
	}
}

func TestRelocateRefuses(t *testing.T) {
	m := settle(t, planned(t))
	was, to := m.Partitions[0].Desired, outside(t, m)
	drained := mustApply(t, m, register("n5", "s5", 1))
	drained = mustApply(t, drained, drainCommand{Node: to, Drain: true})
	for name, tt := range map[string]struct {
		m    *Map
		r    Relocation
		want error
		why  string
	}{
		"nothing":               {m, Relocation{}, errBadRequest, "belong together"},
		"half":                  {m, Relocation{To: to}, errBadRequest, "belong together"},
		"an unknown node":       {m, Relocation{From: was[0], To: "n9"}, ErrNoNode, "n9"},
		"no copy to give":       {m, Relocation{From: to, To: to}, ErrRefused, "no copy of partition-0 is wanted on " + to},
		"a copy already":        {m, Relocation{From: was[0], To: was[1]}, ErrRefused, was[1] + " has a copy"},
		"a node that is down":   {lose(m, t, to), Relocation{From: was[0], To: to}, ErrRefused, "is down"},
		"a drained node":        {drained, Relocation{From: was[0], To: to}, ErrRefused, "is drained"},
		"a primary elsewhere":   {m, Relocation{Primary: to}, ErrRefused, "cannot be its primary"},
		"the one that gives":    {m, Relocation{From: was[0], To: to, Primary: was[0]}, ErrRefused, "cannot be its primary"},
		"a primary that is off": {lose(m, t, was[1]), Relocation{Primary: was[1]}, ErrRefused, "is down"},
	} {
		next, verdict := relocate(tt.m, tt.r)
		if err := verdict.err(); next != tt.m || !errors.Is(err, tt.want) || !strings.Contains(err.Error(), tt.why) {
			t.Errorf("%s: %v, want %v with %q", name, err, tt.want, tt.why)
		}
	}
	late := relocateCommand{Relocation: Relocation{From: was[0], To: to}, Desired: []string{was[1], was[0], was[2]}}
	if next, verdict := late.apply(m, testTerm); next != m || !errors.Is(verdict.err(), ErrStale) {
		t.Errorf("after another plan: %v", verdict.err())
	}
}

func TestRelocateKeepsZonesApart(t *testing.T) {
	m := settle(t, planned(t))
	was, to := m.Partitions[0].Desired, outside(t, m)
	zones := map[string]string{was[0]: "x", was[1]: "y", was[2]: "z", to: "y"}
	e := newEdit(m)
	for _, n := range m.Nodes {
		n.Zone = zones[n.ID]
		e.putNode(n)
	}
	m = e.result()
	if next, verdict := relocate(m, Relocation{From: was[0], To: to}); next != m || !errors.Is(verdict.err(), ErrRefused) || !strings.Contains(verdict.Message, `2 copies of partition-0 would be in the zone "y"`) {
		t.Errorf("a second copy in a zone: %+v", verdict)
	}
	if _, verdict := relocate(m, Relocation{From: was[1], To: to}); verdict.err() != nil {
		t.Errorf("within a zone: %v", verdict.err())
	}
}
