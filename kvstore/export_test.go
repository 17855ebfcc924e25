package kvstore

// EncodeState lets tests write the log of a node that they make up.
var EncodeState = encodeState

// Stored returns how many items the storage of a node has of a partition.
func (n *Node) Stored(partition uint32) uint64 {
	c, _ := n.storage.Checkpoint(partition)
	return c.Sum.Count
}

// SlowStorage makes the node believe that reads of its storage take long.
func (n *Node) SlowStorage() { n.readTime.average.Store(int64(slowestRead)) }

// OpenScans returns how many snapshots a node keeps for scans.
func (n *Node) OpenScans() int { return n.scans.size() }
