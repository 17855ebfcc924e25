package kvstore

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// A scan shows, of the keys with its prefix, the newest write, wherever it is.
func TestScanMergesOverlayAndStorage(t *testing.T) {
	store, err := storage.Open(storage.Options{Dir: t.TempDir(), StoreID: "store"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}()
	next := uint32(0)
	keys := rapid.SampledFrom([]string{"a", "aa", "ab", "ab\x00", "b", "ba", "\xff", "\xff\xff"})
	rapid.Check(t, func(t *rapid.T) {
		next++
		var o overlay
		model := map[string]string{}
		stored := rapid.IntRange(0, 10).Draw(t, "stored")
		for lsn := range uint64(stored + rapid.IntRange(0, 10).Draw(t, "not stored")) {
			key := keys.Draw(t, "key")
			w := op.Op{Kind: op.Delete, Key: command.UserKey([]byte(key))}
			delete(model, key)
			if rapid.IntRange(0, 2).Draw(t, "set") > 0 {
				w.Kind, w.Value = op.Set, fmt.Append(nil, lsn)
				model[key] = string(w.Value)
			}
			at := partition.Position{Epoch: 1, LSN: lsn + 1}
			if lsn < uint64(stored) {
				if err := store.Apply([]storage.Batch{{Partition: next, Through: storage.Position(at), Writes: []storage.Write{{Op: w, Epoch: 1, LSN: at.LSN}}}}); err != nil {
					t.Fatal(err)
				}
			} else {
				o.add(at, []op.Op{w})
			}
		}
		prefix := rapid.SampledFrom([]string{"", "a", "ab", "b", "\xff", "c"}).Draw(t, "prefix")
		maps.DeleteFunc(model, func(key, _ string) bool { return !strings.HasPrefix(key, prefix) })
		picture, err := store.Picture(next)
		if err != nil {
			t.Fatal(err)
		}
		defer picture.Close()
		s := &scan{replica: &replica{id: next}, prefix: string(command.UserKey([]byte(prefix)))}
		s.picture, s.over = picture, o.under(s.prefix).items
		limit, from := rapid.IntRange(1, 4).Draw(t, "limit"), []byte(prefix)
		var got []string
		for from != nil {
			var items []api.ScanItem
			var err error
			if items, from, err = s.page(t.Context(), from, limit); err != nil || len(items) > limit || from != nil && len(items) == 0 {
				t.Fatalf("%+v, %q, %v", items, from, err)
			}
			for _, i := range items {
				if string(i.Value) != model[string(i.Key)] {
					t.Fatalf("%q is %q, want %q", i.Key, i.Value, model[string(i.Key)])
				}
				got = append(got, string(i.Key))
			}
		}
		if want := slices.Sorted(maps.Keys(model)); !slices.Equal(got, want) {
			t.Fatalf("%q, want %q", got, want)
		}
	})
}

func FuzzDecodeCursor(f *testing.F) {
	for _, c := range []cursor{
		{prefix: []byte{}, from: []byte{}},
		{only: true, partition: 3, prefix: []byte("ab"), from: []byte("abc")},
		{partition: 1<<32 - 1, node: "node-1", scan: 1 << 63, prefix: []byte{}, from: bytes.Repeat([]byte("k"), api.MaxKeyBytes)},
	} {
		f.Add(c.encode())
	}
	f.Add("")
	f.Fuzz(func(t *testing.T, text string) {
		c, err := decodeCursor(text)
		if err != nil {
			return
		}
		if !bytes.HasPrefix(c.from, c.prefix) || len(c.from) > api.MaxKeyBytes || (c.scan == 0) != (c.node == "") {
			t.Fatalf("%+v", c)
		}
		if again := c.encode(); again != text {
			t.Fatalf("%q is taken and encoded as %q", text, again)
		}
	})
}

// Cursors that nobody was given, and yet in the right form.
func TestMadeUpCursors(t *testing.T) {
	sound := cursor{partition: 2, node: "n", scan: 7, prefix: []byte("a"), from: []byte("ab")}
	if c, err := decodeCursor(sound.encode()); err != nil || !bytes.Equal(c.from, sound.from) || c.node != "n" || c.scan != 7 || c.only || c.partition != 2 {
		t.Errorf("a sound one: %+v, %v", c, err)
	}
	for name, c := range map[string]cursor{
		"a prefix longer than the key": {prefix: []byte("abc"), from: []byte("ab")},
		"a long key":                   {prefix: []byte{}, from: make([]byte, api.MaxKeyBytes+1)},
		"a snapshot of nobody":         {scan: 7, prefix: []byte{}, from: []byte{}},
		"a node without a snapshot":    {node: "n", prefix: []byte{}, from: []byte{}},
	} {
		if got, err := decodeCursor(c.encode()); err == nil {
			t.Errorf("%s is taken: %+v", name, got)
		}
	}
}
