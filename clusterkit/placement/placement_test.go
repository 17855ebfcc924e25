package placement_test

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

func nodes(ids ...string) []placement.Node {
	var all []placement.Node
	for _, id := range ids {
		all = append(all, placement.Node{ID: id})
	}
	return all
}

func TestInvalidRequests(t *testing.T) {
	valid := func() placement.Request {
		return placement.Request{Partitions: 4, ReplicationFactor: 2, Nodes: nodes("n1", "n2")}
	}
	for name, test := range map[string]struct {
		change  func(*placement.Request)
		want    error
		message string
	}{
		"no partitions":       {func(r *placement.Request) { r.Partitions = 0 }, placement.ErrInvalidRequest, "Partitions is 0"},
		"too many partitions": {func(r *placement.Request) { r.Partitions = placement.MaxPartitions + 1 }, placement.ErrInvalidRequest, "Partitions is 65537"},
		"no replicas":         {func(r *placement.Request) { r.ReplicationFactor = 0 }, placement.ErrInvalidRequest, "ReplicationFactor is 0"},
		"too much assigned":   {func(r *placement.Request) { r.Current = make([][]string, 5) }, placement.ErrInvalidRequest, "Current has 5"},
		"too many nodes":      {func(r *placement.Request) { r.Nodes = make([]placement.Node, placement.MaxNodes+1) }, placement.ErrInvalidRequest, "Nodes has 4097"},
		"empty ID":            {func(r *placement.Request) { r.Nodes[0].ID = "" }, placement.ErrInvalidRequest, "empty ID"},
		"ID twice":            {func(r *placement.Request) { r.Nodes[0].ID = "n2" }, placement.ErrInvalidRequest, `"n2" occurs twice`},
		"negative weight":     {func(r *placement.Request) { r.Nodes[1].Weight = -1 }, placement.ErrInvalidRequest, `Weight of node "n2" is -1`},
		"too heavy":           {func(r *placement.Request) { r.Nodes[1].Weight = placement.MaxWeight + 1 }, placement.ErrInvalidRequest, `Weight of node "n2"`},
		"no nodes":            {func(r *placement.Request) { r.Nodes = nil }, placement.ErrNoNodes, "add a node"},
		"all drained": {func(r *placement.Request) {
			r.Nodes[0].Drained, r.Nodes[1].Drained = true, true
		}, placement.ErrNoNodes, "end a drain"},
	} {
		t.Run(name, func(t *testing.T) {
			req := valid()
			test.change(&req)
			got, err := placement.Plan(req)
			if !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.message) {
				t.Errorf("Plan returned %v, want %v with %q", err, test.want, test.message)
			}
			if got != nil {
				t.Errorf("Plan returned a plan beside its error: %v", got)
			}
			if err := placement.Validate(req, nil); !errors.Is(err, test.want) {
				t.Errorf("Validate returned %v, want %v", err, test.want)
			}
		})
	}
}

func TestPlanLeavesTheRequestAlone(t *testing.T) {
	make := func() placement.Request {
		return placement.Request{
			Partitions: 3, ReplicationFactor: 2, Nodes: nodes("n3", "n1", "n2"),
			Current: [][]string{{"n1", "gone"}, {"n1", "n2", "n3"}},
		}
	}
	req := make()
	plan(t, req)
	if want := make(); !reflect.DeepEqual(req, want) {
		t.Errorf("the request became %v, was %v", req, want)
	}
}

func TestMoves(t *testing.T) {
	for name, test := range map[string]struct {
		from, to [][]string
		want     int
	}{
		"nothing":          {[][]string{{"a", "b"}}, [][]string{{"a", "b"}}, 0},
		"a change of role": {[][]string{{"a", "b"}}, [][]string{{"b", "a"}}, 0},
		"a drop":           {[][]string{{"a", "b"}}, [][]string{{"a"}}, 0},
		"copies":           {[][]string{{"a", "b"}, {"a"}}, [][]string{{"c", "b"}, {"b", "c"}}, 3},
		"first placement":  {nil, [][]string{{"a", "b"}}, 0},
		"of one":           {[][]string{{"a"}, {}}, [][]string{{"a"}, {"a"}}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := placement.Moves(test.from, test.to); got != test.want {
				t.Errorf("Moves is %d, want %d", got, test.want)
			}
		})
	}
}

