// Package clusterkit coordinates a cluster: which node owns which key, who is
// primary, and when data must move. It is the package
// [github.com/skshohagmiah/clusterkit/clusterkit] under the module's own
// path, reduced to what most applications use; the documentation is there.
package clusterkit

import "github.com/skshohagmiah/clusterkit/clusterkit"

// The types of the library.
type (
	// ClusterKit is one node of a cluster.
	ClusterKit = clusterkit.ClusterKit
	// Config is what the nodes of a cluster agree on.
	Config = clusterkit.Config
	// Event is something that has happened in the cluster.
	Event = clusterkit.Event
	// Map is an immutable picture of the cluster.
	Map = clusterkit.Map
	// Node is one member of the cluster.
	Node = clusterkit.Node
	// Options configure one node.
	Options = clusterkit.Options
	// Partition is a share of the keys, and the nodes that have it.
	Partition = clusterkit.Partition
	// PartitionChange says that a copy of a partition has to be made.
	PartitionChange = clusterkit.PartitionChange
)

// The errors to hold against with [errors.Is].
var (
	ErrDataDir     = clusterkit.ErrDataDir
	ErrJoinRefused = clusterkit.ErrJoinRefused
	ErrNoCluster   = clusterkit.ErrNoCluster
	ErrNotReady    = clusterkit.ErrNotReady
	ErrOptions     = clusterkit.ErrOptions
)

// NewClusterKit validates the options and takes hold of the data directory;
// Start starts the node.
func NewClusterKit(o Options) (*ClusterKit, error) { return clusterkit.NewClusterKit(o) }
