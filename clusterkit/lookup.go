package clusterkit

import "unsafe"

// GetPartition returns the partition of the key. It takes no lock and does not
// allocate; the result is part of an immutable map and must not be modified.
// It returns [ErrNotReady] while this node has no map.
func (ck *ClusterKit) GetPartition(key string) (*Partition, error) {
	m := ck.state.Map()
	if m == nil {
		return nil, ErrNotReady
	}
	return &m.Partitions[partitionOf(m.Config.Hash, key, len(m.Partitions))], nil
}

// PartitionIndex returns the index of the key's partition, [ErrNotReady] while
// this node has no map.
func (ck *ClusterKit) PartitionIndex(key []byte) (int, error) {
	m := ck.state.Map()
	if m == nil {
		return 0, ErrNotReady
	}
	// The hash only reads the string, and keeps nothing of it.
	return partitionOf(m.Config.Hash, unsafe.String(unsafe.SliceData(key), len(key)), len(m.Partitions)), nil
}

// GetPrimary returns the primary of the partition as of the newest map, nil
// if it has none.
func (ck *ClusterKit) GetPrimary(partition *Partition) *Node {
	m, p := ck.newest(partition)
	if p == nil {
		return nil
	}
	n := m.Node(p.Primary)
	if n == nil {
		return nil
	}
	c := *n
	return &c
}

// GetReplicas returns the nodes of the in-sync copies as of the newest map,
// without the primary. Copies that are still being made are not among them.
func (ck *ClusterKit) GetReplicas(partition *Partition) []Node {
	m, p := ck.newest(partition)
	if p == nil {
		return nil
	}
	return m.replicas(p)
}

func (m *Map) replicas(p *Partition) []Node {
	var nodes []Node
	for _, c := range p.InSync {
		if n := m.Node(c.Node); n != nil && n.Store == c.Store && c.Node != p.Primary {
			nodes = append(nodes, *n)
		}
	}
	return nodes
}

// GetNodes returns the primary, if there is one, and then the replicas.
func (ck *ClusterKit) GetNodes(partition *Partition) []Node {
	var nodes []Node
	if primary := ck.GetPrimary(partition); primary != nil {
		nodes = append(nodes, *primary)
	}
	return append(nodes, ck.GetReplicas(partition)...)
}

// IsPrimary reports whether this node is the primary of the partition now: as
// of the newest map that it knows, and while its lease holds. At any moment it
// is true on one node at most.
func (ck *ClusterKit) IsPrimary(partition *Partition) bool {
	m, p := ck.newest(partition)
	return p != nil && p.Primary == ck.opts.NodeID && p.hasInSync(ck.opts.NodeID, ck.storeID) &&
		!ck.handover.handedOver(p) && ck.mayAct(m)
}

// IsReplica reports whether this node has an in-sync copy of the partition and
// is not its primary, as of the newest map that it knows.
func (ck *ClusterKit) IsReplica(partition *Partition) bool {
	_, p := ck.newest(partition)
	return p != nil && p.Primary != ck.opts.NodeID && p.hasInSync(ck.opts.NodeID, ck.storeID)
}

// GetMyNodeID returns this node's ID.
func (ck *ClusterKit) GetMyNodeID() string { return ck.opts.NodeID }

// newest returns the newest map and the partition in it; nil for what is no
// partition of this cluster.
func (ck *ClusterKit) newest(partition *Partition) (*Map, *Partition) {
	m := ck.state.Map()
	if m == nil || partition == nil || partition.Index < 0 || partition.Index >= len(m.Partitions) {
		return nil, nil
	}
	return m, &m.Partitions[partition.Index]
}
