package clusterkit

import "time"

// partitionStats is the answer of /partitions/stats.
type partitionStats struct {
	Version           uint64 `json:"version"`
	Partitions        int    `json:"partitions"`
	ReplicationFactor int    `json:"replication_factor"`
	MinInSync         int    `json:"min_in_sync"`
	// Unavailable counts the partitions that are not served: see [Health].
	Unavailable int `json:"unavailable"`
	// WithoutPrimary counts the partitions whose primary is not alive.
	WithoutPrimary int `json:"without_primary"`
	// UnderReplicated counts those with fewer live in-sync copies than the
	// replication factor, or than there are nodes if these are fewer.
	UnderReplicated int `json:"under_replicated"`
	// Moving counts those whose copies are not where the planner wants them.
	Moving int         `json:"moving"`
	Nodes  []nodeStats `json:"nodes"`

	aliveNodes int
}

type nodeStats struct {
	Node  string `json:"node"`
	Alive bool   `json:"alive"`
	roles
}

// roles counts the partitions of a node by its role.
type roles struct {
	Primaries int `json:"primaries"`
	Replicas  int `json:"replicas"`
	Learners  int `json:"learners"`
}

func (m *Map) rolesOf(nodeID string) roles {
	for _, n := range summarize(m).Nodes {
		if n.Node == nodeID {
			return n.roles
		}
	}
	return roles{}
}

// summarize returns the nodes in the order of the map.
func summarize(m *Map) partitionStats {
	s := partitionStats{
		Version:           m.Version,
		Partitions:        len(m.Partitions),
		ReplicationFactor: m.Config.ReplicationFactor,
		MinInSync:         m.Config.MinInSync,
		Nodes:             make([]nodeStats, len(m.Nodes)),
	}
	byID := make(map[string]*nodeStats, len(m.Nodes))
	for i, n := range m.Nodes {
		s.Nodes[i] = nodeStats{Node: n.ID, Alive: n.Alive}
		byID[n.ID] = &s.Nodes[i]
		if n.Alive {
			s.aliveNodes++
		}
	}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		for _, c := range p.Members {
			n := byID[c.Node]
			switch {
			case !p.IsInSync(c):
				n.Learners++
			case c.Node == p.Primary:
				n.Primaries++
			default:
				n.Replicas++
			}
		}
		if n := m.Node(p.Primary); n == nil || !n.Alive {
			s.WithoutPrimary++
		}
		if m.health(p) == Unavailable {
			s.Unavailable++
		}
		if m.liveInSync(p) < m.wantedCopies() {
			s.UnderReplicated++
		}
		if !p.settled(m) {
			s.Moving++
		}
	}
	return s
}

// copyStats is how far the hooks of this node are with a copy on it.
type copyStats struct {
	Partition string    `json:"partition"`
	Phase     copyPhase `json:"phase"`
	// Since is when the phase began.
	Since time.Time `json:"since"`
	// Attempt counts the calls so far.
	Attempt int `json:"attempt"`
	// Error is why the last call failed.
	Error string `json:"error,omitempty"`
}

// ownCopies returns the copies on this node that hooks are called for, in the
// order of the partitions.
func (ck *ClusterKit) ownCopies() []copyStats {
	copies := []copyStats{}
	m := ck.Map()
	if m == nil {
		return copies
	}
	for i := range m.Partitions {
		p := &m.Partitions[i]
		c, ok := p.member(ck.opts.NodeID, ck.storeID)
		if !ok {
			continue
		}
		progress, ok := ck.hooks.progress(i, c)
		if !ok {
			continue
		}
		stats := copyStats{Partition: p.ID, Phase: progress.Phase, Since: progress.Since, Attempt: progress.Attempt}
		if progress.Err != nil {
			stats.Error = progress.Err.Error()
		}
		copies = append(copies, stats)
	}
	return copies
}

// settled reports whether the copies are exactly the desired ones and in sync.
func (p *Partition) settled(m *Map) bool {
	for _, id := range p.Desired {
		if c, ok := m.CurrentMember(p, id); !ok || !p.IsInSync(c) {
			return false
		}
	}
	return len(p.Members) == len(p.Desired) && p.Primary == p.wantedPrimary()
}
