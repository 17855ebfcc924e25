package client

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// pages answers scans with three pages of two items. Each is lost at first.
func pages(t *testing.T) http.HandlerFunc {
	var mu sync.Mutex
	lost := map[string]bool{}
	return func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		q := r.URL.Query()
		cursor := q.Get(api.QueryCursor)
		if r.Method != http.MethodGet || r.URL.Path != api.PathScan || q.Get(api.QueryLimit) != "2" || (cursor == "") == (q.Get(api.QueryPrefix) != "k\xff&") {
			t.Errorf("%s %s", r.Method, r.URL)
		}
		if !lost[cursor] {
			lost[cursor] = true
			panic(http.ErrAbortHandler)
		}
		n, _ := strconv.Atoi(cursor)
		answer := api.ScanAnswer{}
		for i := range 2 {
			answer.Items = append(answer.Items, api.ScanItem{Key: fmt.Append(nil, "k\xff&", 2*n+i), Value: []byte("v"), Version: "1.2", TTL: 1500})
		}
		if n < 2 {
			answer.Cursor = strconv.Itoa(n + 1)
		}
		json.NewEncoder(w).Encode(answer)
	}
}

func TestScan(t *testing.T) {
	handler := pages(t)
	addr, _ := fakeNode(t, func(w http.ResponseWriter, r *http.Request, _ int64) { handler(w, r) })
	c := newClient(t, addr)
	var keys []string
	for item, err := range c.Scan(t.Context(), "k\xff&", ScanOptions{PageItems: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		if string(item.Data) != "v" || item.Version != "1.2" || item.TTL != 1500*time.Millisecond {
			t.Errorf("%+v", item)
		}
		keys = append(keys, strings.TrimPrefix(item.Key, "k\xff&"))
	}
	if want := []string{"0", "1", "2", "3", "4", "5"}; !slices.Equal(keys, want) {
		t.Errorf("%q, want %q", keys, want)
	}
	keys = nil
	for item, err := range c.Scan(t.Context(), "k\xff&", ScanOptions{PageItems: 2}) {
		if err != nil {
			t.Fatal(err)
		}
		if keys = append(keys, item.Key); len(keys) == 3 {
			break // and nothing more is asked for
		}
	}
}

func TestScanThatFails(t *testing.T) {
	for name, tc := range map[string]struct {
		prefix string
		answer func(http.ResponseWriter)
		want   error
	}{
		"without its snapshot": {"", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusGone)
			json.NewEncoder(w).Encode(api.ErrorBody{Error: api.ErrSnapshotGone})
		}, api.ErrSnapshotGone},
		"refused": {"", func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusBadRequest)
			json.NewEncoder(w).Encode(api.ErrorBody{Error: api.ErrBadRequest})
		}, api.ErrBadRequest},
		"with a long prefix": {strings.Repeat("k", api.MaxKeyBytes+1), nil, api.ErrTooLarge},
	} {
		addr, requests := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { tc.answer(w) })
		c := newClient(t, addr)
		n := 0
		for item, err := range c.Scan(t.Context(), tc.prefix, ScanOptions{Newer: true}) {
			if n++; !errors.Is(err, tc.want) || item.Key != "" {
				t.Errorf("%s: %+v, %v", name, item, err)
			}
		}
		if n != 1 {
			t.Errorf("%s: yields %d times", name, n)
		}
		if asked := requests.Load(); asked > 1 {
			t.Errorf("%s: asked %d times", name, asked)
		}
	}
}
