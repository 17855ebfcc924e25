package kvstore

import (
	"slices"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// A copy whose data turn out to be damaged is made anew, in steps that a crash
// may come between:
//
//   - this node asks the control plane, which in one entry takes the copy out
//     of the in-sync set and gives it another incarnation: what the old one
//     has acknowledged counts no more. A primary hands over before it asks.
//   - When the node sees that incarnation in the map, it discards the log and
//     the data, and keeps the promise.
//   - When they are gone, it begins as any newly assigned copy.
//
// The last complete copy stays as it is, damaged, and serves what it can.

// damagedCopies are what a node knows of its damaged copies beside their
// replicas. Only the goroutine that reconciles uses it, after the recovery.
type damagedCopies struct {
	// lost are those that have no replica, because not even their checkpoints
	// can be read.
	lost map[uint32]partition.State
	// kept have been reported as the last of their kind.
	kept map[uint32]bool
}

// checkpointLost reports whether there are data of a partition of which nobody
// knows what they stand for.
func (n *Node) checkpointLost(id uint32) bool {
	_, ok := n.storage.Checkpoint(id)
	return !ok && n.storage.Damaged(id) != nil
}

// repair asks for what the damaged copies need next.
func (n *Node) repair() {
	damaged := n.storage.DamagedPartitions()
	if len(damaged) == 0 {
		return
	}
	m := n.cluster.Map()
	if m == nil || !n.present(m) {
		return
	}
	for id, cause := range damaged {
		if int64(id) < int64(len(m.Partitions)) {
			n.repairCopy(m, &m.Partitions[id], cause)
		}
	}
}

func (n *Node) repairCopy(m *clusterkit.Map, p *clusterkit.Partition, cause error) {
	id := uint32(p.Index)
	r := n.replica(id)
	self, assigned := m.CurrentMember(p, n.self.Node)
	if held, ok := n.incarnation(r, id); !assigned || !ok || held != self.Incarnation {
		return // it is about to be discarded
	}
	others := slices.DeleteFunc(slices.Clone(p.InSync), func(c clusterkit.Member) bool { return c == self || !m.Present(c) })
	if len(others) == 0 {
		if !n.damaged.kept[id] {
			n.damaged.kept[id] = true
			n.log.Error("the last complete copy that is present is damaged; it is kept", "partition", id, "err", cause)
		}
		return
	}
	delete(n.damaged.kept, id)
	if p.Primary == n.self.Node && r != nil {
		n.handOver(id, partition.Member(others[0]))
		return
	}
	n.proposals.copyAnew(clusterkit.CopyAnewRequest{Partition: p.Index, Epoch: p.Epoch, Member: self})
}

// incarnation returns which assignment of the partition the data here belong
// to; ok is false if they belong to none, and are about to go.
func (n *Node) incarnation(r *replica, id uint32) (incarnation uint64, ok bool) {
	if r != nil {
		return r.incarnation, true
	}
	state, ok := n.damaged.lost[id]
	return state.Incarnation, ok
}

// unusable reports whether a copy that the map assigns to this node as self
// cannot be made from what is here, which is damaged.
func (n *Node) unusable(r *replica, id uint32, self clusterkit.Member) bool {
	if n.storage.Damaged(id) == nil {
		return false
	}
	held, ok := n.incarnation(r, id)
	return !ok || held != self.Incarnation || r == nil
}

// discardLost lets go of a lost copy unless it is still assigned as it was.
func (n *Node) discardLost(id uint32, self clusterkit.Member, assigned bool) {
	state, lost := n.damaged.lost[id]
	if !lost || assigned && self.Incarnation == state.Incarnation {
		return
	}
	delete(n.damaged.lost, id)
	n.mu.Lock()
	n.released[id] = state.Promise
	n.mu.Unlock()
	n.commitLog.forget(&replica{node: n, id: id}, partition.State{Promise: state.Promise})
}
