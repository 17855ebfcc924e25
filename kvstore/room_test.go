package kvstore_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/wal"
)

// gate lets requests through one by one, and tells of each that comes.
type gate struct{ came, pass chan struct{} }

func newGate() gate { return gate{make(chan struct{}, 100), make(chan struct{}, 100)} }

// before has the requests for chunks wait.
func (g gate) before(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet {
			g.came <- struct{}{}
			select {
			case <-g.pass:
			case <-r.Context().Done():
				return
			}
		}
		next.ServeHTTP(w, r)
	})
}

// A copy leaves the space that writes need, says that it does whatever its source
// sends meanwhile, and goes on where it was.
func TestCopiesWaitForRoom(t *testing.T) {
	c, nodes := withoutLogOf(t, largeItems, large)
	chunks := newGate()
	nodes["a"].spoil = chunks.before
	for _, id := range []string{"a", "b"} {
		nodes[id].start()
	}
	slowly(t, nodes["a"], 512<<10) // chunks of a quarter of a megabyte
	target := nodes["c"]
	target.start()
	waits := func() bool {
		m := only(target)
		return m.Phase == "copying snapshot" && strings.Contains(m.Waiting, "space")
	}

	chunks.pass <- struct{}{}
	eventually(t, "a part is there", func() bool { return only(target).Bytes > 0 })
	had := only(target).Bytes
	<-chunks.came
	target.disk.leave(wal.DefaultReserveBytes + 64<<20)
	<-chunks.came
	chunks.pass <- struct{}{}
	<-chunks.came // so the last one has arrived
	eventually(t, "the copy waits for space", waits)
	chunks.pass <- struct{}{}
	<-chunks.came
	if m := only(target); !waits() || m.Bytes != had {
		t.Errorf("without space, and with a source that sends, it is shown as %+v", m)
	}
	target.disk.leave(0)
	eventually(t, "it waits for space no longer", func() bool { return !waits() && only(target).Bytes > had })
	close(chunks.pass)
	c.waitInSync(t, 3)
	if failures := target.metric("kvstore_migration_failures_total", ""); failures != 0 {
		t.Errorf("%v attempts have failed", failures)
	}
	c.elect("c")
	target.want("old 0", string(large(0)))
	target.want("old 599", string(large(largeItems-1)))
}

// What a log has no room for is said as well.
func TestCatchingUpWaitsForRoom(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	target := nodes["c"]
	target.disk.setFull(true)
	fillLog(t, nodes["a"], func(err error) bool {
		if err != nil {
			t.Errorf("a write while a replica's disk is full: %v", err)
		}
		m, _ := c.current()
		return len(m.Partitions[0].InSync) == 2
	})
	eventually(t, "it waits for space", func() bool {
		m := only(target)
		return m.Phase == "catching up by log" && strings.Contains(m.Waiting, "space")
	})
	target.disk.setFull(false)
	c.waitInSync(t, 3)
}
