package placement_test

import (
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

// history is a cluster whose nodes join, leave, drain, and change their weight
// and zone, one change at a time, each plan starting from the one before.
type history struct {
	req  placement.Request
	next int
}

func (h *history) node(t *rapid.T) *placement.Node {
	return &h.req.Nodes[rapid.IntRange(0, len(h.req.Nodes)-1).Draw(t, "node")]
}

// replan holds each plan against the properties, and its cost against the
// least that any plan of these levels has.
func (h *history) replan(t *rapid.T) {
	rows := plan(t, h.req)
	if err := placement.Validate(h.req, rows); err != nil {
		t.Fatal(err)
	}
	if h.req.Current != nil {
		least, ok := replicaChoice(h.req).minCost()
		if copies := placement.Moves(h.req.Current, rows); !ok || copies != least {
			t.Fatalf("%d replicas are copied, %d are enough", copies, least)
		}
	}
	h.req.Current = rows
	if again := plan(t, h.req); placement.Moves(rows, again) != 0 {
		t.Fatalf("a plan that was reached is changed: %v, then %v", rows, again)
	}
}

func (h *history) zone(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "c"}).Draw(t, "zone")
}

func histories(t *rapid.T) {
	h := &history{req: placement.Request{
		Partitions:        rapid.IntRange(1, 5).Draw(t, "partitions"),
		ReplicationFactor: rapid.IntRange(1, 3).Draw(t, "rf"),
	}}
	join := func(t *rapid.T) {
		if len(h.req.Nodes) == 5 {
			return // as many as the oracle can do
		}
		h.req.Nodes = append(h.req.Nodes, placement.Node{ID: fmt.Sprintf("n%02d", h.next), Zone: h.zone(t)})
		h.next++
		h.replan(t)
	}
	join(t)
	t.Repeat(map[string]func(*rapid.T){
		"join": join,
		"leave": func(t *rapid.T) {
			gone := h.node(t).ID
			left := slices.DeleteFunc(slices.Clone(h.req.Nodes), func(n placement.Node) bool { return n.ID == gone })
			if !slices.ContainsFunc(left, func(n placement.Node) bool { return !n.Drained }) {
				return // the last node
			}
			h.req.Nodes = left
			h.replan(t)
		},
		"weigh": func(t *rapid.T) {
			h.node(t).Weight = rapid.IntRange(1, 4).Draw(t, "weight")
			h.replan(t)
		},
		"rezone": func(t *rapid.T) {
			h.node(t).Zone = h.zone(t)
			h.replan(t)
		},
		"drain": func(t *rapid.T) {
			n := h.node(t)
			n.Drained = !n.Drained
			if !slices.ContainsFunc(h.req.Nodes, func(n placement.Node) bool { return !n.Drained }) {
				n.Drained = false
				return // the last node
			}
			h.replan(t)
		},
		"replicate": func(t *rapid.T) {
			h.req.ReplicationFactor = rapid.IntRange(1, 4).Draw(t, "rf")
			h.replan(t)
		},
	})
}

func TestHistories(t *testing.T) { rapid.Check(t, histories) }

func FuzzHistories(f *testing.F) { f.Fuzz(rapid.MakeFuzz(histories)) }
