package kvstore

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// has reports whether the cache keeps a key, without asking for it.
func (c *cache) has(owner uint64, key string) bool {
	s, h := c.place(owner, maphash.String(c.seed, key))
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := s.items[h]
	return kept != nil && kept.owner == owner && kept.key == key
}

// The cache has what was put last or has replaced that, or nothing; and it keeps
// to its size.
func TestCacheForgetsButNeverLies(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		const limit = 4 * (cachedOverhead + 10)
		c := newCache(cacheShards * limit)
		type place struct {
			owner uint64
			key   string
		}
		put := map[place]string{}
		draw := func(t *rapid.T) place {
			return place{rapid.Uint64Range(1, 2).Draw(t, "owner"), fmt.Sprint(rapid.IntRange(0, 39).Draw(t, "key"))}
		}
		drawData := func(t *rapid.T) string {
			length := rapid.OneOf(rapid.IntRange(0, limit/2), rapid.IntRange(0, 2*limit)).Draw(t, "length")
			return strings.Repeat(rapid.StringMatching("[a-z]").Draw(t, "letter"), length)
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				at, data := draw(t), drawData(t)
				c.put(at.owner, []byte(at.key), command.Item{Found: true, Data: []byte(data)})
				put[at] = data
			},
			"update": func(t *rapid.T) {
				at, data := draw(t), drawData(t)
				had := c.has(at.owner, at.key)
				memory := []byte(data)
				c.update(at.owner, at.key, command.Item{Found: true, Data: memory})
				clear(memory)
				if !had && c.has(at.owner, at.key) {
					t.Fatalf("update(%v) has brought the key in", at)
				}
				if had {
					put[at] = data
				}
			},
			"get": func(t *rapid.T) {
				at := draw(t)
				want, known := put[at]
				if got, ok := c.get(at.owner, []byte(at.key)); ok && (!known || string(got.Data) != want) {
					t.Fatalf("get(%v) = %q, want %q (put: %v)", at, got.Data, want, known)
				}
			},
			"": func(t *rapid.T) {
				for i := range c.shards {
					s := &c.shards[i]
					size := 0
					for j, kept := range s.ring {
						if size += kept.size(); kept.place != j || s.items[kept.hash] != kept {
							t.Fatalf("shard %d has %q at %d, in its place %d", i, kept.key, j, kept.place)
						}
					}
					if size != s.size || size > limit || len(s.items) != len(s.ring) {
						t.Fatalf("shard %d has %d bytes in %d items, says %d in %d, may have %d", i, size, len(s.ring), s.size, len(s.items), limit)
					}
				}
			},
		})
	})
}

func TestCacheSparesWhatIsAskedFor(t *testing.T) {
	c := newCache(cacheShards * 8 * (cachedOverhead + 1))
	hot := []byte("h")
	c.put(1, hot, command.Item{Found: true})
	for i := range 1000 {
		if _, ok := c.get(1, hot); !ok {
			t.Fatalf("it was forgotten after %d others", i)
		}
		c.put(1, fmt.Append(nil, i%10), command.Item{})
		c.put(2, fmt.Append(nil, i), command.Item{})
	}
}

