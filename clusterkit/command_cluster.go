package clusterkit

import (
	"maps"
	"slices"
)

// pauseCommand pauses or resumes the moves of copies.
type pauseCommand struct {
	Paused bool `json:"paused"`
}

func (pauseCommand) kind() commandKind { return kindPause }

func (c pauseCommand) apply(m *Map, _ uint64) (*Map, result) {
	if m == nil {
		return m, refuse(codeNoCluster, "")
	}
	e := newEdit(m)
	e.pause(c.Paused)
	return e.result(), result{}
}

// cancelCommand pauses the moves and takes back those of some partitions: what
// is complete stays, as the plan, and what is being copied is given up.
type cancelCommand struct {
	// Partitions are all if empty.
	Partitions []int `json:"partitions,omitempty"`
}

func (cancelCommand) kind() commandKind { return kindCancel }

func (c cancelCommand) apply(m *Map, _ uint64) (*Map, result) {
	if m == nil {
		return m, refuse(codeNoCluster, "")
	}
	for _, i := range c.Partitions {
		if i < 0 || i >= len(m.Partitions) {
			return m, refuse(codeNoPartition, "%d: they are 0 to %d", i, len(m.Partitions)-1)
		}
	}
	e := newEdit(m)
	e.pause(true)
	for i := range m.Partitions {
		if len(c.Partitions) == 0 || slices.Contains(c.Partitions, i) {
			e.cancelMoves(i)
		}
	}
	return e.result(), result{}
}

// cancelMoves keeps as many complete copies as there are to be, those that the
// plan wanted first, and releases what is not complete and was not wanted
// before it.
func (e *edit) cancelMoves(i int) {
	p := &e.partitions[i]
	if !p.assigned() || p.Primary == "" || p.settled(e.base) {
		return
	}
	replicas := e.base.Config.ReplicationFactor
	keep := []string{p.Primary}
	add := func(id string) {
		if len(keep) < replicas && !slices.Contains(keep, id) {
			keep = append(keep, id)
		}
	}
	for _, id := range p.Desired {
		if c, ok := p.MemberOf(id); ok && p.IsInSync(c) {
			add(id)
		}
	}
	for _, c := range p.InSync {
		add(c.Node)
	}
	// With fewer complete copies than wanted, the others go on.
	for _, id := range p.Desired {
		add(id)
	}
	var members []Member
	for _, c := range p.Members {
		if p.IsInSync(c) || slices.Contains(keep, c.Node) {
			members = append(members, c)
		}
	}
	if slices.Equal(keep, p.Desired) && len(members) == len(p.Members) {
		return
	}
	p = e.partition(i)
	p.Desired = keep
	if len(members) < len(p.Members) {
		touch(p, "move cancelled")
		p.Members = members
	}
}

// replicationCommand changes the replication factor.
type replicationCommand struct {
	ReplicationFactor int `json:"replication_factor"`
}

func (replicationCommand) kind() commandKind { return kindReplication }

func (c replicationCommand) apply(m *Map, _ uint64) (*Map, result) {
	if m == nil {
		return m, refuse(codeNoCluster, "")
	}
	config := m.Config
	config.ReplicationFactor = c.ReplicationFactor
	if _, err := config.withDefaults(); err != nil || c.ReplicationFactor == 0 {
		return m, refuse(codeBadRequest, "a replication factor of %d is out of range: use %d, the number of copies that must be in sync, to %d", c.ReplicationFactor, m.Config.MinInSync, maxReplicationFactor)
	}
	if nodes := m.placeable(""); nodes < c.ReplicationFactor && c.ReplicationFactor > m.Config.ReplicationFactor {
		return m, refuse(codeRefusedChange, "%d copies of each partition need as many nodes that are up and not drained, there are %d: add nodes first", c.ReplicationFactor, nodes)
	}
	e := newEdit(m)
	e.setConfig(config)
	return e.result(), result{}
}

// Bounds of the metadata.
const (
	maxMetadataEntries = 64
	maxMetadataKey     = 128
	maxMetadataValue   = 4 << 10
)

// metadataCommand sets or deletes one entry of the application's metadata.
type metadataCommand struct {
	Key    string `json:"key"`
	Value  string `json:"value,omitempty"`
	Delete bool   `json:"delete,omitempty"`
}

func (metadataCommand) kind() commandKind { return kindMetadata }

func (c metadataCommand) apply(m *Map, _ uint64) (*Map, result) {
	old, exists := "", false
	if m != nil {
		old, exists = m.Metadata[c.Key]
	}
	switch {
	case m == nil:
		return m, refuse(codeNoCluster, "")
	case c.Key == "" || len(c.Key) > maxMetadataKey:
		return m, refuse(codeBadRequest, "a metadata key has 1 to %d bytes, not %d", maxMetadataKey, len(c.Key))
	case len(c.Value) > maxMetadataValue:
		return m, refuse(codeBadRequest, "a metadata value has at most %d bytes, not %d: keep the data elsewhere and its address here", maxMetadataValue, len(c.Value))
	case c.Delete && !exists, !c.Delete && exists && old == c.Value:
		return m, result{}
	case !c.Delete && !exists && len(m.Metadata) >= maxMetadataEntries:
		return m, refuse(codeRefusedChange, "there are %d metadata entries, the most there can be: delete one first", len(m.Metadata))
	}
	metadata := maps.Clone(m.Metadata)
	if metadata == nil {
		metadata = make(map[string]string)
	}
	if c.Delete {
		delete(metadata, c.Key)
	} else {
		metadata[c.Key] = c.Value
	}
	e := newEdit(m)
	e.setMetadata(metadata)
	return e.result(), result{}
}
