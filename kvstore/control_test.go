package kvstore_test

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

var errLost = errors.New("the compare-and-set has failed")

// control is a control plane in memory: one map that changes by
// compare-and-set.
type control struct {
	mu      sync.Mutex
	m       *clusterkit.Map
	changed chan struct{}
	// keeps: no member leaves an in-sync set for being silent, however slow the
	// machine is.
	keeps atomic.Bool
}

// newControl returns a control plane in which every node has a copy of each
// partition, the primaries taking turns.
func newControl(partitions int, ids ...string) *control {
	c := &control{changed: make(chan struct{})}
	m := &clusterkit.Map{
		Version: 1, ClusterUUID: "5d7e1c1e",
		Config: clusterkit.Config{PartitionCount: partitions, ReplicationFactor: len(ids), MinInSync: min(2, len(ids)), Hash: clusterkit.HashCRC16Slots},
	}
	for _, id := range ids {
		m.Nodes = append(m.Nodes, clusterkit.Node{ID: id, Store: "disk-" + id, Alive: true})
	}
	slices.SortFunc(m.Nodes, func(a, b clusterkit.Node) int { return strings.Compare(a.ID, b.ID) })
	for i := range partitions {
		p := clusterkit.Partition{ID: "partition-" + string(rune('0'+i)), Index: i, Epoch: 1, Version: 1, Primary: ids[i%len(ids)]}
		for _, id := range ids {
			p.Members = append(p.Members, memberOn(id, 1))
		}
		p.InSync = p.Members
		m.Partitions = append(m.Partitions, p)
	}
	c.m = m
	return c
}

func memberOn(id string, incarnation uint64) clusterkit.Member {
	return clusterkit.Member{Node: id, Store: "disk-" + id, Incarnation: incarnation}
}

func (c *control) current() (*clusterkit.Map, <-chan struct{}) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.m, c.changed
}

// change publishes the next map, unless f reports an error.
func (c *control) change(f func(*clusterkit.Map) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	next := *c.m
	next.Version++
	next.Nodes = slices.Clone(c.m.Nodes)
	next.Partitions = slices.Clone(c.m.Partitions)
	if err := f(&next); err != nil {
		return err
	}
	c.m = &next
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// update changes the map for certain.
func (c *control) update(f func(*clusterkit.Map)) {
	_ = c.change(func(m *clusterkit.Map) error {
		f(m)
		return nil
	})
}

// updatePartitions changes every partition for which f returns true.
func (c *control) updatePartitions(f func(*clusterkit.Partition) bool) {
	c.update(func(m *clusterkit.Map) {
		for i := range m.Partitions {
			if f(&m.Partitions[i]) {
				m.Partitions[i].Version++
			}
		}
	})
}

// open opens a session of a node that is reached at addr.
func (c *control) open(id, addr string, incarnation uint64) {
	c.update(func(m *clusterkit.Map) {
		n := m.Node(id)
		n.IP, n.Alive, n.Incarnation = addr, true, incarnation
	})
}

// depose ends a node's session and elects others in its place.
func (c *control) depose(id string) {
	c.update(func(m *clusterkit.Map) {
		m.Node(id).Alive = false
		for i := range m.Partitions {
			p := &m.Partitions[i]
			if p.Primary != id {
				continue
			}
			for _, member := range p.InSync {
				if m.Present(member) {
					p.Primary, p.Epoch, p.Version = member.Node, p.Epoch+1, p.Version+1
					break
				}
			}
		}
	})
}

// elect opens a new epoch of every partition under the in-sync node id.
func (c *control) elect(id string) {
	c.updatePartitions(func(p *clusterkit.Partition) bool {
		p.Primary, p.Epoch = id, p.Epoch+1
		return true
	})
}

// handle is a node's access to the control plane; it implements
// kvstore.Cluster.
type handle struct {
	*control
	id      string
	session atomic.Uint64 // the incarnation of the process
	expired atomic.Bool   // the lease has run out
	frozen  atomic.Pointer[clusterkit.Map]
	looked  atomic.Int64
	past    []*clusterkit.Map // shown before the present one
	hooks   hooks
}

func (h *handle) Map() *clusterkit.Map {
	h.looked.Add(1)
	if m := h.frozen.Load(); m != nil {
		return m
	}
	m, _ := h.current()
	return m
}

func (h *handle) Watch(ctx context.Context) <-chan *clusterkit.Map {
	maps := make(chan *clusterkit.Map)
	go func() {
		defer close(maps)
		for _, m := range h.past {
			select {
			case maps <- m:
			case <-ctx.Done():
				return
			}
		}
		for {
			m, changed := h.current()
			if h.frozen.Load() == nil {
				select {
				case maps <- m:
				case <-ctx.Done():
					return
				}
			}
			select {
			case <-changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return maps
}

func (h *handle) PartitionIndex(key []byte) (int, error) {
	m, _ := h.current()
	return clusterkit.Slot(string(key)) * len(m.Partitions) / clusterkit.MaxPartitions, nil
}

func (h *handle) Self() clusterkit.Node {
	return clusterkit.Node{ID: h.id, Store: "disk-" + h.id, Incarnation: h.session.Load()}
}

func (h *handle) HoldsLease() bool { return !h.expired.Load() }

func (h *handle) ProposeInSync(_ context.Context, change clusterkit.InSyncChange) error {
	return h.change(func(m *clusterkit.Map) error {
		p := &m.Partitions[change.Partition]
		if p.Epoch != change.Epoch || p.Version != change.Version || h.keeps.Load() && len(change.InSync) < len(p.InSync) {
			return errLost
		}
		p.InSync, p.Version = change.InSync, p.Version+1
		return nil
	})
}

func (h *handle) Transfer(_ context.Context, t clusterkit.TransferRequest) error {
	return h.change(func(m *clusterkit.Map) error {
		p := &m.Partitions[t.Partition]
		if p.Epoch != t.Epoch || p.Primary != t.From {
			return errLost
		}
		p.Primary, p.Epoch, p.Version = t.To, p.Epoch+1, p.Version+1
		return nil
	})
}

func (h *handle) CopyAnew(_ context.Context, req clusterkit.CopyAnewRequest) error {
	return h.change(func(m *clusterkit.Map) error {
		p := &m.Partitions[req.Partition]
		others := slices.DeleteFunc(slices.Clone(p.InSync), func(c clusterkit.Member) bool { return c == req.Member || !m.Present(c) })
		if p.Epoch != req.Epoch || !slices.Contains(p.Members, req.Member) || len(others) == 0 {
			return errLost
		}
		p.Version++
		p.Members = slices.Clone(p.Members)
		p.Members[slices.Index(p.Members, req.Member)].Incarnation = p.Version
		p.InSync = slices.DeleteFunc(slices.Clone(p.InSync), func(c clusterkit.Member) bool { return c == req.Member })
		if p.Primary == req.Member.Node {
			p.Primary, p.Epoch = others[0].Node, p.Epoch+1
		}
		return nil
	})
}

func (h *handle) SetMetadata(_ context.Context, key, value string) error {
	return h.change(func(m *clusterkit.Map) error {
		m.Metadata = maps.Clone(m.Metadata)
		if m.Metadata == nil {
			m.Metadata = map[string]string{}
		}
		m.Metadata[key] = value
		return nil
	})
}

func (h *handle) DeleteMetadata(_ context.Context, key string) error {
	return h.change(func(m *clusterkit.Map) error {
		m.Metadata = maps.Clone(m.Metadata)
		delete(m.Metadata, key)
		return nil
	})
}
