package kvstore

import (
	"slices"
	"strings"
	"sync"

	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// overlay holds what is committed and not yet in the storage. A reader looks
// here first and then into the storage: what has left the overlay in between
// is there.
type overlay struct {
	mu   sync.RWMutex
	keys map[string]overlaid
	// order are the writes in the order of their commits, for prune.
	order []overlaidKey
	// prunes counts how often anything was forgotten.
	prunes uint64

	// cache has states of keys that the overlay lacks, under the number owner, if
	// caches is true; it may be nil.
	cache  *cache
	owner  uint64
	caches bool
}

type overlaid struct {
	op op.Op
	at partition.Position
}

func (v overlaid) item() command.Item { return command.ItemOf(v.op, command.Position(v.at)) }

type overlaidKey struct {
	lsn uint64
	key string
}

// add puts the operations of one committed entry over what is there.
func (o *overlay) add(at partition.Position, ops []op.Op) {
	if len(ops) == 0 {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.keys == nil {
		o.keys = map[string]overlaid{}
	}
	for _, w := range ops {
		key := string(w.Key)
		o.keys[key] = overlaid{w, at}
		o.order = append(o.order, overlaidKey{at.LSN, key})
	}
}

// item returns the state of a key, and false if the overlay does not know it.
func (o *overlay) item(key []byte) (command.Item, bool) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	v, ok := o.keys[string(key)]
	if !ok {
		return command.Item{}, false
	}
	return v.item(), true
}

// over is what an overlay has of the keys with a prefix.
type over struct {
	items []overItem // in order of their keys
	bytes int
	// pruned is what [overlay.pruned] returned then.
	pruned uint64
}

type overItem struct {
	key  string
	item command.Item
}

// under returns what the overlay has of the keys with the prefix.
func (o *overlay) under(prefix string) over {
	o.mu.RLock()
	all := over{pruned: o.prunes}
	for key, v := range o.keys {
		if strings.HasPrefix(key, prefix) {
			all.items = append(all.items, overItem{key, v.item()})
			all.bytes += len(key) + len(v.op.Value)
		}
	}
	o.mu.RUnlock()
	slices.SortFunc(all.items, func(a, b overItem) int { return strings.Compare(a.key, b.key) })
	return all
}

// cached returns the state of a key that the overlay lacks, if it is known, and
// what [overlay.keep] has to be told of the time before the storage was asked.
func (o *overlay) cached(key []byte) (item command.Item, ok bool, before uint64) {
	o.mu.RLock()
	defer o.mu.RUnlock()
	if o.caches {
		item, ok = o.cache.get(o.owner, key)
	}
	return item, ok, o.prunes
}

// keep keeps the state that a key has in the storage, unless it may have
// changed.
func (o *overlay) keep(key []byte, item command.Item, before uint64) {
	if o.cache == nil {
		return
	}
	o.mu.RLock()
	known := o.caches
	if known && o.prunes == before {
		o.cache.put(o.owner, key, item)
	}
	o.mu.RUnlock()
	if !known {
		o.mu.Lock()
		o.caches = true
		o.mu.Unlock()
	}
}

// pruned changes whenever the overlay has forgotten something.
func (o *overlay) pruned() uint64 {
	o.mu.RLock()
	defer o.mu.RUnlock()
	return o.prunes
}

// prune forgets what the storage holds: everything through lsn. If the cache has
// a key that is forgotten, it gets the state that the overlay had. No older one
// can come after it: what was read from the storage before is not kept any more.
//
// A key that has been written again above lsn stays here, and the cache may have
// an older state of it. Who looks here first gets that only if the key was not
// here, and then it was the newest state or came later; who looks here
// afterwards finds the key, or that something was pruned.
func (o *overlay) prune(lsn uint64) {
	for o.pruneSome(lsn) {
	}
}

// prunedAtOnce is how many writes are forgotten while readers wait.
const prunedAtOnce = 1 << 10

// pruneSome forgets the first of the writes through lsn, and reports whether there
// may be more.
func (o *overlay) pruneSome(lsn uint64) (more bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.prunes++
	n := 0
	for ; n < min(len(o.order), prunedAtOnce) && o.order[n].lsn <= lsn; n++ {
		k := o.order[n]
		v := o.keys[k.key]
		if v.at.LSN != k.lsn {
			continue
		}
		if o.caches {
			o.cache.update(o.owner, k.key, v.item())
		}
		delete(o.keys, k.key)
	}
	if o.order = o.order[n:]; len(o.order) == 0 {
		o.order = nil
	}
	return n == prunedAtOnce
}

// clear forgets everything: the storage holds something newer.
func (o *overlay) clear() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.prunes++
	o.keys, o.order = nil, nil
	if o.cache != nil {
		o.owner, o.caches = o.cache.owner(), false
	}
}