func TestValidateRefuses(t *testing.T) {
	req := placement.Request{Partitions: 4, ReplicationFactor: 2, Nodes: []placement.Node{
		{ID: "a1", Zone: "a"}, {ID: "a2", Zone: "a"}, {ID: "b1", Zone: "b"}, {ID: "b2", Zone: "b"},
		{ID: "c1", Zone: "c", Drained: true},
	}}
	valid := func() [][]string {
		return [][]string{{"a1", "b1"}, {"a2", "b2"}, {"b1", "a1"}, {"b2", "a2"}}
	}
	if err := placement.Validate(req, valid()); err != nil {
		t.Fatalf("a valid plan: %v", err)
	}
	for name, test := range map[string]struct {
		change  func(plan [][]string) [][]string
		message string
	}{
		"too short":        {func(p [][]string) [][]string { return p[:3] }, "3 partitions, want 4"},
		"a missing copy":   {func(p [][]string) [][]string { p[0] = p[0][:1]; return p }, "partition 0 has 1 replicas"},
		"an unknown node":  {func(p [][]string) [][]string { p[1][1] = "x"; return p }, `partition 1 is on "x"`},
		"a drained node":   {func(p [][]string) [][]string { p[1][1] = "c1"; return p }, `partition 1 is on "c1"`},
		"one node twice":   {func(p [][]string) [][]string { p[2][1] = "b1"; return p }, `partition 2 is on "b1" twice`},
		"one zone twice":   {func(p [][]string) [][]string { p[0][1], p[2][0] = "a2", "b2"; return p }, `zone "a"`},
		"uneven replicas":  {func(p [][]string) [][]string { p[0][0] = "a2"; return p }, `"a1" has 1 replicas, want 2 to 2`},
		"uneven primaries": {func(p [][]string) [][]string { slices.Reverse(p[0]); return p }, `"a1" has 0 primaries, want 1 to 1`},
	} {
		t.Run(name, func(t *testing.T) {
			err := placement.Validate(req, test.change(valid()))
			if !errors.Is(err, placement.ErrInvalidPlan) || !strings.Contains(err.Error(), test.message) {
				t.Errorf("Validate returned %v, want %q", err, test.message)
			}
		})
	}
}

func TestValidateRefusesAnEmptyZone(t *testing.T) {
	req := placement.Request{Partitions: 5, ReplicationFactor: 2, Nodes: []placement.Node{
		{ID: "a1", Zone: "a"}, {ID: "a2", Zone: "a"}, {ID: "a3", Zone: "a"},
		{ID: "b1", Zone: "b"}, {ID: "c1", Zone: "c"},
	}}
	err := placement.Validate(req, [][]string{{"b1", "c1"}, {"a1", "a2"}, {"a2", "a3"}, {"a3", "b1"}, {"c1", "a1"}})
	if !errors.Is(err, placement.ErrInvalidPlan) || !strings.Contains(err.Error(), `0 replicas in zone "a", want at least 1`) {
		t.Errorf("Validate returned %v, want an error about zone a", err)
	}
}

// A node shares its partitions with all others, so that all help when it
// fails.
func TestPlanScattersPartitions(t *testing.T) {
	req := request(20, 1024, 1)
	got := plan(t, req)
	for _, n := range req.Nodes {
		peers := make(map[string]bool)
		for _, row := range got {
			if slices.Contains(row, n.ID) {
				for _, id := range row {
					peers[id] = true
				}
			}
		}
		if len(peers) != len(req.Nodes) {
			t.Errorf("%s shares partitions with %d of %d nodes", n.ID, len(peers)-1, len(req.Nodes)-1)
		}
	}
}

// The replicas are level, so nothing may be copied, but their rounding leaves
// the full node with more to lead than its share: 16.2 of 27, where the
// medium nodes have a share of 1 each.
func TestPrimariesGiveWayToReplicas(t *testing.T) {
	req := placement.Request{Partitions: 27, ReplicationFactor: 2}
	req.Nodes = append(req.Nodes, placement.Node{ID: "full", Weight: 405})
	for i := range 9 {
		id := fmt.Sprintf("medium-%d", i)
		req.Nodes = append(req.Nodes, placement.Node{ID: id, Weight: 25})
		for range 3 {
			req.Current = append(req.Current, []string{"full", id})
		}
	}
	for i := range 5 {
		req.Nodes = append(req.Nodes, placement.Node{ID: fmt.Sprintf("small-%d", i), Weight: 9})
	}
	got := plan(t, req)
	if err := placement.Validate(req, got); err != nil {
		t.Error(err)
	}
	if n := placement.Moves(req.Current, got); n != 0 {
		t.Errorf("%d copies of replicas that are level", n)
	}
	if _, primaries := count(got, "full"); primaries != 18 {
		t.Errorf("the full node leads %d partitions, want 18", primaries)
	}
}
