package kvstore_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

func TestEveryNodeTakesEveryKey(t *testing.T) {
	c := newControl(4, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	for id, writer := range nodes {
		for i := range 8 {
			writer.set(fmt.Sprintf("%s/%d", id, i), "by "+id)
		}
	}
	for _, reader := range nodes {
		for id := range nodes {
			for i := range 8 {
				reader.want(fmt.Sprintf("%s/%d", id, i), "by "+id)
			}
		}
	}
	nodes["a"].delete("b/3")
	nodes["a"].delete("never written")
	nodes["b"].set("c/1", "again")
	for _, reader := range nodes {
		reader.wantAbsent("b/3")
		reader.wantAbsent("never written")
		reader.want("c/1", "again")
	}
}

func TestNodeReturnsAndCatchesUp(t *testing.T) {
	c := newControl(4, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	for i := range 20 {
		nodes["b"].set(fmt.Sprintf("before %d", i), "1")
	}
	nodes["a"].kill()
	c.depose("a")
	nodes["b"].set("before 0", "2")
	c.waitInSync(t, 2)
	for i := range 20 {
		nodes["c"].set(fmt.Sprintf("after %d", i), "3")
	}
	nodes["c"].delete("before 1")
	nodes["a"].start()
	c.waitInSync(t, 3)
	c.elect("a") // so that a answers from what it has
	for i := range 20 {
		nodes["a"].want(fmt.Sprintf("after %d", i), "3")
	}
	for i := 2; i < 20; i++ {
		nodes["b"].want(fmt.Sprintf("before %d", i), "1")
	}
	nodes["b"].want("before 0", "2")
	nodes["b"].wantAbsent("before 1")
	nodes["c"].set("at last", "4")
}

func TestEverythingIsThereAfterAPowerCut(t *testing.T) {
	c := newControl(4, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	for i := range 30 {
		nodes["a"].set(fmt.Sprint(i), "kept")
	}
	nodes["a"].delete("7")
	for _, p := range nodes {
		p.kill()
	}
	for _, p := range nodes {
		p.start()
	}
	c.elect("c")
	for i := range 30 {
		if i != 7 {
			nodes["b"].want(fmt.Sprint(i), "kept")
		}
	}
	nodes["b"].wantAbsent("7")
}

// Without its lease a primary asks the others; one that was deposed in the
// meantime says nothing.
func TestReadsWithoutALease(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["a"].set("key", "old")
	for _, p := range nodes {
		p.cluster.expired.Store(true)
	}
	nodes["b"].want("key", "old")

	m, _ := c.current()
	nodes["a"].cluster.frozen.Store(m)
	nodes["a"].deafen()
	c.updatePartitions(func(p *clusterkit.Partition) bool {
		p.Primary, p.Epoch, p.InSync = "b", p.Epoch+1, []clusterkit.Member{memberOn("b", 1), memberOn("c", 1)}
		return true
	})
	nodes["b"].set("key", "new")
	if got, err := nodes["a"].request(t.Context(), http.MethodGet, "key", ""); err == nil {
		t.Errorf("the deposed primary answers %q", got)
	}
	nodes["c"].want("key", "new")
}

func TestWritesWithoutEnoughReplicas(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["c"].kill()
	c.depose("c")
	c.waitInSync(t, 2) // the dead member is dropped
	nodes["a"].set("key", "old")
	nodes["b"].kill()
	for attempt := 1; ; attempt++ {
		ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
		_, err := nodes["a"].router.Set(ctx, key("key"), []byte("new"))
		cancel()
		if errors.Is(err, api.ErrOutcomeUnknown) {
			break
		}
		if !errors.Is(err, api.ErrUnavailable) || attempt == 20 {
			t.Fatalf("a write that was begun: %v, want that its outcome is unknown", err)
		}
		// It was refused, since b was silent for so long that this was known.
		nodes["b"].start()
		nodes["a"].set("key", "old")
		nodes["b"].kill()
	}
	nodes["a"].want("key", "old") // it is not committed
	nodes["b"].start()
	nodes["a"].set("other", "value")
	nodes["a"].want("key", "new") // and now it is
}

// writeAll writes through every node until it is stopped. No write may fail.
func writeAll(t *testing.T, nodes map[string]*process) (stop func()) {
	done := make(chan struct{})
	var writers sync.WaitGroup
	for id, p := range nodes {
		writers.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if _, err := p.request(t.Context(), http.MethodPut, fmt.Sprintf("%s/%d", id, i%10), "value"); err != nil {
					t.Errorf("a write during the hand-over: %v", err)
					return
				}
			}
		})
	}
	return func() {
		close(done)
		writers.Wait()
	}
}

