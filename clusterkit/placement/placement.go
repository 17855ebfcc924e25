// Package placement decides which nodes hold which partitions. It is
// arithmetic: no clock, no randomness, no I/O, and the same answer on every
// node for the same question.
//
// A plan has these properties:
//
//   - Every partition has min(ReplicationFactor, eligible nodes) distinct
//     nodes; a drained node is not eligible.
//   - Replicas per node are the node's share, rounded down or up. Shares are
//     proportional to weight and never exceed one replica of each partition;
//     nodes of equal weight differ by at most one.
//   - Primaries per node are its weight's share, rounded down or up. Where
//     some nodes hold a replica of every partition and others do not, a node
//     may lead one partition more than that.
//   - Each partition spreads over the zones as evenly as the levels of the
//     nodes allow: its replicas in a zone are the zone's share, rounded down
//     or up. Zones of equal weight, as many as there are replicas or more,
//     never hold two replicas of one partition.
//   - No plan with these levels copies fewer replicas from what is there.
//   - Primaries are levelled by changing roles among the replicas of the
//     plan, never by copying, and no choice among those replicas changes
//     fewer primaries.
//
// Levels come first: a zone whose nodes are few gets fewer replicas, unless
// their weights make up for it.
package placement

import "slices"

// Node is a node that may hold replicas.
type Node struct {
	ID string
	// Weight is the node's capacity relative to the others', 0 to
	// [MaxWeight]; 0 reads as 1.
	Weight int
	// Zone names the failure domain. Nodes without one share the zone "".
	Zone string
	// Drained nodes receive nothing and are emptied.
	Drained bool
}

// Request is a question to [Plan].
type Request struct {
	// Partitions is 1 to [MaxPartitions].
	Partitions int
	// ReplicationFactor is the wanted number of replicas of each partition,
	// the primary's included, at least 1.
	ReplicationFactor int
	// Nodes are the nodes of the cluster, in any order.
	Nodes []Node
	// Current holds, per partition, the nodes that have its data, the primary
	// first. It may be shorter than Partitions, a partition may be empty, and
	// nodes that are not in Nodes are taken for lost.
	Current [][]string
}

// Limits of a [Request]. They keep the arithmetic within its integers.
const (
	MaxPartitions = 1 << 16
	MaxNodes      = 1 << 12
	MaxWeight     = 1 << 20
)

// Plan returns, per partition, the nodes that should hold it, the wanted
// primary first. Replicas that stay keep the order that they have in Current.
// The request is not modified. The error wraps [ErrInvalidRequest] or
// [ErrNoNodes].
func Plan(req Request) ([][]string, error) {
	c, err := newCluster(req)
	if err != nil {
		return nil, err
	}
	replicas, err := c.chooseReplicas()
	if err != nil {
		return nil, err
	}
	primaries, err := c.choosePrimaries(replicas)
	if err != nil {
		return nil, err
	}
	return c.arrange(replicas, primaries), nil
}

// Moves returns the number of replicas that have to be copied to get from one
// assignment to another. A partition without replicas in from has no data, so
// nothing of it is copied.
func Moves(from, to [][]string) int {
	moves := 0
	for p := range min(len(from), len(to)) {
		if len(from[p]) == 0 {
			continue
		}
		for _, id := range to[p] {
			if !slices.Contains(from[p], id) {
				moves++
			}
		}
	}
	return moves
}
