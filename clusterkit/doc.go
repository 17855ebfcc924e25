// Package clusterkit coordinates a cluster: it says where each part of the
// data belongs, which node is its primary, and when data has to move. The
// application stores, replicates and copies the data itself.
//
// A cluster has a fixed number of partitions. Each key belongs to one, by a
// stable hash. Each partition has a primary, replicas, and an in-sync set: the
// copies that hold everything that was acknowledged, and from which alone a new
// primary is elected. All of this is the [Map], which the nodes agree on
// through Raft; every node holds the newest one it knows as an immutable value,
// so that a lookup takes no lock.
//
//	ck, err := clusterkit.NewClusterKit(clusterkit.Options{
//		NodeID:    "node-1",
//		HTTPAddr:  ":8080",
//		RaftAddr:  "127.0.0.1:9001",
//		Bootstrap: true,
//		DataDir:   "./data",
//	})
//	if err != nil {
//		return err
//	}
//	if err := ck.Start(); err != nil {
//		return err
//	}
//	defer ck.Stop()
//
//	partition, err := ck.GetPartition("user:123")
//	if err == nil && ck.IsPrimary(partition) {
//		// store it here and send it to ck.GetReplicas(partition)
//	}
//
// A node keeps its role only while it holds a lease, which it renews several
// times a second: [ClusterKit.IsPrimary] is true on one node at most at any
// moment, however late a node learns that it was replaced. DESIGN.md beside the
// code gives the guarantees and the reasons.
//
// All methods of [ClusterKit] may be called concurrently, and also from inside
// a hook. Package clustertest runs whole clusters inside the application's tests.
package clusterkit
