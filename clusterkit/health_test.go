package clusterkit

import "testing"

func TestHealth(t *testing.T) {
	full := clusterOf(t)
	alone := mustApply(t, foundedMap(1, 3), register("n1", "s1", 1),
		desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1"}}}})
	pair := mustApply(t, foundedMap(1, 3), register("n1", "s1", 1), register("n2", "s2", 1),
		desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1", "n2"}}}})
	dropped := mustApply(t, full, endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n1", 1}}, DropCopies: true})
	for _, tt := range []struct {
		name string
		m    *Map
		want Health
	}{
		{"all in sync", full, Health{Status: Healthy}},
		{"nothing assigned", foundedMap(2, 1), Health{Status: Unavailable, Unavailable: 2}},
		{"fewer nodes than copies", pair, Health{Status: Healthy}},
		{"fewer copies than writes need", alone, Health{Status: Unavailable, Unavailable: 1}},
		{"a node that joins", mustApply(t, pair, register("n3", "s3", 1)), Health{Status: Degraded, UnderReplicated: 1}},
		{"a node dead", lose(full, t, "n2"), Health{Status: Degraded, UnderReplicated: 1, DeadNodes: 1}},
		{"a primary dead", lose(full, t, "n1"), Health{Status: Degraded, UnderReplicated: 1, DeadNodes: 1}},
		{"its copies dropped", dropped, Health{Status: Degraded, UnderReplicated: 1, DeadNodes: 1}},
		{"back, and a learner", mustApply(t, dropped, register("n1", "s1", 2)), Health{Status: Degraded, UnderReplicated: 1}},
		{"a dead node without copies", lose(mustApply(t, full, register("n4", "s4", 1)), t, "n4"), Health{Status: Degraded, DeadNodes: 1}},
		{"one node left", lose(full, t, "n1", "n2"), Health{Status: Unavailable, Unavailable: 1, DeadNodes: 2}},
		{"none left", lose(full, t, "n1", "n2", "n3"), Health{Status: Unavailable, Unavailable: 1, DeadNodes: 3}},
	} {
		if got := tt.m.Health(); got != tt.want {
			t.Errorf("%s: %+v, want %+v", tt.name, got, tt.want)
		}
	}
}
