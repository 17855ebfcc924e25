package storage

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/kvstore/op"
)

type modelPartition struct {
	position Position
	values   map[string]Value
}

// differs returns how the store differs from the model, or "".
func differs(s *Store, model map[uint32]*modelPartition) string {
	if got, want := len(s.Checkpoints()), len(model); got != want {
		return fmt.Sprintf("%d partitions have data, want %d", got, want)
	}
	for id, want := range model {
		snap, err := s.Snapshot(id)
		if err != nil {
			return err.Error()
		}
		items, err := readAll(snap)
		c := snap.Checkpoint()
		snap.Close()
		if err != nil {
			return err.Error()
		}
		if c.Position != want.position || c.Sum.Count != uint64(len(want.values)) {
			return fmt.Sprintf("partition %d is at %+v, want %v", id, c, want.position)
		}
		var keys []string
		for _, item := range items {
			keys = append(keys, string(item.Key))
			w := want.values[string(item.Key)]
			if string(item.Data) != string(w.Data) || item.Epoch != w.Epoch || item.LSN != w.LSN {
				return fmt.Sprintf("partition %d has %q at %d.%d under %q, want %q", id, item.Data, item.Epoch, item.LSN, item.Key, w.Data)
			}
		}
		if !slices.Equal(keys, slices.Sorted(maps.Keys(want.values))) {
			return fmt.Sprintf("partition %d has keys %q", id, keys)
		}
		for _, key := range []string{"a", "b", "ba", "c", "\xff"} {
			v, err := s.Get(id, []byte(key))
			if w, ok := want.values[key]; ok != (err == nil) || string(v.Data) != string(w.Data) || !ok && !errors.Is(err, ErrNotFound) {
				return fmt.Sprintf("Get(%d, %q) = %q, %v", id, key, v.Data, err)
			}
		}
	}
	return ""
}

func TestStoreAgainstModel(t *testing.T) {
	root, runs := t.TempDir(), 0
	rapid.Check(t, func(t *rapid.T) {
		runs++
		dir := filepath.Join(root, fmt.Sprint(runs))
		defer func() { _ = os.RemoveAll(dir) }()
		opts := Options{Dir: dir, StoreID: "store"}
		s, err := Open(opts)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = s.Close() }()
		if rapid.Bool().Draw(t, "forgets") {
			s.recent = newRecent(1)
		}

		model := map[uint32]*modelPartition{}
		partition := rapid.Uint32Range(1, 3)
		key := rapid.SampledFrom([]string{"a", "b", "ba", "c", "\xff"})
		get := func(id uint32) *modelPartition {
			if model[id] == nil {
				model[id] = &modelPartition{values: map[string]Value{}}
			}
			return model[id]
		}
		t.Repeat(map[string]func(*rapid.T){
			"apply": func(t *rapid.T) {
				var batches []Batch
				for range rapid.IntRange(1, 3).Draw(t, "batches") {
					b := Batch{Partition: partition.Draw(t, "partition")}
					p := get(b.Partition)
					for range rapid.IntRange(0, 5).Draw(t, "writes") {
						w := Write{Op: op.Op{Kind: op.Delete, Key: []byte(key.Draw(t, "key"))}, Epoch: 1, LSN: p.position.LSN + 1}
						delete(p.values, string(w.Op.Key))
						if rapid.IntRange(0, 2).Draw(t, "set") > 0 {
							w.Op.Kind, w.Op.Value = op.Set, []byte(rapid.StringN(0, 20, 40).Draw(t, "value"))
							w.Op.Expires = rapid.Uint64().Draw(t, "expires")
							p.values[string(w.Op.Key)] = Value{Data: w.Op.Value, Epoch: 1, LSN: w.LSN, Expires: w.Op.Expires}
						}
						if rapid.Bool().Draw(t, "ends the entry") {
							p.position = Position{1, w.LSN}
						}
						b.Writes = append(b.Writes, w)
					}
					p.position = Position{2, p.position.LSN + 1}
					b.Through = p.position
					batches = append(batches, b)
				}
				if err := s.Apply(batches); err != nil {
					t.Fatal(err)
				}
			},
			"load": func(t *rapid.T) {
				id := partition.Draw(t, "partition")
				l, err := s.Load(id, Origin{Base: Position{3, rapid.Uint64Range(1, 100).Draw(t, "base")}})
				if err != nil {
					t.Fatal(err)
				}
				values := map[string]Value{}
				for _, k := range slices.Sorted(maps.Keys(get(id).values)) {
					if rapid.Bool().Draw(t, "keep") {
						values[k] = Value{Data: []byte("loaded"), Epoch: 5, LSN: 5}
						if err := l.Add([]Item{{[]byte(k), values[k]}}); err != nil {
							t.Fatal(err)
						}
					}
				}
				if _, known := s.Checkpoint(id); !known {
					delete(model, id)
				}
				if rapid.Bool().Draw(t, "abort") {
					l.Abort()
					return
				}
				l.load.origin.Sum = l.loaded.Sum
				if err := l.Commit(); err != nil {
					t.Fatal(err)
				}
				model[id] = &modelPartition{l.Origin().Base, values}
			},
			"drop": func(t *rapid.T) {
				id := partition.Draw(t, "partition")
				if err := s.Drop(id); err != nil {
					t.Fatal(err)
				}
				delete(model, id)
			},
			"reopen": func(t *rapid.T) {
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				if s, err = Open(opts); err != nil {
					t.Fatal(err)
				}
			},
			"": func(t *rapid.T) {
				if diff := differs(s, model); diff != "" {
					t.Fatal(diff)
				}
			},
		})
	})
}
