package kvstore_test

import (
	"bytes"
	"fmt"
	"net/http"
	"path/filepath"
	"sync"
	"testing"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
	"github.com/skshohagmiah/clusterkit/kvstore/wal"
)

const stored = 500

// fill puts a partition on the disk of a node, committed and with nothing of
// it left in the log.
func fill(t *testing.T, p *process) {
	t.Helper()
	fillBut(t, p, "")
}

// fillBut does so, and gives one key another value.
func fillBut(t *testing.T, p *process, key string) {
	t.Helper()
	fillWith(t, p, stored, func(i int) []byte {
		if fmt.Sprint("old ", i) == key {
			return []byte("other")
		}
		return fmt.Append(nil, i)
	})
}

// fillWith does so with n values.
func fillWith(t testing.TB, p *process, n int, value func(i int) []byte) {
	t.Helper()
	store, err := storage.Open(storage.Options{Dir: filepath.Join(p.dir, "data"), StoreID: "disk-" + p.id})
	if err != nil {
		t.Fatal(err)
	}
	batch := storage.Batch{Through: storage.Position{Epoch: 1, LSN: uint64(n)}}
	for i := range n {
		set := op.Op{Kind: op.Set, Key: command.UserKey(fmt.Append(nil, "old ", i)), Value: value(i)}
		batch.Writes = append(batch.Writes, storage.Write{Op: set, Epoch: 1, LSN: uint64(i) + 1})
	}
	if err := store.Apply([]storage.Batch{batch}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	log, _, err := wal.Open(wal.Options{Dir: filepath.Join(p.dir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	synced := make(chan error, 1)
	err = log.Append([]wal.Record{
		wal.ResetRecord(0, wal.Position{Epoch: 1, LSN: uint64(n)}),
		wal.StateRecord(0, kvstore.EncodeState(partition.State{Promise: 1, Incarnation: 1})),
	}, func(err error) { synced <- err })
	if err != nil {
		t.Fatal(err)
	}
	if err := <-synced; err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

// withoutLog is a cluster in which a and b are in-sync, and c, whose disk is
// empty, lacks what their logs no longer hold.
func withoutLog(t *testing.T) (*control, map[string]*process) {
	t.Helper()
	return withoutLogOf(t, stored, func(i int) []byte { return fmt.Append(nil, i) })
}

func withoutLogOf(t testing.TB, n int, value func(i int) []byte) (*control, map[string]*process) {
	t.Helper()
	c := newControl(1, "a", "b", "c")
	c.updatePartitions(func(p *clusterkit.Partition) bool {
		p.Epoch, p.InSync = 2, []clusterkit.Member{memberOn("a", 1), memberOn("b", 1)}
		return true
	})
	nodes := map[string]*process{}
	for _, id := range []string{"a", "b", "c"} {
		nodes[id] = newProcess(t, c, id)
	}
	fillWith(t, nodes["a"], n, value)
	fillWith(t, nodes["b"], n, value)
	return c, nodes
}

func wantStored(t *testing.T, p *process) {
	t.Helper()
	for i := range stored {
		p.want(fmt.Sprint("old ", i), fmt.Sprint(i))
	}
}

func TestSnapshotWhenTheLogNoLongerReachesBack(t *testing.T) {
	c, nodes := withoutLog(t)
	nodes["a"].start()
	nodes["b"].start()
	nodes["a"].set("new", "1")
	nodes["c"].start()
	nodes["a"].set("newer", "2")
	c.waitInSync(t, 3)
	c.elect("c")
	wantStored(t, nodes["c"])
	nodes["c"].want("new", "1")
	nodes["c"].want("newer", "2")

	// What was loaded is there after a crash.
	nodes["c"].kill()
	nodes["c"].start()
	c.elect("c")
	wantStored(t, nodes["c"])
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
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+a.addr+kvstore.SnapshotPath+tc.query, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		req.Close = true
		req.Header.Set("Clusterkit-Cluster", tc.cluster)
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		if resp.StatusCode != tc.status {
			t.Errorf("cluster %q, %q: answered %s, want %d", tc.cluster, tc.query, resp.Status, tc.status)
		}
	}
}
