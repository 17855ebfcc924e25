package kvstore

import (
	"fmt"
	"maps"
	"testing"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// The cache has what was put last and not dropped, or nothing; and it keeps to
// its size.
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
			return place{rapid.Uint64Range(1, 2).Draw(t, "owner"), fmt.Sprint(rapid.IntRange(0, 99).Draw(t, "key"))}
		}
		t.Repeat(map[string]func(*rapid.T){
			"put": func(t *rapid.T) {
				at, data := draw(t), rapid.StringN(0, -1, 2*limit).Draw(t, "data")
				c.put(at.owner, []byte(at.key), command.Item{Found: true, Data: []byte(data)})
				put[at] = data
			},
			"drop": func(t *rapid.T) {
				at := draw(t)
				c.drop(at.owner, at.key)
				delete(put, at)
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
// the storage: what the overlay and the cache say is what was committed last.
func TestReadsThroughTheCache(t *testing.T) {
	keys := []string{"a"}
	rapid.Check(t, func(t *rapid.T) {
		type read struct {
			key    string
			before uint64
			item   command.Item
			stored bool
		}
		var (
			c         = newCache(1 << 20)
			o         = overlay{cache: c, owner: c.owner()}
			committed = map[string]command.Item{}
			log       []op.Op // by LSN, from 1
			applied   int
			pruned    int
			storage   = map[string]command.Item{}
			reads     []*read
		)
		item := func(lsn int) command.Item {
			return command.ItemOf(log[lsn-1], command.Position{Epoch: 1, LSN: uint64(lsn)})
		}
		same := func(a, b command.Item) bool { return a.Found == b.Found && a.Version == b.Version }
		t.Repeat(map[string]func(*rapid.T){
			"commit": func(t *rapid.T) {
				w := op.Op{Kind: op.Set, Key: []byte(rapid.SampledFrom(keys).Draw(t, "key"))}
				if rapid.Bool().Draw(t, "delete") {
					w.Kind = op.Delete
				}
				log = append(log, w)
				o.add(partition.Position{Epoch: 1, LSN: uint64(len(log))}, log[len(log)-1:])
				committed[string(w.Key)] = item(len(log))
			},
			"store": func(t *rapid.T) {
				for n := rapid.IntRange(applied, len(log)).Draw(t, "through"); applied < n; {
					applied++
					storage[string(log[applied-1].Key)] = item(applied)
				}
			},
			"prune": func(t *rapid.T) {
				pruned = rapid.IntRange(pruned, applied).Draw(t, "through")
				o.prune(uint64(pruned))
			},
			"store and prune": func(*rapid.T) {
				for ; applied < len(log); applied++ {
					storage[string(log[applied].Key)] = item(applied + 1)
				}
				pruned = applied
				o.prune(uint64(pruned))
			},
			"install a snapshot": func(*rapid.T) {
				storage = maps.Clone(committed)
				applied, pruned = len(log), len(log)
				o.clear()
			},
			"read": func(t *rapid.T) {
				key := []byte(rapid.SampledFrom(keys).Draw(t, "key"))
				if _, ok := o.item(key); ok {
					return
				}
				if _, cached, before := o.cached(key); !cached {
					o.keep(key, storage[string(key)], before)
				}
			},
			"begin a read": func(t *rapid.T) {
				r := &read{key: rapid.SampledFrom(keys).Draw(t, "key")}
				if _, ok := o.item([]byte(r.key)); ok {
					return
				}
				var cached bool
				if r.item, cached, r.before = o.cached([]byte(r.key)); !cached {
					reads = append(reads, r)
				} else if !same(r.item, committed[r.key]) {
					t.Fatalf("%s is cached as %+v, want %+v", r.key, r.item, committed[r.key])
				}
			},
			"go on with a read": func(t *rapid.T) {
				if len(reads) == 0 {
					return
				}
				i := rapid.IntRange(0, len(reads)-1).Draw(t, "read")
				if r := reads[i]; !r.stored {
					r.item, r.stored = storage[r.key], true
				} else {
					o.keep([]byte(r.key), r.item, r.before)
					reads = append(reads[:i], reads[i+1:]...)
				}
			},
			"": func(t *rapid.T) {
				for _, key := range keys {
					if _, ok := o.item([]byte(key)); ok {
						continue
					}
					if got, ok, _ := o.cached([]byte(key)); ok && !same(got, committed[key]) {
						t.Fatalf("%s is cached as %+v, want %+v", key, got, committed[key])
					}
				}
			},
		})
	})
}
