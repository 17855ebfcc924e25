package kvstore

import (
	"context"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// Cluster is what the data plane needs of the control plane. A
// [clusterkit.ClusterKit] with Options.ManagedReplication is one.
type Cluster interface {
	Map() *clusterkit.Map
	Watch(ctx context.Context) <-chan *clusterkit.Map
	PartitionIndex(key []byte) (int, error)

	// Self is this node, its store, and the incarnation of its present or next
	// session, 0 before the process has opened one.
	Self() clusterkit.Node
	HoldsLease() bool

	ProposeInSync(ctx context.Context, c clusterkit.InSyncChange) error
	Transfer(ctx context.Context, t clusterkit.TransferRequest) error
	CopyAnew(ctx context.Context, req clusterkit.CopyAnewRequest) error

	SetMetadata(ctx context.Context, key, value string) error
	DeleteMetadata(ctx context.Context, key string) error
}

// staysPresent reports whether the copy is on a node that is there, and is not
// about to stop: nobody should begin to rely on it otherwise.
func staysPresent(m *clusterkit.Map, c clusterkit.Member) bool {
	return m.Present(c) && !m.Node(c.Node).Stopping
}

// viewOf translates what the map says of a partition for the protocol.
func viewOf(m *clusterkit.Map, p *clusterkit.Partition) partition.View {
	v := partition.View{Epoch: p.Epoch, Version: p.Version, MinInSync: m.Config.MinInSync}
	for _, c := range p.Members {
		if v.Members = append(v.Members, partition.Member(c)); !staysPresent(m, c) {
			v.Absent = append(v.Absent, partition.Member(c))
		}
	}
	for _, c := range p.InSync {
		if v.InSync = append(v.InSync, partition.Member(c)); c.Node == p.Primary {
			v.Primary = partition.Member(c)
		}
	}
	return v
}