// Whatever is committed, stored and pruned while reads are on their way through
// overlay, cache and storage: each returns a state that was the newest one at
// some time since it began, and what a batch was evaluated with is the newest
// one when the overlay says so. A key that is kept stays so when it is written,
// and one that is not stays out.
func TestReadsThroughTheCache(t *testing.T) {
	keys := []string{"a", "b"}
	rapid.Check(t, func(t *rapid.T) {
		// read is one of a value, or one that loads what a batch needs, which
		// does not look into the overlay before.
		type read struct {
			key    string
			loads  bool
			pruned uint64
			since  int // the state in the history that was the newest when it began
			before uint64
			item   command.Item
			next   int
		}
		var (
			c       = newCache(1 << 20)
			o       = overlay{cache: c, owner: c.owner()}
			history = map[string][]command.Item{}
			log     [][]op.Op // by LSN, from 1
			applied int
			pruned  int
			storage = map[string]command.Item{}
			reads   []*read
		)
		for _, key := range keys {
			history[key] = []command.Item{{}}
		}
		newest := func(key string) command.Item { return history[key][len(history[key])-1] }
		same := func(a, b command.Item) bool {
			return a.Found == b.Found && a.Version == b.Version && a.Expires == b.Expires && string(a.Data) == string(b.Data)
		}
		key := func(t *rapid.T) string { return rapid.SampledFrom(keys).Draw(t, "key") }
		// write makes the next entry of the log, and the states of its keys.
		write := func(t *rapid.T) partition.Position {
			at := partition.Position{Epoch: 1, LSN: uint64(len(log) + 1)}
			var ops []op.Op
			for range rapid.IntRange(1, 3).Draw(t, "operations") {
				w := op.Op{Kind: op.Delete, Key: []byte(key(t))}
				if rapid.Bool().Draw(t, "set") {
					w.Kind, w.Value = op.Set, rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "value")
					w.Expires = rapid.Uint64Max(2).Draw(t, "expires")
				}
				ops = append(ops, w)
			}
			log = append(log, ops)
			last := map[string]command.Item{} // no state between two of an entry is ever there
			for _, w := range ops {
				last[string(w.Key)] = command.ItemOf(w, command.Position(at))
			}
			for key, item := range last {
				history[key] = append(history[key], item)
			}
			return at
		}
		store := func(through int) {
			for ; applied < through; applied++ {
				for _, w := range log[applied] {
					storage[string(w.Key)] = command.ItemOf(w, command.Position{Epoch: 1, LSN: uint64(applied + 1)})
				}
			}
		}
		prune := func(through int) {
			var kept []bool
			for _, key := range keys {
				kept = append(kept, c.has(o.owner, key))
			}
			pruned = through
			o.prune(uint64(through))
			for i, key := range keys {
				if c.has(o.owner, key) != kept[i] {
					t.Fatalf("%s was kept before %d was pruned: %v, now: %v", key, through, kept[i], !kept[i])
				}
			}
		}
		finish := func(r *read) {
			if r.loads {
				l := loaded{overlay: &o, pruned: r.pruned, items: map[string]command.Item{r.key: r.item}}
				if got, err := l.Item([]byte(r.key)); err == nil && !same(got, newest(r.key)) {
					t.Fatalf("%s was loaded as %+v, is %+v", r.key, got, newest(r.key))
				}
				return
			}
			if states := history[r.key][r.since:]; !slices.ContainsFunc(states, func(i command.Item) bool { return same(i, r.item) }) {
				t.Fatalf("%s was read as %+v, has been %+v since", r.key, r.item, states)
			}
		}
		begin := func(key string, loads bool) *read {
			return &read{key: key, loads: loads, pruned: o.pruned(), since: len(history[key]) - 1}
		}
		// step goes on with a read, and reports whether it has ended.
		step := func(r *read) bool {
			ok := false
			switch r.next++; r.next {
			case 1:
				if !r.loads {
					r.item, ok = o.item([]byte(r.key))
				}
			case 2:
				r.item, ok, r.before = o.cached([]byte(r.key))
			case 3:
				r.item = storage[r.key]
			case 4:
				o.keep([]byte(r.key), r.item, r.before)
				ok = true
			}
			if ok {
				finish(r)
			}
			return ok
		}
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				at := write(t)
				o.add(at, log[at.LSN-1])
			},
			"store": func(t *rapid.T) {
				store(rapid.IntRange(applied, len(log)).Draw(t, "through"))
			},
			"prune": func(t *rapid.T) {
				prune(rapid.IntRange(pruned, applied).Draw(t, "through"))
			},
			"store and prune": func(*rapid.T) {
				store(len(log))
				prune(len(log))
			},
			"install a snapshot": func(t *rapid.T) {
				for range rapid.IntRange(0, 2).Draw(t, "entries that were not here") {
					write(t)
				}
				store(len(log))
				pruned = len(log)
				o.clear()
				if c.has(o.owner, keys[0]) || c.has(o.owner, keys[1]) {
					t.Fatal("something of before is kept")
				}
			},
			"read": func(t *rapid.T) {
				for r := begin(key(t), rapid.Bool().Draw(t, "loads")); !step(r); {
				}
			},
			"begin a read": func(t *rapid.T) {
				reads = append(reads, begin(key(t), rapid.Bool().Draw(t, "loads")))
			},
			"go on with a read": func(t *rapid.T) {
				if len(reads) == 0 {
					t.Skip("there is none")
				}
				i := rapid.IntRange(0, len(reads)-1).Draw(t, "read")
				if step(reads[i]) {
					reads = slices.Delete(reads, i, i+1)
				}
			},
			"": func(t *rapid.T) {
				for _, key := range keys {
					if _, ok := o.item([]byte(key)); ok {
						continue
					}
					if got, ok, _ := o.cached([]byte(key)); ok && !same(got, newest(key)) {
						t.Fatalf("%s is cached as %+v, want %+v", key, got, newest(key))
					}
				}
			},
		})
	})
}

