package kvstore

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// StandAside ends what others need this node for, before it stops: its primaries
// are given to others, and it leaves the in-sync sets, so that no write waits for
// it. It returns when nothing is left that can be done, or with the context's
// error. The node must have been made known to stop: that is why the primaries
// drop it, and nobody hands it anything.
func (n *Node) StandAside(ctx context.Context) error {
	for {
		changed := n.changed.next()
		m := n.cluster.Map()
		if m == nil || n.handOverAll(m)+n.neededBy(m) == 0 {
			return nil
		}
		select {
		case <-changed:
		case <-time.After(tickEvery):
		case <-ctx.Done():
			return fmt.Errorf("stand aside: %w", ctx.Err())
		}
	}
}

// handOverAll begins the hand-overs that can begin, to those that lead least, and
// returns how many are not complete.
func (n *Node) handOverAll(m *clusterkit.Map) (left int) {
	leads := make(map[string]int)
	for i := range m.Partitions {
		leads[m.Partitions[i].Primary]++
	}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		if p.Primary != n.self.Node {
			continue
		}
		others := slices.DeleteFunc(slices.Clone(p.InSync), func(c clusterkit.Member) bool { return c.Node == n.self.Node || !staysPresent(m, c) })
		if len(others) == 0 {
			continue
		}
		to := slices.MinFunc(others, func(a, b clusterkit.Member) int { return cmp.Compare(leads[a.Node], leads[b.Node]) })
		leads[to.Node]++
		left++
		n.handOver(uint32(i), partition.Member(to))
	}
	return left
}

// neededBy returns how many other primaries have this node in sync and can do
// without it.
func (n *Node) neededBy(m *clusterkit.Map) (count int) {
	for i := range m.Partitions {
		p := &m.Partitions[i]
		primary := m.Node(p.Primary)
		if primary == nil || !primary.Alive || primary.ID == n.self.Node || len(p.InSync) <= m.Config.MinInSync {
			continue
		}
		if slices.ContainsFunc(p.InSync, func(c clusterkit.Member) bool { return c.Node == n.self.Node }) {
			count++
		}
	}
	return count
}
