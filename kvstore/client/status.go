package client

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
)

const maxStatusBytes = 64 << 20

// Status is the cluster as one node sees it.
type Status struct {
	ClusterName string `json:"cluster_name"`
	ClusterUUID string `json:"cluster_uuid"`
	// Version is that of the cluster map.
	Version           uint64 `json:"version"`
	PartitionCount    int    `json:"partition_count"`
	ReplicationFactor int    `json:"replication_factor"`
	MinInSync         int    `json:"min_in_sync"`
	// Leader is the ID of the node that leads the control plane, "" if no node
	// that answered knows of one: then everything else here is the last known
	// state, and may be wrong.
	Leader     string      `json:"leader"`
	Nodes      []Node      `json:"nodes"`
	Partitions []Partition `json:"partitions"`
}

// Node is one member of the cluster.
type Node struct {
	ID   string `json:"id"`
	Name string `json:"name"`
	// IP is the node's HTTP address, host:port.
	IP string `json:"ip"`
	// RaftID is the node's ID and its data directory: it tells a node from the
	// next one that has its ID.
	RaftID string `json:"raft_id"`
	// Incarnation counts the sessions of the node; each start opens a new one.
	Incarnation uint64 `json:"incarnation"`
	// Alive is true while the node renews its session.
	Alive bool `json:"alive"`
}

// Partition is one partition and where its copies are.
type Partition struct {
	ID    string `json:"id"`
	Epoch uint64 `json:"epoch"`
	// Primary is the ID of the primary's node, "" before there is one.
	Primary string `json:"primary"`
	// Members are all copies, the primary's included; InSync those that hold
	// every acknowledged write.
	Members []Member `json:"members"`
	InSync  []Member `json:"in_sync"`
	// Reason says why the partition last changed.
	Reason string `json:"reason"`
}

// Member is one copy of a partition.
type Member struct {
	Node string `json:"node"`
}

// clusterAnswer is the answer to GET /cluster.
type clusterAnswer struct {
	ClusterName string `json:"cluster_name"`
	ClusterUUID string `json:"cluster_uuid"`
	Config      struct {
		PartitionCount    int `json:"partition_count"`
		ReplicationFactor int `json:"replication_factor"`
		MinInSync         int `json:"min_in_sync"`
	} `json:"config"`
	Leader string `json:"leader"`
	Nodes  []Node `json:"nodes"`
}

// Status returns the state of the cluster, if possible as a node sees it that
// knows a leader. The nodes and the partitions are asked for one after the
// other, so the second may be newer than the first.
func (c *Client) Status(ctx context.Context) (*Status, error) {
	cluster, err := c.ledCluster(ctx)
	if err != nil {
		return nil, fmt.Errorf("cluster status: %w", err)
	}
	var partitions struct {
		Version    uint64      `json:"version"`
		Partitions []Partition `json:"partitions"`
	}
	if err := c.getJSON(ctx, "/partitions", &partitions); err != nil {
		return nil, fmt.Errorf("cluster status: %w", err)
	}
	return &Status{
		ClusterName:       cluster.ClusterName,
		ClusterUUID:       cluster.ClusterUUID,
		Version:           partitions.Version,
		PartitionCount:    cluster.Config.PartitionCount,
		ReplicationFactor: cluster.Config.ReplicationFactor,
		MinInSync:         cluster.Config.MinInSync,
		Leader:            cluster.Leader,
		Nodes:             cluster.Nodes,
		Partitions:        partitions.Partitions,
	}, nil
}

// ledCluster asks one node after the other until one knows a leader. If none
// does, it returns the first answer.
func (c *Client) ledCluster(ctx context.Context) (*clusterAnswer, error) {
	first, err := c.cluster(ctx)
	if err != nil || first.Leader != "" {
		return first, err
	}
	asked := make([]bool, c.endpoints.size())
	for {
		place, _ := c.endpoints.pick()
		i := c.endpoints.index(place)
		if asked[i] {
			return first, nil
		}
		asked[i] = true
		c.endpoints.failed(place)
		if now, err := c.cluster(ctx); err == nil && now.Leader != "" {
			return now, nil
		}
	}
}

func (c *Client) cluster(ctx context.Context) (*clusterAnswer, error) {
	a := new(clusterAnswer)
	return a, c.getJSON(ctx, "/cluster", a)
}

func (c *Client) getJSON(ctx context.Context, path string, to any) error {
	a, err := c.do(ctx, c.reads, http.MethodGet, path, nil, &operation{probe: true, maxAnswer: maxStatusBytes})
	if err != nil {
		return fmt.Errorf("%s %s: %w", http.MethodGet, path, err)
	}
	if err := json.Unmarshal(a.body, to); err != nil {
		return fmt.Errorf("%s %s: %w", http.MethodGet, path, err)
	}
	return nil
}

// Health is the state of one partition.
type Health string

const (
	// Healthy is served, with all its copies in sync.
	Healthy Health = "healthy"
	// UnderReplicated is served, but with fewer copies in sync than wanted.
	UnderReplicated Health = "under-replicated"
	// Unavailable is without a living primary, or with fewer living copies in
	// sync than writes need.
	Unavailable Health = "unavailable"
	// Unknown is without a leader of the control plane to tell.
	Unknown Health = "unknown"
)

// Health returns the state of one of the status's partitions. A partition
// wants as many copies as the replication factor says, or as there are nodes.
func (s *Status) Health(p Partition) Health {
	if s.Leader == "" {
		return Unknown
	}
	alive := make(map[string]bool, len(s.Nodes))
	for _, n := range s.Nodes {
		alive[n.ID] = n.Alive
	}
	inSync := 0
	for _, m := range p.InSync {
		if alive[m.Node] {
			inSync++
		}
	}
	switch {
	case !alive[p.Primary] || inSync < max(1, s.MinInSync):
		return Unavailable
	case inSync < min(s.ReplicationFactor, len(s.Nodes)):
		return UnderReplicated
	default:
		return Healthy
	}
}