// Readers at the same time as commits, prunes and evictions never get what was
// overwritten before they began. Every fifth write of a key deletes it; the
// others say by their expiry which one they are.
func TestReadersBesidePrunes(t *testing.T) {
	const (
		writes  = 30_000
		deletes = 5
	)
	type register struct {
		key             []byte
		begun, answered atomic.Uint64
	}
	registers := []*register{{key: []byte("a")}, {key: []byte("b")}, {key: []byte("c")}}
	var (
		c       = newCache(cacheShards * (cachedOverhead + 8))
		o       = overlay{cache: c, owner: c.owner()}
		others  = c.owner()
		storage sync.Map
		over    atomic.Bool
		cached  atomic.Uint64
		wg      sync.WaitGroup
	)
	type entry struct {
		at  partition.Position
		ops []op.Op
	}
	log := make(chan entry, 8)
	wg.Go(func() {
		defer close(log)
		for i := range uint64(writes) {
			r := registers[i/2%uint64(len(registers))]
			n := r.begun.Add(1)
			w := op.Op{Kind: op.Set, Key: r.key, Value: []byte("v"), Expires: n}
			if n%deletes == 0 {
				w = op.Op{Kind: op.Delete, Key: r.key}
			}
			e := entry{partition.Position{Epoch: 1, LSN: i + 1}, []op.Op{w}}
			o.add(e.at, e.ops)
			r.answered.Store(n)
			log <- e
			if seen := cached.Load(); i%8 == 0 {
				for cached.Load() < seen+4 && !t.Failed() {
					runtime.Gosched()
				}
			}
		}
	})
	wg.Go(func() {
		defer over.Store(true)
		for e := range log {
			for _, w := range e.ops {
				storage.Store(string(w.Key), command.ItemOf(w, command.Position(e.at)))
			}
			if e.at.LSN%3 != 0 {
				o.prune(e.at.LSN)
			}
		}
	})
	read := func(key []byte) command.Item {
		if item, ok := o.item(key); ok {
			return item
		}
		item, ok, before := o.cached(key)
		if ok {
			cached.Add(1)
			return item
		}
		if stored, ok := storage.Load(string(key)); ok {
			item = stored.(command.Item)
		}
		runtime.Gosched() // a storage takes its time
		o.keep(key, item, before)
		return item
	}
	for range 3 {
		wg.Go(func() {
			for !over.Load() {
				runtime.Gosched()
				c.put(others, []byte{byte(rand.IntN(256))}, command.Item{})
				r := registers[rand.IntN(len(registers))]
				oldest := r.answered.Load()
				item := read(r.key)
				newest := r.begun.Load()
				right := newest/deletes*deletes >= oldest // a deletion is among them, or nothing was written
				if item.Found {
					right = item.Expires >= oldest && item.Expires <= newest
				}
				if !right {
					t.Errorf("%s was read as %+v between the writes %d and %d", r.key, item, oldest, newest)
					return
				}
			}
		})
	}
	wg.Wait()
}
