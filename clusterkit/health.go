package clusterkit

// HealthStatus is the verdict on a cluster.
type HealthStatus string

const (
	// Healthy has all nodes alive, and all partitions served with their copies
	// in sync.
	Healthy HealthStatus = "healthy"
	// Degraded has all partitions served, but a node is dead or a copy is
	// missing.
	Degraded HealthStatus = "degraded"
	// Unavailable has a partition that is not served.
	Unavailable HealthStatus = "unavailable"
)

// Health is the state of a cluster, as far as its map tells.
type Health struct {
	Status HealthStatus `json:"status"`
	// Unavailable counts the partitions that are not served: without a living
	// primary, or with fewer living copies in sync than Config.MinInSync.
	Unavailable int `json:"unavailable"`
	// UnderReplicated counts those that are served, with fewer living copies in
	// sync than the replication factor, or than there are nodes if these are
	// fewer.
	UnderReplicated int `json:"under_replicated"`
	// DeadNodes counts the nodes without an open session.
	DeadNodes int `json:"dead_nodes"`
}

// Health returns the state of the cluster. Whether the control plane has a
// leader is not in the map; without one, a map can be old.
func (m *Map) Health() Health {
	h := Health{Status: Healthy}
	for i := range m.Nodes {
		if !m.Nodes[i].Alive {
			h.DeadNodes++
		}
	}
	for i := range m.Partitions {
		switch m.health(&m.Partitions[i]) {
		case Unavailable:
			h.Unavailable++
		case Degraded:
			h.UnderReplicated++
		}
	}
	switch {
	case h.Unavailable > 0:
		h.Status = Unavailable
	case h.UnderReplicated > 0 || h.DeadNodes > 0:
		h.Status = Degraded
	}
	return h
}

// health returns the state of one partition.
func (m *Map) health(p *Partition) HealthStatus {
	primary, live := m.Node(p.Primary), m.liveInSync(p)
	switch {
	case primary == nil || !primary.Alive || live < max(1, m.Config.MinInSync):
		return Unavailable
	case live < m.wantedCopies():
		return Degraded
	default:
		return Healthy
	}
}

// liveInSync counts the copies in sync that can be used now.
func (m *Map) liveInSync(p *Partition) int {
	live := 0
	for _, c := range p.InSync {
		if m.Present(c) {
			live++
		}
	}
	return live
}

// wantedCopies is how many copies of each partition there are to be.
func (m *Map) wantedCopies() int { return min(m.Config.ReplicationFactor, len(m.Nodes)) }
