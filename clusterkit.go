// Package clusterkit coordinates a cluster: which node owns which key, who is
// primary, and when data must move. It is the package
// [github.com/skshohagmiah/clusterkit/clusterkit] under the module's own
// path, reduced to what most applications use; the documentation is there.
package clusterkit

import "github.com/skshohagmiah/clusterkit/clusterkit"

// ClusterKit and the other types of the library.
type (
	ClusterKit = clusterkit.ClusterKit
	Config     = clusterkit.Config
	Map        = clusterkit.Map
	Node       = clusterkit.Node
	Options    = clusterkit.Options
	Partition  = clusterkit.Partition
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
