package placement_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

// size bounds what is drawn.
type size struct{ partitions, nodes, weight, zones int }

var (
	anySize  = size{partitions: 40, nodes: 12, weight: 5, zones: 4}
	tinySize = size{partitions: 5, nodes: 5, weight: 3, zones: 3}
)

// drawRequest draws a cluster whose current assignment is arbitrary: empty,
// planned for other nodes, or nonsense.
func drawRequest(t *rapid.T, s size) placement.Request {
	req := placement.Request{
		Partitions:        rapid.IntRange(1, s.partitions).Draw(t, "partitions"),
		ReplicationFactor: rapid.IntRange(1, 5).Draw(t, "rf"),
	}
	weights := rapid.IntRange(0, s.weight)
	if rapid.Bool().Draw(t, "equal weights") {
		weights = rapid.Just(0)
	}
	zones := rapid.IntRange(1, s.zones).Draw(t, "zones")
	for i := range rapid.IntRange(1, s.nodes).Draw(t, "nodes") {
		req.Nodes = append(req.Nodes, placement.Node{
			ID:      fmt.Sprintf("n%02d", i),
			Weight:  weights.Draw(t, "weight"),
			Zone:    fmt.Sprintf("z%d", rapid.IntRange(1, zones).Draw(t, "zone")),
			Drained: i > 0 && rapid.IntRange(0, 5).Draw(t, "drained") == 0,
		})
	}
	switch rapid.IntRange(0, 2).Draw(t, "history") {
	case 1:
		before := drawRequest(t, size{1, s.nodes, s.weight, s.zones})
		before.Partitions = req.Partitions
		req.Current = plan(t, before)
	case 2:
		row := rapid.SliceOfN(rapid.IntRange(0, s.nodes), 0, 4)
		for range rapid.IntRange(0, req.Partitions).Draw(t, "assigned") {
			var ids []string
			for _, i := range row.Draw(t, "row") {
				ids = append(ids, fmt.Sprintf("n%02d", i))
			}
			req.Current = append(req.Current, ids)
		}
	}
	return req
}

type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

func plan(t fataler, req placement.Request) [][]string {
	t.Helper()
	got, err := placement.Plan(req)
	if err != nil {
		t.Fatalf("Plan: %v", err)
	}
	return got
}

func count(plan [][]string, id string) (replicas, primaries int) {
	for _, row := range plan {
		if slices.Contains(row, id) {
			replicas++
		}
		if row[0] == id {
			primaries++
		}
	}
	return replicas, primaries
}

func TestPlanIsValid(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := drawRequest(t, anySize)
		if err := placement.Validate(req, plan(t, req)); err != nil {
			t.Fatal(err)
		}
	})
}

func TestPartitionsHaveDistinctEligibleNodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := drawRequest(t, anySize)
		var eligible []string
		for _, n := range req.Nodes {
			if !n.Drained {
				eligible = append(eligible, n.ID)
			}
		}
		got := plan(t, req)
		if len(got) != req.Partitions {
			t.Fatalf("%d partitions, want %d", len(got), req.Partitions)
		}
		for p, row := range got {
			if want := min(req.ReplicationFactor, len(eligible)); len(row) != want {
				t.Fatalf("partition %d has %v, want %d nodes", p, row, want)
			}
			for slot, id := range row {
				if !slices.Contains(eligible, id) || slices.Contains(row[:slot], id) {
					t.Fatalf("partition %d has %v, want distinct nodes of %v", p, row, eligible)
				}
			}
		}
	})
}

func TestNodesOfEqualWeightAreLevel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := drawRequest(t, anySize)
		for i := range req.Nodes {
			req.Nodes[i].Weight = 1
		}
		got := plan(t, req)
		var replicas, primaries []int
		for _, n := range req.Nodes {
			if !n.Drained {
				r, l := count(got, n.ID)
				replicas = append(replicas, r)
				primaries = append(primaries, l)
			}
		}
		if slices.Max(replicas)-slices.Min(replicas) > 1 {
			t.Fatalf("replicas per node: %v", replicas)
		}
		if slices.Max(primaries)-slices.Min(primaries) > 1 {
			t.Fatalf("primaries per node: %v", primaries)
		}
	})
}

func TestNodesHaveTheirShareByWeight(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := drawRequest(t, anySize)
		got := plan(t, req)
		want := idealOf(req)
		slack := 0.0
		if want.full > 0 && want.full < len(want.nodes) {
			slack = 1
		}
		for i, n := range want.nodes {
			replicas, primaries := count(got, n.ID)
			if math.Abs(float64(replicas)-want.replicas[i]) > 1-1e-9 {
				t.Fatalf("%s has %d replicas, its share is %.2f", n.ID, replicas, want.replicas[i])
			}
			over := float64(primaries) - want.primaries[i]
			if over < -1+1e-9 || over > 1-1e-9+slack {
				t.Fatalf("%s has %d primaries, its share is %.2f", n.ID, primaries, want.primaries[i])
			}
		}
	})
}

