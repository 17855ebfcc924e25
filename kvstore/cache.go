package kvstore

import (
	"bytes"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/skshohagmiah/clusterkit/kvstore/command"
)

// cache keeps the states of keys that were read from the storage, for all
// replicas of a node. Of a key that its overlay lacks it has what was committed
// last, or nothing: an overlay updates it before it lets go of a newer state.
type cache struct {
	seed   maphash.Seed
	owners atomic.Uint64
	shards [cacheShards]cacheShard
}

const (
	cacheShards = 16
	// cachedOverhead is what an item takes beside its key and data.
	cachedOverhead = 192
)

// cacheShard evicts by the clock algorithm: what was asked for since the hand
// came by last is spared once.
type cacheShard struct {
	mu    sync.Mutex
	items map[uint64]*cachedItem // by hash; a collision evicts
	ring  []*cachedItem
	hand  int
	// size is what the items take, at most limit.
	size, limit int
}

type cachedItem struct {
	owner, hash uint64
	key         string
	item        command.Item
	place       int // in the ring
	asked       bool
}

func (c *cachedItem) size() int { return len(c.key) + len(c.item.Data) + cachedOverhead }

func newCache(bytes int) *cache {
	c := &cache{seed: maphash.MakeSeed()}
	for i := range c.shards {
		c.shards[i] = cacheShard{items: map[uint64]*cachedItem{}, limit: bytes / cacheShards}
	}
	return c
}

// owner returns a number under which nothing is kept yet. Items of owners that
// are used no more are evicted like any that nobody asks for.
func (c *cache) owner() uint64 { return c.owners.Add(1) }

// place returns where what an owner keeps of a key belongs, by the key's hash.
func (c *cache) place(owner, hash uint64) (*cacheShard, uint64) {
	hash ^= owner * 0x9e3779b97f4a7c15
	return &c.shards[hash%cacheShards], hash
}

// get returns the state of a key, if it is kept.
func (c *cache) get(owner uint64, key []byte) (command.Item, bool) {
	s, h := c.place(owner, maphash.Bytes(c.seed, key))
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.items[h]
	if kept == nil || kept.owner != owner || kept.key != string(key) {
		return command.Item{}, false
	}
	kept.asked = true
	return kept.item, true
}

// put keeps the state of a key.
func (c *cache) put(owner uint64, key []byte, item command.Item) {
	s, h := c.place(owner, maphash.Bytes(c.seed, key))
	next := &cachedItem{owner: owner, hash: h, key: string(key), item: item}
	s.mu.Lock()
	defer s.mu.Unlock()
	if before := s.items[h]; before != nil {
		s.remove(before)
	}
	if next.size() > s.limit {
		return
	}
	for s.size+next.size() > s.limit {
		s.evict()
	}
	next.place = len(s.ring)
	s.ring = append(s.ring, next)
	s.items[h] = next
	s.size += next.size()
}

// update replaces the state of a key, if one is kept: what nobody reads takes no
// space. It copies the data, which may be a small part of an entry that would
// stay in memory as a whole.
func (c *cache) update(owner uint64, key string, item command.Item) {
	s, h := c.place(owner, maphash.String(c.seed, key))
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.items[h]
	if kept == nil || kept.owner != owner || kept.key != key {
		return
	}
	s.size -= kept.size()
	kept.item = item
	s.size += kept.size()
	if kept.size() > s.limit {
		s.remove(kept)
		return
	}
	kept.item.Data = bytes.Clone(item.Data)
	for s.size > s.limit {
		s.evict()
	}
}

// evict moves the hand on to an item that it does not spare.
func (s *cacheShard) evict() {
	for {
		if s.hand >= len(s.ring) {
			s.hand = 0
		}
		kept := s.ring[s.hand]
		if !kept.asked {
			s.remove(kept)
			return
		}
		kept.asked = false
		s.hand++
	}
}

func (s *cacheShard) remove(kept *cachedItem) {
	last := s.ring[len(s.ring)-1]
	s.ring[kept.place], last.place = last, kept.place
	s.ring[len(s.ring)-1] = nil
	s.ring = s.ring[:len(s.ring)-1]
	delete(s.items, kept.hash)
	s.size -= kept.size()
}
