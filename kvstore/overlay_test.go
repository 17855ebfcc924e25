package kvstore

import (
	"testing"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// The overlay has, of every key, the newest write that is not pruned.
func TestOverlayHoldsWhatTheStorageLacks(t *testing.T) {
	keys := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	rapid.Check(t, func(t *rapid.T) {
		type write struct {
			at partition.Position
			op op.Op
		}
		var (
			o      overlay
			writes []write
			lsn    uint64
		)
		t.Repeat(map[string]func(*rapid.T){
			"add": func(t *rapid.T) {
				lsn++
				at := partition.Position{Epoch: 1 + lsn/5, LSN: lsn}
				var ops []op.Op
				for range rapid.IntRange(0, 3).Draw(t, "operations") {
					w := op.Op{Kind: op.Delete, Key: []byte(keys.Draw(t, "key"))}
					if rapid.Bool().Draw(t, "set") {
						w.Kind, w.Value = op.Set, rapid.SliceOfN(rapid.Byte(), 0, 3).Draw(t, "value")
					}
					ops = append(ops, w)
					writes = append(writes, write{at, w})
				}
				o.add(at, ops)
			},
			"prune": func(t *rapid.T) {
				through := rapid.Uint64Max(lsn).Draw(t, "through")
				o.prune(through)
				for len(writes) > 0 && writes[0].at.LSN <= through {
					writes = writes[1:]
				}
			},
			"clear": func(*rapid.T) {
				o.clear()
				writes = nil
			},
			"": func(t *rapid.T) {
				newest := map[string]write{}
				for _, w := range writes {
					newest[string(w.op.Key)] = w
				}
				for _, key := range []string{"a", "b", "c", "d"} {
					want, there := newest[key]
					got, ok := o.item([]byte(key))
					set := want.op.Kind == op.Set
					if ok != there || ok && (got.Found != set || string(got.Data) != string(want.op.Value) || set && got.Version != command.Position(want.at)) {
						t.Fatalf("get(%s) = %+v, %v, want %+v, %v", key, got, ok, want, there)
					}
				}
				if len(o.order) != len(writes) || len(o.keys) != len(newest) {
					t.Fatalf("it keeps %d writes of %d keys, want %d of %d", len(o.order), len(o.keys), len(writes), len(newest))
				}
			},
		})
	})
}
