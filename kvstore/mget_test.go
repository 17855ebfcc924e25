package kvstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func TestMGet(t *testing.T) {
	c := newControl(4, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	var keys [][]byte
	for i := range 40 {
		keys = append(keys, fmt.Append(nil, i))
		if i%3 != 0 {
			nodes["a"].set(fmt.Sprint(i), fmt.Sprint("value of ", i))
		}
	}
	keys = append(keys, keys[1])
	for id, p := range nodes {
		results, err := p.router.MGet(within(t), kvstore.Request{}, keys)
		if err != nil || len(results) != len(keys) {
			t.Fatalf("%s: %d results, %v", id, len(results), err)
		}
		for i, r := range results {
			k := i % 40
			if i == 40 {
				k = 1
			}
			if r.Found != (k%3 != 0) || r.Found && string(r.Value) != fmt.Sprint("value of ", k) {
				t.Errorf("%s: key %d is %+v", id, k, r)
			}
		}
	}
	for name, tt := range map[string]struct {
		keys [][]byte
		err  error
	}{
		"no keys":      {nil, api.ErrBadRequest},
		"too many":     {make([][]byte, api.MaxBatchCommands+1), api.ErrBadRequest},
		"an empty key": {[][]byte{nil}, api.ErrBadRequest},
		"a long key":   {[][]byte{make([]byte, api.MaxKeyBytes+1)}, api.ErrTooLarge},
	} {
		if _, err := nodes["a"].router.MGet(within(t), kvstore.Request{}, tt.keys); !errors.Is(err, tt.err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := nodes["a"].router.MGet(within(t), kvstore.Request{NoForward: true}, keys); !errors.Is(err, api.ErrNotPrimary) {
		t.Errorf("without forwarding: %v", err)
	}
	large := bytes.Repeat([]byte("x"), api.MaxValueBytes)
	for i := range 6 {
		if _, err := nodes["a"].router.Set(within(t), kvstore.Request{Key: keys[i]}, large); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := nodes["a"].router.MGet(within(t), kvstore.Request{}, keys); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("more than an answer holds: %v", err)
	}
}
