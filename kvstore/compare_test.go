package kvstore_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore"
)

// A copy whose log agrees with the primary's and whose data do not is not used:
// it is made anew, and only then in-sync.
func TestCopyThatDiffersIsMadeAnew(t *testing.T) {
	c, nodes := withoutLog(t)
	fillBut(t, nodes["c"], "old 250")
	for _, p := range nodes {
		p.start()
	}
	nodes["b"].set("new", "1")
	c.waitAnew(t, "c")
	if n := nodes["a"].metric("kvstore_copy_comparisons_total", "different"); n != 1 {
		t.Errorf("the primary has found %v copies different, want 1", n)
	}
	nodes["b"].set("newer", "2")
	wantKept(t, c, nodes["c"]) // it is not given up a second time
}

// While digests cannot be had, the copy is not in-sync; writes go on.
func TestCopyIsNotInSyncUncompared(t *testing.T) {
	c, nodes := withoutLog(t)
	var asked atomic.Int32
	var open atomic.Bool
	nodes["c"].spoilCopies = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			asked.Add(1)
			if !open.Load() {
				http.Error(w, "not now", http.StatusServiceUnavailable)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	for _, id := range []string{"a", "b", "c"} {
		nodes[id].start()
	}
	for i := 0; asked.Load() < 5; i++ {
		nodes["b"].set(fmt.Sprint("meanwhile ", i%100), "1")
	}
	m, _ := c.current()
	if n := len(m.Partitions[0].InSync); n != 2 {
		t.Errorf("%d copies are in-sync, of which only two were ever compared", n)
	}
	open.Store(true)
	c.waitInSync(t, 3)
	if n := nodes["a"].metric("kvstore_copy_comparisons_total", "equal"); n != 1 {
		t.Errorf("the primary has found %v copies equal, want 1", n)
	}
	c.elect("c")
	wantStored(t, nodes["c"])
	nodes["c"].want("meanwhile 0", "1")
}

func TestQuestionsAboutCopies(t *testing.T) {
	c := newControl(1, "a")
	a := newProcess(t, c, "a")
	a.start()
	a.set("key", "value")
	m, _ := c.current()
	const self = `"partition":0,"member":{"Node":"a","Store":"disk-a","Incarnation":1}`
	for _, tc := range []struct {
		cluster, path, body string
		status              int
	}{
		{"", "digest", `{` + self + `,"at":1}`, http.StatusForbidden},
		{"another", "digest", `{` + self + `,"at":1}`, http.StatusForbidden},
		{m.ClusterUUID, "digest", `{` + self + `,"at":1}`, http.StatusOK},
		{m.ClusterUUID, "digest", `{`, http.StatusBadRequest},
		{m.ClusterUUID, "digest", `{"why":"` + strings.Repeat("x", 8<<10) + `"}`, http.StatusBadRequest},
		{m.ClusterUUID, "digest", `{"partition":7,"at":1}`, http.StatusNotFound},
		{m.ClusterUUID, "digest", `{"partition":0,"member":{"Node":"a","Store":"disk-a","Incarnation":2},"at":1}`, http.StatusNotFound},
		{m.ClusterUUID, "anything", `{}`, http.StatusNotFound},
		{m.ClusterUUID, "refute", `{`, http.StatusBadRequest},
		{m.ClusterUUID, "refute", `{"partition":7}`, http.StatusNotFound},
		{m.ClusterUUID, "refute", `{` + self + `,"generation":1,"why":"a test"}`, http.StatusConflict}, // it is in-sync
	} {
		if got := a.ask(kvstore.CopiesPath+tc.path, tc.cluster, tc.body); got != tc.status {
			t.Errorf("cluster %q, %s %.60s: answered %d, want %d", tc.cluster, tc.path, tc.body, got, tc.status)
		}
	}
}
