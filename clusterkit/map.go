package clusterkit

import (
	"cmp"
	"slices"
	"time"
)

// Config is what the nodes of a cluster agree on. It is fixed when the
// cluster is bootstrapped and replicated with the map.
type Config struct {
	// ClusterName names the cluster; a node that was given another name is
	// refused at join. Default "clusterkit".
	ClusterName string `json:"cluster_name"`
	// PartitionCount is the number of partitions, 1 to 16384. It can never be
	// changed afterwards. Default 16.
	PartitionCount int `json:"partition_count"`
	// ReplicationFactor is the wanted number of copies of each partition, the
	// primary's included. With fewer nodes there are fewer copies, until
	// nodes arrive. Default 3.
	ReplicationFactor int `json:"replication_factor"`
	// MinInSync is the number of in-sync copies below which a partition takes
	// no writes. Default min(2, ReplicationFactor).
	MinInSync int `json:"min_in_sync"`
	// Hash names the function from key to partition: [HashXX64] (the default)
	// or [HashCRC16Slots].
	Hash string `json:"hash"`
	// LeaseDuration is how long a node may act as a primary after it last
	// heard that its session is alive: the floor of the time that a failover
	// takes. Nodes renew four times in it. Default 1 s, at least 100 ms.
	LeaseDuration time.Duration `json:"lease_duration_ns"`
}

// Node is one member of the cluster.
type Node struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// IP is the reachable HTTP address, host:port.
	IP       string `json:"ip"`
	RaftAddr string `json:"raft_addr"`
	// Services are further addresses of the node, by name: see
	// [Options.Services].
	Services map[string]string `json:"services,omitempty"`
	// Zone is the node's failure domain, "" if it has none.
	Zone string `json:"zone,omitempty"`
	// Weight is the node's capacity relative to the others', at least 1.
	Weight int `json:"weight"`
	// Draining nodes are being emptied, or are empty: see [ClusterKit.Drain].
	Draining bool `json:"draining,omitempty"`
	// Stopping nodes are about to end their session in order; nobody makes them
	// primaries: see [ClusterKit.PrepareStop].
	Stopping bool `json:"stopping,omitempty"`
	// Store identifies the data of the application on the node: its disk or,
	// with VolatileStore, one run of its process. A node that lost its data comes
	// back under the same ID with another store.
	Store string `json:"store"`
	// RaftID identifies the node in Raft: its ID and its data directory.
	RaftID string `json:"raft_id"`
	// Incarnation counts the sessions of the node; each process start opens
	// a new one.
	Incarnation uint64 `json:"incarnation"`
	// Alive is true while the session of that incarnation is open.
	Alive bool `json:"alive"`
}

// RemovedNode is a node that was removed for good. Its data directory is never
// let in again; an empty one is, also under the same ID.
type RemovedNode struct {
	ID     string `json:"id"`
	RaftID string `json:"raft_id"`
	// Incarnation is that of its last session.
	Incarnation uint64 `json:"incarnation"`
}

// Member is one copy of a partition: the node, the disk it is on, and which
// assignment of the partition to that node it belongs to. Acknowledgements
// of another store or of an earlier assignment never count for it.
type Member struct {
	Node        string `json:"node"`
	Store       string `json:"store"`
	Incarnation uint64 `json:"incarnation"`
}

// Partition is the control plane's knowledge of one partition.
type Partition struct {
	// ID reads "partition-5".
	ID    string `json:"id"`
	Index int    `json:"index"`
	// Epoch counts the primaries: each change of primary raises it by one.
	Epoch uint64 `json:"epoch"`
	// Version counts the changes of Members, InSync and Epoch. Every change
	// is a compare-and-set on Epoch and Version.
	Version uint64 `json:"version"`
	// Primary is the ID of the primary's node. It is "" before the first
	// assignment, and when the primary came back with an empty disk while no
	// other in-sync copy was there to take over.
	Primary string `json:"primary"`
	// Members are all assigned copies, the primary's included. A node is in it
	// once, and a second time only as the last in-sync copy on a lost disk.
	Members []Member `json:"members"`
	// InSync are the members that hold every acknowledged write; the others
	// are learners, or were removed because they fell silent.
	InSync []Member `json:"in_sync"`
	// Began is the version in which the partition last began empty: 1, or a later
	// one if every copy was on a volatile store and is gone.
	Began uint64 `json:"began"`
	// Desired is where the planner wants the copies, its first node being
	// the wanted primary. Members and InSync converge to it by moves.
	Desired []string `json:"desired"`
	// Reason says why the partition last changed.
	Reason string `json:"reason"`
	// Forced counts how often an operator had the partition served without a
	// complete copy: see [ClusterKit.AcceptDataLoss].
	Forced uint64 `json:"forced,omitempty"`
}

