package placement_test

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

func request(nodes, partitions, zones int) placement.Request {
	req := placement.Request{Partitions: partitions, ReplicationFactor: 3}
	for i := range nodes {
		req.Nodes = append(req.Nodes, placement.Node{
			ID:   fmt.Sprintf("node-%04d", i),
			Zone: fmt.Sprintf("zone-%d", i%zones),
		})
	}
	return req
}

// randomRows assigns partitions without regard to levels or zones, to the
// first tenth of the nodes more often than to the others.
func randomRows(nodes, partitions int) [][]string {
	random := rand.New(rand.NewPCG(1, 2))
	rows := make([][]string, partitions)
	for p := range rows {
		for range 3 {
			from := nodes
			if random.IntN(2) == 0 {
				from = nodes / 10
			}
			rows[p] = append(rows[p], fmt.Sprintf("node-%04d", random.IntN(from)))
		}
	}
	return rows
}

func BenchmarkPlan(b *testing.B) {
	for _, size := range []struct{ nodes, partitions, zones int }{
		{100, 4096, 1}, {100, 4096, 3}, {1000, 16384, 1}, {1000, 16384, 3}, {1000, 16384, 50},
	} {
		name := fmt.Sprintf("nodes=%d/partitions=%d/zones=%d", size.nodes, size.partitions, size.zones)
		empty := request(size.nodes, size.partitions, size.zones)
		full := empty
		full.Current = plan(b, empty)

		joined := full
		joined.Nodes = append(request(size.nodes+1, 1, size.zones).Nodes[size.nodes:], full.Nodes...)
		lost := full
		lost.Nodes = full.Nodes[1:]
		doubled := full
		doubled.Nodes = request(2*size.nodes, 1, size.zones).Nodes
		more := full
		more.ReplicationFactor = 4
		fewer := full
		fewer.ReplicationFactor = 2
		wild := empty
		wild.Current = randomRows(size.nodes, size.partitions)

		for _, step := range []struct {
			name string
			req  placement.Request
		}{
			{"first", empty}, {"same", full}, {"join", joined}, {"loss", lost},
			{"double", doubled}, {"rf+1", more}, {"rf-1", fewer}, {"random", wild},
		} {
			b.Run(name+"/"+step.name, func(b *testing.B) {
				for b.Loop() {
					plan(b, step.req)
				}
			})
		}
	}
}

// BenchmarkNext measures the choice of the next steps after a node has joined.
func BenchmarkNext(b *testing.B) {
	for _, size := range []struct{ nodes, partitions int }{{100, 4096}, {1000, 16384}} {
		req := request(size.nodes, size.partitions, 1)
		req.Current = plan(b, req)
		req.Nodes = request(size.nodes+1, 1, 1).Nodes
		s := placement.Situation{Present: make(map[string]bool), CopiesPerNode: 8}
		for _, n := range req.Nodes {
			s.Present[n.ID] = true
		}
		for i, wanted := range plan(b, req) {
			p := placement.Progress{Wanted: wanted}
			for _, id := range req.Current[i] {
				p.Copies = append(p.Copies, placement.Copy{Node: id, Ready: true, Present: true})
			}
			s.Partitions = append(s.Partitions, p)
		}
		b.Run(fmt.Sprintf("nodes=%d/partitions=%d", size.nodes, size.partitions), func(b *testing.B) {
			for b.Loop() {
				placement.Next(s)
			}
		})
	}
}