func TestPartitionsSpreadOverZones(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := drawRequest(t, anySize)
		want := idealOf(req)
		share := make(map[string]float64)
		zone := make(map[string]string)
		for i, n := range want.nodes {
			share[n.Zone] += want.replicas[i] / float64(req.Partitions)
			zone[n.ID] = n.Zone
		}
		for p, row := range plan(t, req) {
			in := make(map[string]int)
			for _, id := range row {
				in[zone[id]]++
			}
			for z, s := range share {
				if math.Abs(float64(in[z])-s) > 1-1e-9 {
					t.Fatalf("partition %d has %d replicas in %s, the zone's share is %.2f", p, in[z], z, s)
				}
			}
		}
	})
}

func TestPlanIsIdempotent(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := drawRequest(t, anySize)
		req.Current = plan(t, req)
		if again := plan(t, req); !reflect.DeepEqual(again, req.Current) {
			t.Fatalf("planned %v, then %v", req.Current, again)
		}
	})
}

func TestPlanIgnoresTheOrderOfNodes(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := drawRequest(t, anySize)
		want := plan(t, req)
		seed := rapid.Uint64().Draw(t, "seed")
		rand.New(rand.NewPCG(seed, 0)).Shuffle(len(req.Nodes), func(i, j int) {
			req.Nodes[i], req.Nodes[j] = req.Nodes[j], req.Nodes[i]
		})
		if got := plan(t, req); !reflect.DeepEqual(got, want) {
			t.Fatalf("planned %v, in another order %v", want, got)
		}
	})
}

func TestPlanMovesTheMinimum(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := drawRequest(t, tinySize)
		want, ok := replicaChoice(req).minCost()
		if !ok {
			t.Fatal("no assignment keeps the levels")
		}
		copies := 0
		for p, row := range plan(t, req) {
			for _, id := range row {
				if p >= len(req.Current) || !slices.Contains(req.Current[p], id) {
					copies++
				}
			}
		}
		if copies != want {
			t.Fatalf("%d new replicas, %d are enough", copies, want)
		}
	})
}

func TestPlanChangesTheFewestPrimaries(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		req := drawRequest(t, tinySize)
		got := plan(t, req)
		choice := primaryChoice(req, got)
		want, ok := choice.minCost()
		if !ok {
			// Only where some nodes, not all, hold a replica of everything.
			for i := range choice.max {
				choice.max[i]++
			}
			if want, ok = choice.minCost(); !ok {
				t.Fatal("no choice of primaries keeps the levels")
			}
		}
		changed := 0
		for p, row := range got {
			if p >= len(req.Current) || len(req.Current[p]) == 0 || req.Current[p][0] != row[0] {
				changed++
			}
		}
		if changed != want {
			t.Fatalf("%d primaries change, %d are enough", changed, want)
		}
	})
}

// replicaChoice is the choice of replicas, a new one costing 1.
func replicaChoice(req placement.Request) choice {
	want := idealOf(req)
	c := choice{partitions: req.Partitions, need: want.copies, nodes: len(want.nodes)}
	zones := make(map[string]int)
	var share []float64
	for i, n := range want.nodes {
		z, ok := zones[n.Zone]
		if !ok {
			z = len(zones)
			zones[n.Zone] = z
			share = append(share, 0)
		}
		share[z] += want.replicas[i] / float64(req.Partitions)
		c.zone = append(c.zone, z)
		c.min = append(c.min, down(want.replicas[i]))
		c.max = append(c.max, up(want.replicas[i]))
	}
	for _, s := range share {
		c.zoneMin = append(c.zoneMin, down(s))
		c.zoneMax = append(c.zoneMax, up(s))
	}
	for p := range req.Partitions {
		cost := make([]int, len(want.nodes))
		for i, n := range want.nodes {
			if p >= len(req.Current) || !slices.Contains(req.Current[p], n.ID) {
				cost[i] = 1
			}
		}
		c.cost = append(c.cost, cost)
	}
	return c
}

// primaryChoice is the choice of primaries among given replicas, a change
// costing 1.
func primaryChoice(req placement.Request, replicas [][]string) choice {
	want := idealOf(req)
	c := choice{
		partitions: req.Partitions, need: 1, nodes: len(want.nodes),
		zone: make([]int, len(want.nodes)), zoneMin: []int{1}, zoneMax: []int{1},
	}
	for _, share := range want.primaries {
		c.min = append(c.min, down(share))
		c.max = append(c.max, up(share))
	}
	for p, row := range replicas {
		cost := make([]int, len(want.nodes))
		for i, n := range want.nodes {
			switch {
			case !slices.Contains(row, n.ID):
				cost[i] = -1
			case p >= len(req.Current) || len(req.Current[p]) == 0 || req.Current[p][0] != n.ID:
				cost[i] = 1
			}
		}
		c.cost = append(c.cost, cost)
	}
	return c
}

func down(share float64) int { return int(math.Floor(share + 1e-9)) }
func up(share float64) int   { return int(math.Ceil(share - 1e-9)) }
