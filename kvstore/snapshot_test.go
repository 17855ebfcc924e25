package kvstore_test

import (
	"bytes"
	"net/http"
	"sync"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore"
)

func TestSnapshotWhenTheLogNoLongerReachesBack(t *testing.T) {
	c, nodes := withoutLog(t)
	nodes["a"].start()
	nodes["b"].start()
	nodes["a"].set("new", "1")
	nodes["c"].start()
	nodes["a"].set("newer", "2")
	c.waitInSync(t, 3)
	wantKept(t, c, nodes["c"])
}

// cutWriter cuts the connection after a number of bytes.
type cutWriter struct {
	http.ResponseWriter
	left int
}

func (w *cutWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *cutWriter) Write(p []byte) (int, error) {
	if len(p) > w.left {
		_, _ = w.ResponseWriter.Write(p[:w.left])
		panic(http.ErrAbortHandler)
	}
	w.left -= len(p)
	return w.ResponseWriter.Write(p)
}

// flipWriter damages one byte.
type flipWriter struct {
	http.ResponseWriter
	at int
}

func (w *flipWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *flipWriter) Write(p []byte) (int, error) {
	if w.at >= 0 && w.at < len(p) {
		p = bytes.Clone(p)
		p[w.at] ^= 0x10
	}
	w.at -= len(p)
	return w.ResponseWriter.Write(p)
}

// digestWriter damages the digest that a source announces.
type digestWriter struct{ http.ResponseWriter }

func (w digestWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w digestWriter) Write(p []byte) (int, error) {
	at := bytes.LastIndexAny(p, "0123456789")
	p = bytes.Clone(p)
	p[at] ^= 1
	return w.ResponseWriter.Write(p)
}

// A chunk that does not arrive whole, as it was sent, is asked for again, and
// a copy that is not what its source has is not used.
func TestSpoiltSnapshotsAreFetchedAgain(t *testing.T) {
	spoilt := map[string][]func(http.ResponseWriter) http.ResponseWriter{
		http.MethodGet: {
			func(w http.ResponseWriter) http.ResponseWriter { return &cutWriter{w, 0} },
			func(w http.ResponseWriter) http.ResponseWriter { return &cutWriter{w, 16} },
			func(w http.ResponseWriter) http.ResponseWriter { return &flipWriter{w, 1000} },
			func(w http.ResponseWriter) http.ResponseWriter { return &flipWriter{w, 2} }, // the number of items
			func(w http.ResponseWriter) http.ResponseWriter { return &cutWriter{w, 1000} },
		},
		http.MethodPost: {
			func(w http.ResponseWriter) http.ResponseWriter { return digestWriter{w} },
		},
	}
	c, nodes := withoutLog(t)
	var mu sync.Mutex
	asked := map[string]int{}
	nodes["a"].spoil = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			mu.Lock()
			if n := asked[r.Method]; n < len(spoilt[r.Method]) {
				w = spoilt[r.Method][n](w)
			}
			asked[r.Method]++
			mu.Unlock()
			next.ServeHTTP(w, r)
		})
	}
	for _, id := range []string{"a", "b", "c"} {
		nodes[id].start()
	}
	c.waitInSync(t, 3)
	mu.Lock()
	for method, all := range spoilt {
		if n := asked[method]; n <= len(all) {
			t.Errorf("c is in-sync after %d requests %s, all of them spoilt", n, method)
		}
	}
	mu.Unlock()
	if got := nodes["c"].metric("kvstore_migration_failures_total", "digest"); got != 1 {
		t.Errorf("%v copies were refused, want 1", got)
	}
	// A connection that was used before and breaks at once is not seen above it.
	if got := nodes["c"].metric("kvstore_migration_repeated_chunks_total", ""); got < 2 {
		t.Errorf("%v chunks were asked for again", got)
	}
	c.elect("c")
	wantStored(t, nodes["c"])
}

func TestSnapshotsAreForTheSameCluster(t *testing.T) {
	c := newControl(1, "a")
	a := newProcess(t, c, "a")
	a.start()
	m, _ := c.current()
	for _, tc := range []struct {
		cluster, query string
		status         int
	}{
		{"", "?partition=0", http.StatusForbidden},
		{"another", "?partition=0", http.StatusForbidden},
		{m.ClusterUUID, "?partition=7", http.StatusNotFound},
		{m.ClusterUUID, "?partition=-1", http.StatusNotFound},
		{m.ClusterUUID, "", http.StatusNotFound},
	} {
		if got := a.ask(kvstore.SnapshotPath+tc.query, tc.cluster, ""); got != tc.status {
			t.Errorf("cluster %q, %q: answered %d, want %d", tc.cluster, tc.query, got, tc.status)
		}
	}
}