// Whoever writes sends to the peers, which takes the locks of replicas under which
// the peers are asked for, while each map brings other peers: nobody waits for
// another in a circle.
func TestWritesWhileMapsCome(t *testing.T) {
	c := newControl(4, "a", "b", "c")
	c.keeps.Store(true)
	nodes := startAll(t, c, "a", "b", "c")
	nodes["a"].set("0", "0")
	done, written := make(chan struct{}), make(chan struct{})
	var writers sync.WaitGroup
	for id, p := range nodes {
		for i := range 4 {
			writers.Go(func() {
				for ctx := within(t); ; {
					if _, err := p.router.Set(ctx, key(fmt.Sprintf("%s/%d", id, i)), []byte("value")); err != nil {
						t.Errorf("a write while maps come: %v", err)
					}
					select {
					case written <- struct{}{}:
					case <-done:
						return
					}
				}
			})
		}
	}
	for range 50 {
		c.update(func(m *clusterkit.Map) {
			if m.Node("d") == nil {
				m.Nodes = append(m.Nodes, clusterkit.Node{ID: "d", Store: "disk-d", IP: nodes["a"].addr})
			} else {
				m.Nodes = slices.DeleteFunc(m.Nodes, func(n clusterkit.Node) bool { return n.ID == "d" })
			}
		})
		for range 2 * 4 * len(nodes) {
			select {
			case <-written:
			case <-time.After(patience):
				t.Fatal("nothing is written any more")
			}
		}
	}
	close(done)
	writers.Wait()
	nodes["b"].want("c/3", "value")
}

// A primary that the map wants elsewhere goes there, and no request fails.
func TestHandOverUnderLoad(t *testing.T) {
	c := newControl(2, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["c"].set("0", "0")
	stop := writeAll(t, nodes)
	for _, to := range []string{"c", "b"} {
		c.updatePartitions(func(p *clusterkit.Partition) bool {
			p.Desired = []string{to, "a", "b", "c"}
			return true
		})
		c.waitFor(t, "the primaries move to "+to, func(m *clusterkit.Map) bool {
			return m.Partitions[0].Primary == to && m.Partitions[1].Primary == to
		})
	}
	stop()
	nodes["a"].want("0", "0")
}

// A node that is about to stop gives away what it leads and leaves the in-sync
// sets, and no request fails.
func TestStoppingNodeStandsAside(t *testing.T) {
	c := newControl(4, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["b"].set("0", "0")
	stop := writeAll(t, nodes)
	needed := func(id string) (n int) {
		m, _ := c.current()
		for _, p := range m.Partitions {
			if p.Primary == id || slices.Contains(p.InSync, memberOn(id, 1)) {
				n++
			}
		}
		return n
	}
	for i, id := range []string{"a", "b"} {
		c.update(func(m *clusterkit.Map) { m.Nodes = slices.Clone(m.Nodes); m.Nodes[i].Stopping = true })
		if err := nodes[id].node.StandAside(t.Context()); err != nil {
			t.Fatal(err)
		}
		if n := needed(id); n > 0 {
			t.Errorf("%s is needed by %d partitions still", id, n)
		}
		c.update(func(m *clusterkit.Map) { m.Nodes = slices.Clone(m.Nodes); m.Nodes[i].Stopping = false })
		c.waitInSync(t, 3)
	}
	stop()
	nodes["c"].want("0", "0")
}

// A copy that is assigned anew begins with nothing and gets everything.
func TestReleasedCopyIsMadeAnew(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["a"].set("key", "1")
	c.updatePartitions(func(p *clusterkit.Partition) bool {
		p.Members = []clusterkit.Member{memberOn("a", 1), memberOn("b", 1)}
		p.InSync = p.Members
		return true
	})
	nodes["a"].set("key", "2")
	c.updatePartitions(func(p *clusterkit.Partition) bool {
		p.Members = append(p.Members[:2:2], memberOn("c", 2))
		return true
	})
	c.waitInSync(t, 3)
	c.elect("c")
	nodes["c"].want("key", "2")
}

// When a node starts, Raft shows it again the maps of its past. What it was
// assigned later it must not let go of.
func TestMapsOfThePastReleaseNothing(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	m, _ := c.current()
	past := *m
	past.Partitions = slices.Clone(m.Partitions)
	past.Partitions[0].Version = 0
	past.Partitions[0].Members = []clusterkit.Member{memberOn("a", 1), memberOn("b", 1)}
	past.Partitions[0].InSync = past.Partitions[0].Members
	nodes["a"].set("key", "value")
	for _, p := range nodes {
		p.kill()
	}
	nodes["c"].cluster.past = []*clusterkit.Map{&past, &past}
	nodes["c"].start()
	nodes["b"].start()
	c.elect("c")
	nodes["a"].start()
	nodes["c"].want("key", "value")
}

func TestDiskThatMustNotTakePart(t *testing.T) {
	c := newControl(1, "a")
	a := newProcess(t, c, "a")
	a.start()
	a.set("key", "value")
	a.kill()

	stranger := &handle{control: c, id: "b"}
	if n, err := kvstore.Open(kvstore.Options{Dir: a.dir, Cluster: stranger, Logger: quiet()}); !errors.Is(err, storage.ErrOtherStore) {
		t.Errorf("opened by another store: %v, %v", n, err)
	}
	a.start()
	c.elect("a")
	a.set("key", "value")
	a.waitApplied()
	a.kill()
	if err := os.RemoveAll(filepath.Join(a.dir, "log")); err != nil {
		t.Fatal(err)
	}
	if n, err := kvstore.Open(kvstore.Options{Dir: a.dir, Cluster: a.cluster, Logger: quiet()}); !errors.Is(err, kvstore.ErrLogMissing) {
		t.Errorf("opened without its log: %v, %v", n, err)
	}
}
