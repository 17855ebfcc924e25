package main

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// cache is what one node has and does.
type cache struct {
	ck        *clusterkit.ClusterKit
	transport http.RoundTripper

	mu     sync.Mutex
	copies map[int]*replica
	// seq numbers the values that this node has written.
	seq uint64
}

// replica is this node's copy of a partition.
type replica struct {
	member clusterkit.Member
	values map[string]value
}

// value is what a key has; Data is nil if it was deleted. Of two values the one of
// the later epoch counts, and of one epoch, which has one primary, that of the
// higher number: so it does not matter in which order they arrive, nor how often.
type value struct {
	Epoch, Seq uint64
	Data       []byte
}

// update is what a primary sends to another copy.
type update struct {
	Partition int
	To        clusterkit.Member
	Epoch     uint64
	Values    map[string]value
}

var (
	// errRefused is definite: nothing was changed.
	errRefused = errors.New("not the primary, or too few copies: try again")
	// errUnknown says that a change may have been made, or may yet be.
	errUnknown = errors.New("the outcome is not known")
)

// newCache makes the cache of a node that is not started yet.
func newCache(ck *clusterkit.ClusterKit, transport http.RoundTripper) *cache {
	c := &cache{ck: ck, transport: transport, copies: make(map[int]*replica)}
	ck.HandlePartitionChange(c.copyPartition)
	return c
}

func (c *cache) partition(i int) *clusterkit.Partition { return &c.ck.Map().Partitions[i] }

// leads returns the epoch in which this node is the primary, and false if it is
// not, or if another can be the primary of a later one.
func (c *cache) leads(i int) (epoch uint64, ok bool) {
	p := c.partition(i)
	return p.Epoch, p.Primary == c.ck.GetMyNodeID() && c.ck.IsPrimary(p) && c.partition(i).Epoch == p.Epoch
}

// own returns the values of this very copy on this node; nil if it was assigned
// anew since. An assignment begins with nothing of what was there before. The
// lock is held.
func (c *cache) own(i int, member clusterkit.Member) map[string]value {
	if r := c.copies[i]; r == nil || r.member.Incarnation < member.Incarnation {
		c.copies[i] = &replica{member: member, values: make(map[string]value)}
	}
	if r := c.copies[i]; r.member == member && member.Store == c.ck.StoreID() {
		return r.values
	}
	return nil
}

// read returns the value of the key, nil if it has none. Its error is errRefused.
func (c *cache) read(ctx context.Context, i int, key string) ([]byte, error) {
	epoch, ok := c.leads(i)
	if !ok {
		return nil, errRefused
	}
	member, _ := c.partition(i).MemberOf(c.ck.GetMyNodeID())
	c.mu.Lock()
	v := c.own(i, member)[key]
	c.mu.Unlock()
	if v.Epoch != 0 && v.Epoch < epoch {
		// The primary before may have died over it, so that not all copies have
		// it. It counts less than whatever is written in this epoch.
		if c.replicate(ctx, i, key, value{Epoch: epoch, Data: v.Data}) != nil {
			return nil, errRefused
		}
	}
	// While the lease holds, nobody else has changed what was taken before.
	if now, ok := c.leads(i); !ok || now != epoch {
		return nil, errRefused
	}
	return v.Data, nil
}

// write changes the value of the key; nil deletes it.
func (c *cache) write(ctx context.Context, i int, key string, data []byte) error {
	epoch, ok := c.leads(i)
	if !ok || len(c.partition(i).InSync) < c.ck.Map().Config.MinInSync {
		return errRefused
	}
	c.mu.Lock()
	c.seq++
	v := value{Epoch: epoch, Seq: c.seq, Data: data}
	c.mu.Unlock()
	return c.replicate(ctx, i, key, v)
}

// replicate returns nil when all copies have the value, this one last, so that
// nobody has read it before; else errUnknown. A copy that does not answer is
// waited for until the cluster has taken it out.
func (c *cache) replicate(ctx context.Context, i int, key string, v value) error {
	u := update{Partition: i, Epoch: v.Epoch, Values: map[string]value{key: v}}
	taken := make(map[clusterkit.Member]bool)
	for ctx.Err() == nil && c.partition(i).Epoch == v.Epoch {
		for to, node := range c.missing(i, taken) {
			u.To = to
			sending, cancel := context.WithTimeout(ctx, time.Second)
			taken[to] = c.call(sending, node, "/replica", u, new(any)) == nil
			cancel()
		}
		if c.complete(u, taken) {
			return nil
		}
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
		}
	}
	return errUnknown
}

// complete takes the values if no other copy misses them, and reports that. A
// copy that begins to be made at the same time is either given them or missing.
func (c *cache) complete(u update, taken map[clusterkit.Member]bool) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.partition(u.Partition)
	member, _ := p.MemberOf(c.ck.GetMyNodeID())
	values := c.own(u.Partition, member)
	complete := values != nil && p.Epoch == u.Epoch && len(p.InSync) >= c.ck.Map().Config.MinInSync && len(c.missing(u.Partition, taken)) == 0
	if complete {
		merge(values, u.Values)
	}
	return complete
}

// missing returns the other copies that are in sync, or are going to be, and have
// not taken something yet.
func (c *cache) missing(i int, taken map[clusterkit.Member]bool) map[clusterkit.Member]*clusterkit.Node {
	m := c.ck.Map()
	p := &m.Partitions[i]
	missing := make(map[clusterkit.Member]*clusterkit.Node)
	for _, member := range p.Members {
		if !taken[member] && member.Node != c.ck.GetMyNodeID() && (m.Present(member) || p.IsInSync(member)) {
			missing[member] = m.Node(member.Node)
		}
	}
	return missing
}

// take has this node's copy take what its primary sends. One that was replaced is
// refused, and so cannot acknowledge anything any more.
func (c *cache) take(u update) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	values := c.own(u.Partition, u.To)
	ok := values != nil && c.partition(u.Partition).Epoch <= u.Epoch
	if ok {
		merge(values, u.Values)
	}
	return nil, ok
}

// give returns what a copy that is being made needs. Only the primary gives: what
// it completes from then on, that copy has taken as well.
func (c *cache) give(change clusterkit.PartitionChange) (any, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	i, m := change.Index, c.ck.Map()
	member, _ := m.Partitions[i].MemberOf(c.ck.GetMyNodeID())
	values := maps.Clone(c.own(i, member))
	_, ok := c.leads(i)
	return values, ok && values != nil && m.Partitions[i].IsMember(change.Member) && m.Present(change.Member)
}

// copyPartition is the hook.
func (c *cache) copyPartition(ctx context.Context, change clusterkit.PartitionChange) error {
	if change.CopyTo.ID != c.ck.GetMyNodeID() || change.CopyFrom == nil {
		return nil
	}
	var values map[string]value
	if err := c.call(ctx, change.CopyFrom, "/copy", change, &values); err != nil {
		return err // to be called again
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if to := c.own(change.Index, change.Member); to != nil {
		merge(to, values)
	}
	return nil
}

// merge takes the values that count more than what is there.
func merge(to, values map[string]value) {
	for key, v := range values {
		if have := to[key]; v.Epoch > have.Epoch || v.Epoch == have.Epoch && v.Seq > have.Seq {
			to[key] = v
		}
	}
}
