package kvstore

import (
	"iter"
	"sync/atomic"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/replication"
)

// peers holds a sender for each other disk in the map. It is asked under the
// locks of replicas, which a sender that is flushed takes in turn: so nobody
// waits for it.
type peers struct {
	node *Node
	// senders is replaced, never changed: by the goroutine that reconciles, and
	// at the end by Close.
	senders atomic.Pointer[map[replication.Peer]*replication.Sender]
}

func newPeers(n *Node) *peers {
	p := &peers{node: n}
	p.senders.Store(&map[replication.Peer]*replication.Sender{})
	return p
}

// publish makes these the senders, and closes those of before that are not
// among them. What those have not sent is lost.
func (p *peers) publish(senders map[replication.Peer]*replication.Sender) {
	for peer, s := range *p.senders.Swap(&senders) {
		if senders[peer] != s {
			s.Close()
		}
	}
}

func peerOf(m partition.Member) replication.Peer {
	return replication.Peer{Node: m.Node, Store: m.Store}
}

// follow connects to the nodes of the map and lets go of disks that are no
// longer in it.
func (p *peers) follow(m *clusterkit.Map) {
	before, senders := *p.senders.Load(), map[replication.Peer]*replication.Sender{}
	for _, n := range m.Nodes {
		if n.ID == p.node.self.Node {
			continue
		}
		peer := replication.Peer{Node: n.ID, Store: n.Store}
		if senders[peer] = before[peer]; senders[peer] == nil {
			senders[peer] = replication.NewSender(m.ClusterUUID, p.node.self, peer, p.address(peer.Node), p.node, p.node.log)
		}
	}
	p.publish(senders)
}

// address returns how to find the node's present address.
func (p *peers) address(id string) func() string {
	return func() string {
		if m := p.node.cluster.Map(); m != nil {
			if n := m.Node(id); n != nil {
				return n.IP
			}
		}
		return ""
	}
}

func (p *peers) sender(m partition.Member) *replication.Sender { return (*p.senders.Load())[peerOf(m)] }

func (p *peers) send(part uint32, m partition.Message) {
	if s := p.sender(m.To); s != nil {
		s.Send(replication.Envelope{Partition: part, Message: m})
	}
}

func (p *peers) ready(part uint32, to partition.Member) {
	if s := p.sender(to); s != nil {
		s.Ready(part)
	}
}

// flush has everything sent that is queued or ready. The caller holds no lock
// of a replica.
func (p *peers) flush() {
	for _, s := range *p.senders.Load() {
		s.Flush()
	}
}

// flushInBackground is flush for a caller that has more urgent things to do.
func (p *peers) flushInBackground() {
	for _, s := range *p.senders.Load() {
		s.FlushInBackground()
	}
}

func (p *peers) close() { p.publish(map[replication.Peer]*replication.Sender{}) }

// Next implements [replication.Source].
func (n *Node) Next(part uint32, to replication.Peer, mayWait bool) (m partition.Message, wait, ok bool) {
	r := n.replica(part)
	if r == nil {
		return m, false, false
	}
	member, ok := r.memberOf(to)
	switch {
	case !ok:
		return m, false, false
	case !r.catchesUp(member):
		return r.next(member, mayWait)
	case !mayWait:
		return m, true, false
	}
	m, ok = r.nextAtRate(member)
	return m, false, ok
}

// Reconnected implements [replication.Source].
func (n *Node) Reconnected(to replication.Peer) {
	for _, r := range n.allReplicas() {
		if member, ok := r.memberOf(to); ok {
			r.do(func(sm *partition.Replica) { sm.Reconnected(member) })
		}
	}
}

// maxEpochLead is how far the epoch of a message may be ahead of the map: a
// replica that took part in an epoch which nobody can reach would never take
// part again.
const maxEpochLead = 1 << 20

// deliver takes the messages of a frame, until one shows that the peer cannot
// be right.
func (n *Node) deliver(frame iter.Seq2[replication.Envelope, error]) error {
	var t turn
	defer n.end(&t)
	for e, err := range frame {
		if err != nil {
			return err
		}
		if err := n.take(&t, e); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) take(t *turn, e replication.Envelope) error {
	m := n.cluster.Map()
	if m == nil {
		return nil
	}
	if err := n.admissible(m, &e); err != nil {
		return err
	}
	if e.Message.Kind == partition.Append && len(e.Message.Entries) > 0 && n.applier.overloaded() {
		return nil // the primary sends them again
	}
	if r := n.replica(e.Partition); r != nil {
		r.during(t, func(sm *partition.Replica) {
			if e.Message.Epoch < sm.Promise() {
				n.metrics.stale.Inc()
			}
			sm.Step(e.Message)
		})
	}
	return nil
}

// admissible returns an error for a message that no correct peer sends.
func (n *Node) admissible(m *clusterkit.Map, e *replication.Envelope) error {
	if int64(e.Partition) >= int64(len(m.Partitions)) {
		return replication.Reject(replication.BadPartition, "partition %d, the cluster has %d", e.Partition, len(m.Partitions))
	}
	if known := m.Partitions[e.Partition].Epoch; e.Message.Epoch > known+maxEpochLead {
		return replication.Reject(replication.BadEpoch, "partition %d is said to be in epoch %d, the map has %d", e.Partition, e.Message.Epoch, known)
	}
	for i := range e.Message.Entries {
		entry := &e.Message.Entries[i]
		decoded, err := op.Decode(entry.Data)
		if err != nil {
			return replication.Reject(replication.BadEntry, "entry %d of partition %d: %v", entry.LSN, e.Partition, err)
		}
		if err := n.storage.CheckEntry(decoded.Ops); err != nil {
			return replication.Reject(replication.Oversized, "entry %d of partition %d: %v", entry.LSN, e.Partition, err)
		}
	}
	return nil
}

// memberOf returns the member that the partition has on a peer.
func (r *replica) memberOf(p replication.Peer) (partition.Member, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.sm.View().Members {
		if peerOf(m) == p {
			return m, true
		}
	}
	return partition.Member{}, false
}
