package placement

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

const testCopiesPerNode = 3

// situationOf is where a plan has been reached and another is wanted.
func situationOf(from, to [][]string, present []string) Situation {
	s := Situation{Present: make(map[string]bool), CopiesPerNode: testCopiesPerNode}
	for _, id := range present {
		s.Present[id] = true
	}
	for i := range to {
		p := Progress{Wanted: to[i]}
		for _, id := range from[i] {
			p.Copies = append(p.Copies, Copy{Node: id, Ready: true, Present: s.Present[id]})
		}
		s.Partitions = append(s.Partitions, p)
	}
	return s
}

func ids(n int) []string {
	out := make([]string, n)
	for i := range out {
		out[i] = fmt.Sprintf("n%d", i)
	}
	return out
}

func planFor(t interface{ Fatal(...any) }, partitions, rf int, nodes []string, current [][]string) [][]string {
	req := Request{Partitions: partitions, ReplicationFactor: rf, Current: current}
	for _, id := range nodes {
		req.Nodes = append(req.Nodes, Node{ID: id})
	}
	plan, err := Plan(req)
	if err != nil {
		t.Fatal(err)
	}
	return plan
}

// TestStepsStory joins a fourth node to three.
func TestStepsStory(t *testing.T) {
	from := [][]string{{"n0", "n1"}, {"n1", "n2"}, {"n2", "n0"}}
	to := [][]string{{"n3", "n1"}, {"n1", "n2"}, {"n2", "n3"}}
	var told []string
	for round, steps := range Steps(situationOf(from, to, ids(4))) {
		for _, s := range steps {
			told = append(told, fmt.Sprintf("%d: partition %d %s %s", round, s.Partition, s.Kind, s.Node))
		}
	}
	want := []string{
		"0: partition 0 copy n3",
		"0: partition 2 copy n3",
		"1: partition 0 hand_over n3",
		"1: partition 2 release n0",
		"2: partition 0 release n0",
	}
	if !slices.Equal(told, want) {
		t.Errorf("got\n%q, want\n%q", told, want)
	}
}

func TestPausedOnlyRepairs(t *testing.T) {
	from := [][]string{{"n0", "n1"}, {"n1", "n2"}}
	to := [][]string{{"n0", "n3"}, {"n1", "n3"}}
	s := situationOf(from, to, []string{"n0", "n1", "n3"})
	s.Paused = true
	if got := Next(s); len(got) != 1 || got[0] != (Step{1, StepCopy, "n3"}) {
		t.Errorf("got %v, want only the copy that n2 took with it", got)
	}
}

// TestStepsKeepEverythingSafe takes the steps one at a time, completing copies in a
// random order, through random changes of the nodes.
func TestStepsKeepEverythingSafe(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const partitions = 24
		rf := rapid.IntRange(1, 3).Draw(t, "rf")
		all := ids(8)
		nodes := rapid.SliceOfNDistinct(rapid.SampledFrom(all), rf, len(all), rapid.ID[string]).Draw(t, "nodes")
		from := planFor(t, partitions, rf, nodes, nil)
		next := rapid.SliceOfNDistinct(rapid.SampledFrom(all), rf, len(all), rapid.ID[string]).Draw(t, "next")
		to := planFor(t, partitions, rf, next, from)
		s := situationOf(from, to, all)
		wanted := make(map[string]int)
		for _, row := range to {
			for _, id := range row {
				wanted[id]++
			}
		}
		before := make(map[string]int)
		for _, row := range from {
			for _, id := range row {
				before[id]++
			}
		}
		copies := 0
		for turn := 0; ; turn++ {
			if turn > 100*partitions {
				t.Fatalf("the steps do not end: %+v", s.Partitions)
			}
			var making []*Copy
			for i := range s.Partitions {
				for j := range s.Partitions[i].Copies {
					if c := &s.Partitions[i].Copies[j]; !c.Ready {
						making = append(making, c)
					}
				}
			}
			steps := Next(s)
			if len(steps) == 0 && len(making) == 0 {
				break
			}
			if len(making) > 0 && (len(steps) == 0 || rapid.Bool().Draw(t, "complete a copy")) {
				making[rapid.IntRange(0, len(making)-1).Draw(t, "which")].Ready = true
				continue
			}
			step := steps[rapid.IntRange(0, len(steps)-1).Draw(t, "step")]
			p := &s.Partitions[step.Partition]
			p.complete(step)
			if step.Kind == StepCopy {
				copies++
				p.Copies[len(p.Copies)-1].Ready = false
			}
			checkSafe(t, s, rf, before, wanted)
		}
		for i, p := range s.Partitions {
			got := make([]string, 0, rf)
			for _, c := range p.Copies {
				got = append(got, c.Node)
			}
			if p.Copies[p.Primary].Node != to[i][0] || !sameSet(got, to[i]) {
				t.Fatalf("partition %d ended as %+v, want %v", i, p, to[i])
			}
		}
		if want := Moves(from, to); copies != want {
			t.Fatalf("%d copies were made, the plan needs %d", copies, want)
		}
	})
}

func checkSafe(t *rapid.T, s Situation, rf int, before, wanted map[string]int) {
	held, making := make(map[string]int), make(map[string]int)
	for i, p := range s.Partitions {
		ready := 0
		for _, c := range p.Copies {
			held[c.Node]++
			if c.Ready {
				ready++
			} else {
				making[c.Node]++
			}
		}
		if ready < rf {
			t.Fatalf("partition %d is down to %d copies: %+v", i, ready, p)
		}
		if !p.Copies[p.Primary].Ready {
			t.Fatalf("the primary of partition %d has no copy: %+v", i, p)
		}
	}
	for id, n := range held {
		// One partition at a time may go beyond the limit.
		if room := max(before[id], wanted[id]+testCopiesPerNode) + 1; n > room {
			t.Fatalf("%s holds %d copies, it has room for %d", id, n, room)
		}
		if making[id] > testCopiesPerNode {
			t.Fatalf("%d copies are made on %s at once", making[id], id)
		}
	}
}

func sameSet(a, b []string) bool {
	a, b = slices.Clone(a), slices.Clone(b)
	slices.Sort(a)
	slices.Sort(b)
	return slices.Equal(a, b)
}
