package placement_test

import (
	"fmt"
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

func BenchmarkPlan(b *testing.B) {
	for _, size := range []struct{ nodes, partitions, zones int }{
		{100, 4096, 1}, {100, 4096, 3}, {1000, 16384, 1}, {1000, 16384, 3}, {1000, 16384, 50}, {1000, 16384, 500},
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

		for _, step := range []struct {
			name string
			req  placement.Request
		}{
			{"first", empty}, {"same", full}, {"join", joined}, {"loss", lost},
			{"double", doubled}, {"rf+1", more}, {"rf-1", fewer},
		} {
			b.Run(name+"/"+step.name, func(b *testing.B) {
				for b.Loop() {
					plan(b, step.req)
				}
			})
		}
	}
}
