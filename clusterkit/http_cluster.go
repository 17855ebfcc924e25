package clusterkit

import (
	"fmt"
	"net/http"

	"github.com/hashicorp/raft"
)

type clusterAnswer struct {
	ClusterName string `json:"cluster_name"`
	ClusterUUID string `json:"cluster_uuid"`
	Version     uint64 `json:"version"`
	Config      Config `json:"config"`
	// Leader is the ID of the Raft leader, "" if this node knows of none.
	Leader string `json:"leader"`
	Nodes  []Node `json:"nodes"`
}

func viewCluster(s sight) any {
	m := s.m
	return clusterAnswer{m.Config.ClusterName, m.ClusterUUID, m.Version, m.Config, s.leader, m.Nodes}
}

// nodeView is a node and what it holds.
type nodeView struct {
	Node
	roles
}

type nodesAnswer struct {
	Version uint64     `json:"version"`
	Nodes   []nodeView `json:"nodes"`
}

type nodeAnswer struct {
	Version uint64 `json:"version"`
	nodeView
}

func viewNodes(s sight) any {
	answer := nodesAnswer{s.m.Version, make([]nodeView, len(s.m.Nodes))}
	held := summarize(s.m).Nodes
	for i, n := range s.m.Nodes {
		answer.Nodes[i] = nodeView{n, held[i].roles}
	}
	return answer
}

func viewNode(r *http.Request, m *Map) (any, error) {
	n, unknown := nodeAt(m, pathVar(r, "id"))
	if n == nil {
		return nil, unknown.err()
	}
	return nodeAnswer{m.Version, nodeView{*n, m.rolesOf(n.ID)}}, nil
}

type partitionsAnswer struct {
	Version    uint64      `json:"version"`
	Partitions []Partition `json:"partitions"`
}

func viewPartitions(s sight) any { return partitionsAnswer{s.m.Version, s.m.Partitions} }

func viewStats(s sight) any { return summarize(s.m) }

type keyAnswer struct {
	Version   uint64     `json:"version"`
	Key       string     `json:"key"`
	Partition *Partition `json:"partition"`
	Primary   *Node      `json:"primary"`
	Replicas  []Node     `json:"replicas"`
}

func viewKey(r *http.Request, m *Map) (any, error) {
	key := r.URL.Query().Get("key")
	if key == "" {
		return nil, fmt.Errorf("%w: the parameter key is missing or empty: ask for /partitions/key?key=user:1", errBadRequest)
	}
	p := &m.Partitions[partitionOf(m.Config.Hash, key, len(m.Partitions))]
	replicas := m.replicas(p)
	if replicas == nil {
		replicas = []Node{}
	}
	return keyAnswer{m.Version, key, p, m.Node(p.Primary), replicas}, nil
}

type metadataAnswer struct {
	Version  uint64            `json:"version"`
	Metadata map[string]string `json:"metadata"`
}

func viewMetadata(s sight) any {
	entries := s.m.Metadata
	if entries == nil {
		entries = map[string]string{}
	}
	return metadataAnswer{s.m.Version, entries}
}

type entryAnswer struct {
	Version uint64 `json:"version"`
	Key     string `json:"key"`
	Value   string `json:"value"`
}

func viewEntry(r *http.Request, m *Map) (any, error) {
	key := pathVar(r, "key")
	value, ok := m.Metadata[key]
	if !ok {
		return nil, httpError{codeNotFound, fmt.Sprintf("there is no metadata entry %q", key)}
	}
	return entryAnswer{m.Version, key, value}, nil
}

type leaderAnswer struct {
	Leader   string `json:"leader"`
	RaftAddr string `json:"raft_addr"`
	IsSelf   bool   `json:"is_self"`
}

func (a *api) consensusLeader(w *responder, _ *http.Request) error {
	id, addr := a.ck.leaderNode()
	if id == "" {
		return fmt.Errorf("%w: this node knows of none at the moment", ErrNoLeader)
	}
	return w.json(http.StatusOK, leaderAnswer{id, addr, id == a.ck.opts.NodeID})
}

// consensusAnswer is Raft as this node sees it.
type consensusAnswer struct {
	State        string       `json:"state"`
	Term         uint64       `json:"term"`
	LastIndex    uint64       `json:"last_index"`
	CommitIndex  uint64       `json:"commit_index"`
	AppliedIndex uint64       `json:"applied_index"`
	Leader       string       `json:"leader"`
	Servers      []serverView `json:"servers"`
}

type serverView struct {
	ID    raft.ServerID `json:"id"`
	Addr  string        `json:"raft_addr"`
	Voter bool          `json:"voter"`
}

func (a *api) consensusStats(w *responder, _ *http.Request) error {
	book := a.ck.book
	stats := consensusAnswer{State: "Stopped", Servers: []serverView{}}
	stats.Leader, _ = a.ck.leaderNode()
	if r := book.raft.Load(); r != nil {
		stats.State, stats.Term = r.State().String(), r.CurrentTerm()
		stats.LastIndex, stats.CommitIndex, stats.AppliedIndex = r.LastIndex(), r.CommitIndex(), r.AppliedIndex()
		for _, s := range r.GetConfiguration().Configuration().Servers {
			addr, err := book.ServerAddr(s.ID)
			if err != nil {
				addr = s.Address
			}
			_, host := splitPeerAddr(string(addr))
			stats.Servers = append(stats.Servers, serverView{ID: s.ID, Addr: host, Voter: s.Suffrage == raft.Voter})
		}
	}
	return w.json(http.StatusOK, stats)
}
