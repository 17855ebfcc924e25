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
	// Options configure one node.
	Options = clusterkit.Options
	// Config is what the nodes of a cluster agree on.
	Config = clusterkit.Config

	// Map is an immutable picture of the cluster.
	Map = clusterkit.Map
	// Node is one member of the cluster.
	Node = clusterkit.Node
	// Partition is a share of the keys, and the nodes that have it.
	Partition = clusterkit.Partition
	// Member is one copy of a partition.
	Member = clusterkit.Member
	// Health is the state of a cluster, as far as its map tells.
	Health = clusterkit.Health
	// HealthStatus is the verdict of a Health.
	HealthStatus = clusterkit.HealthStatus

	// PartitionChange says that a copy of a partition has to be made.
	PartitionChange = clusterkit.PartitionChange
	// Event is something that has happened in the cluster.
	Event = clusterkit.Event
	// EventKind says what has happened.
	EventKind = clusterkit.EventKind

	// Move is something that is left to be done for the placement.
	Move = clusterkit.Move
	// Changes are what a dry run assumes.
	Changes = clusterkit.Changes
	// Plan is what the cluster would do.
	Plan = clusterkit.Plan

	// InSyncChange asks for another in-sync set of a partition.
	InSyncChange = clusterkit.InSyncChange
	// TransferRequest asks to hand a primary over.
	TransferRequest = clusterkit.TransferRequest
)

// The functions from key to partition.
const (
	HashXX64       = clusterkit.HashXX64
	HashCRC16Slots = clusterkit.HashCRC16Slots
)

// The values of [EventKind].
const (
	NodeJoined        = clusterkit.NodeJoined
	NodeLeft          = clusterkit.NodeLeft
	NodeReturned      = clusterkit.NodeReturned
	NodeRemoved       = clusterkit.NodeRemoved
	RebalanceStarted  = clusterkit.RebalanceStarted
	RebalanceFinished = clusterkit.RebalanceFinished
	HealthChanged     = clusterkit.HealthChanged
)

// The values of [HealthStatus].
const (
	Healthy     = clusterkit.Healthy
	Degraded    = clusterkit.Degraded
	Unavailable = clusterkit.Unavailable
)

// The errors to hold against with [errors.Is].
var (
	ErrDataDir     = clusterkit.ErrDataDir
	ErrDraining    = clusterkit.ErrDraining
	ErrJoinRefused = clusterkit.ErrJoinRefused
	ErrLeft        = clusterkit.ErrLeft
	ErrNoCluster   = clusterkit.ErrNoCluster
	ErrNoLeader    = clusterkit.ErrNoLeader
	ErrNoNode      = clusterkit.ErrNoNode
	ErrNoPartition = clusterkit.ErrNoPartition
	ErrNotReady    = clusterkit.ErrNotReady
	ErrOptions     = clusterkit.ErrOptions
	ErrRefused     = clusterkit.ErrRefused
	ErrStale       = clusterkit.ErrStale
	ErrStopped     = clusterkit.ErrStopped
	ErrUnknown     = clusterkit.ErrUnknown
)

// NewClusterKit validates the options and takes hold of the data directory;
// Start starts the node.
func NewClusterKit(o Options) (*ClusterKit, error) { return clusterkit.NewClusterKit(o) }