// Map is an immutable picture of the cluster. It must not be modified; it
// may be kept and read by any number of goroutines.
type Map struct {
	// Version rises with every change of the map.
	Version     uint64 `json:"version"`
	ClusterUUID string `json:"cluster_uuid"`
	Config      Config `json:"config"`
	// Nodes are sorted by ID.
	Nodes []Node `json:"nodes"`
	// Removed are the nodes that were removed for good, the last ones.
	Removed []RemovedNode `json:"removed,omitempty"`
	// Paused is true while no copies are moved, but for those that were lost:
	// see [ClusterKit.PauseMoves].
	Paused bool `json:"paused,omitempty"`
	// Metadata is the application's: see [ClusterKit.SetMetadata].
	Metadata map[string]string `json:"metadata,omitempty"`
	// Partitions are indexed by Partition.Index.
	Partitions []Partition `json:"partitions"`
}

// Node returns the node of that ID, nil if there is none. The result points
// into the map and must not be modified.
func (m *Map) Node(id string) *Node {
	i, ok := slices.BinarySearchFunc(m.Nodes, id, func(n Node, id string) int { return cmp.Compare(n.ID, id) })
	if !ok {
		return nil
	}
	return &m.Nodes[i]
}

// Present reports whether the copy can be used now: its node has an open
// session and still runs on the disk that the copy is on.
func (m *Map) Present(c Member) bool {
	n := m.Node(c.Node)
	return n != nil && n.Alive && n.Store == c.Store
}

// CurrentMember returns the copy of p that is on the present disk of the
// node, and whether there is one.
func (m *Map) CurrentMember(p *Partition, nodeID string) (Member, bool) {
	n := m.Node(nodeID)
	if n == nil {
		return Member{}, false
	}
	return p.member(nodeID, n.Store)
}

// IsInSync reports whether exactly this copy is in the in-sync set.
func (p *Partition) IsInSync(c Member) bool { return slices.Contains(p.InSync, c) }

// IsMember reports whether exactly this copy is assigned.
func (p *Partition) IsMember(c Member) bool { return slices.Contains(p.Members, c) }

// MemberOf returns the node's copy and whether it has one. Of two copies of
// one node it returns the later assigned; see [Map.CurrentMember].
func (p *Partition) MemberOf(nodeID string) (Member, bool) {
	var found Member
	ok := false
	for _, c := range p.Members {
		if c.Node == nodeID && (!ok || c.Incarnation > found.Incarnation) {
			found, ok = c, true
		}
	}
	return found, ok
}

func (p *Partition) member(nodeID, store string) (Member, bool) {
	for _, c := range p.Members {
		if c.Node == nodeID && c.Store == store {
			return c, true
		}
	}
	return Member{}, false
}

// assigned reports whether the partition has had its first assignment.
func (p *Partition) assigned() bool { return len(p.Members) > 0 }

// hasInSync reports whether the node's copy on that store is in sync.
func (p *Partition) hasInSync(nodeID, store string) bool {
	c, ok := p.member(nodeID, store)
	return ok && p.IsInSync(c)
}

// sameNodes reports whether the nodes of two maps are certainly the same.
func sameNodes(a, b *Map) bool {
	return len(a.Nodes) == len(b.Nodes) && (len(a.Nodes) == 0 || &a.Nodes[0] == &b.Nodes[0])
}
