package kvstore_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

const (
	largeItems = 600
	largeBytes = 4 << 10
)

func large(i int) []byte { return bytes.Repeat([]byte{byte(i)}, largeBytes) }

// slowly has all nodes copy at a rate.
func slowly(t *testing.T, p *process, rate int64) {
	t.Helper()
	if err := p.node.Throttle(t.Context(), api.Throttle{BytesPerSecond: &rate}); err != nil {
		t.Fatal(err)
	}
}

// only returns the one copy that is being made on a node, if there is one.
func only(p *process) (m api.Migration) {
	for _, m = range p.node.Migrations().Migrations {
	}
	return m
}

func (c *control) pause(paused bool) {
	c.update(func(m *clusterkit.Map) { m.Paused = paused })
}

// A copy is paused and resumed, survives the kill of its target and a cut, and
// does not begin again for it.
func TestCopiesGoOnWhereTheyWere(t *testing.T) {
	c, nodes := withoutLogOf(t, largeItems, large)
	var given atomic.Int64
	nodes["a"].spoil = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			next.ServeHTTP(&countingWriter{w, &given}, r)
		})
	}
	for _, id := range []string{"a", "b"} {
		nodes[id].start()
	}
	slowly(t, nodes["a"], 1<<20)
	target := nodes["c"]
	target.start()
	eventually(t, "half of it is there", func() bool { return only(target).Bytes > largeItems*largeBytes/2 })
	c.pause(true)
	eventually(t, "the copy is paused", func() bool { return strings.Contains(only(target).Waiting, "paused") })
	var durable uint64
	eventually(t, "what was copied is durable", func() bool {
		durable = unfinished(t, target)
		return durable > largeItems*largeBytes/2
	})
	paused := only(target)
	if paused.Phase != "waiting" || paused.Source != "a" || paused.Total < largeItems*largeBytes || paused.Bytes >= paused.Total {
		t.Errorf("the copy is shown as %+v", paused)
	}

	crashed := filepath.Join(t.TempDir(), "crashed")
	if err := os.CopyFS(crashed, os.DirFS(target.dir)); err != nil {
		t.Fatal(err)
	}
	target.kill()
	target.dir = crashed
	before := given.Load()
	target.start()
	eventually(t, "it waits for the end of the pause", func() bool { return strings.Contains(only(target).Waiting, "paused") })
	slowly(t, nodes["a"], 0)
	c.pause(false)
	c.waitInSync(t, 3)
	if rest := given.Load() - before; rest > int64(largeItems*(largeBytes+100)-durable) {
		t.Errorf("%d bytes were given after the kill, with %d of %d there already", rest, durable, largeItems*largeBytes)
	}
	if got := uint64(target.metric("kvstore_migration_resumed_bytes_total", "")); got < durable {
		t.Errorf("it went on behind %d bytes, %d were durable", got, durable)
	}
	c.elect("c")
	for i := range largeItems {
		target.want(fmt.Sprint("old ", i), string(large(i)))
	}
	eventually(t, "the source holds nothing any more", func() bool { return len(nodes["a"].node.Migrations().Giving) == 0 })
}

// unfinished returns how much of a copy the disk of a node would have after a
// crash at this moment.
func unfinished(t *testing.T, p *process) uint64 {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "data")
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(p.dir, "data"))); err != nil {
		t.Fatal(err)
	}
	store, err := storage.Open(storage.Options{Dir: dir, StoreID: "disk-" + p.id})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = store.Close() }()
	l, err := store.Resume(0)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Abort()
	return l.Loaded().Bytes
}

// countingWriter counts what is sent.
type countingWriter struct {
	http.ResponseWriter
	sent *atomic.Int64
}

func (w *countingWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *countingWriter) Write(p []byte) (int, error) {
	w.sent.Add(int64(len(p)))
	return w.ResponseWriter.Write(p)
}

// When the source restarts, what it held is gone: the copy begins anew. When
// it dies for good, the copy is made from another.
func TestCopiesSurviveTheirSource(t *testing.T) {
	for _, dies := range []bool{false, true} {
		t.Run(fmt.Sprintf("dies=%v", dies), func(t *testing.T) {
			c, nodes := withoutLogOf(t, largeItems, large)
			for _, id := range []string{"a", "b"} {
				nodes[id].start()
			}
			slowly(t, nodes["b"], 1<<20)
			nodes["c"].start()
			eventually(t, "a part is there", func() bool { return only(nodes["c"]).Bytes > 0 })
			nodes["a"].kill()
			c.depose("a")
			if !dies {
				nodes["a"].start()
			}
			slowly(t, nodes["b"], 0)
			c.waitFor(t, "c is in sync", func(m *clusterkit.Map) bool { return m.Partitions[0].IsInSync(memberOn("c", 1)) })
			c.elect("c")
			for i := range largeItems {
				nodes["b"].want(fmt.Sprint("old ", i), string(large(i)))
			}
		})
	}
}

// What is written while a copy is made is in the copy.
func TestCopiesUnderWrites(t *testing.T) {
	c, nodes := withoutLogOf(t, largeItems, large)
	for _, id := range []string{"a", "b"} {
		nodes[id].start()
	}
	slowly(t, nodes["a"], 2<<20)
	nodes["c"].start()
	stop := make(chan struct{})
	var writers sync.WaitGroup
	var last [3]int
	for w := range last {
		writers.Go(func() {
			for i := 1; ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				if _, err := nodes["b"].request(t.Context(), http.MethodPut, fmt.Sprint("old ", w*100), fmt.Sprint("new ", i)); err != nil {
					t.Errorf("a write during the copy: %v", err)
					return
				}
				last[w] = i
			}
		})
	}
	c.waitInSync(t, 3)
	close(stop)
	writers.Wait()
	c.elect("c")
	for i := range largeItems {
		want := string(large(i))
		if i%100 == 0 && i/100 < len(last) {
			want = fmt.Sprint("new ", last[i/100])
		}
		nodes["c"].want(fmt.Sprint("old ", i), want)
	}
}

// A copy that is given up leaves nothing behind, neither here nor at its
// source.
func TestCopiesThatAreNotWantedEnd(t *testing.T) {
	c, nodes := withoutLogOf(t, largeItems, large)
	for _, id := range []string{"a", "b"} {
		nodes[id].start()
	}
	slowly(t, nodes["a"], 1<<20)
	nodes["c"].start()
	eventually(t, "a part is there", func() bool { return only(nodes["c"]).Bytes > 0 })
	c.updatePartitions(func(p *clusterkit.Partition) bool {
		p.Members = []clusterkit.Member{memberOn("a", 1), memberOn("b", 1)}
		return true
	})
	eventually(t, "nothing is left of it", func() bool {
		return len(nodes["c"].node.Migrations().Migrations) == 0 && len(nodes["a"].node.Migrations().Giving) == 0 &&
			nodes["c"].node.Migrations().Garbage.Copies == 0
	})
}

// Damage on the disk of the source is found; the copy is refused, and made
// from the others.
func TestDamagedSourcesAreRefused(t *testing.T) {
	c, nodes := withoutLog(t)
	nodes["a"].damage(storedValue)
	for _, id := range []string{"a", "b", "c"} {
		nodes[id].start()
	}
	c.waitAnew(t, "a")
	c.waitInSync(t, 3)
	c.elect("c")
	wantStored(t, nodes["c"])
}

func TestThrottlesAreForAllNodes(t *testing.T) {
	c := newControl(1, "a", "b")
	nodes := startAll(t, c, "a", "b")
	rate, copies, impossible := int64(1<<20), 5, int64(1)
	if err := nodes["a"].node.Throttle(t.Context(), api.Throttle{BytesPerSecond: &impossible}); !errors.Is(err, api.ErrBadRequest) {
		t.Errorf("%v, want a bad request", err)
	}
	for _, change := range []api.Throttle{{BytesPerSecond: &rate}, {Copies: &copies}} {
		if err := nodes["a"].node.Throttle(t.Context(), change); err != nil {
			t.Fatal(err)
		}
	}
	state := func() api.ThrottleState { return nodes["b"].node.Migrations().Throttle }
	eventually(t, "the other node heeds it", func() bool {
		s := state()
		return s.BytesPerSecond == rate && s.Rate == rate && s.Copies == copies && s.Override != nil
	})
	if err := nodes["b"].node.ResetThrottle(t.Context()); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its own settings hold", func() bool {
		s := state()
		return s.BytesPerSecond != rate && s.Rate == s.BytesPerSecond && s.Copies != copies && s.Override == nil
	})
	// What somebody else has put there is not followed.
	if err := nodes["a"].cluster.SetMetadata(t.Context(), "kvstore/migration", `{"copies":-1}`); err != nil {
		t.Fatal(err)
	}
	if s := state(); s.Copies < 1 {
		t.Errorf("%+v", s)
	}
}

// A copy that catches up by log goes at the rate for copies, and so fast that
// it comes to an end whatever is written meanwhile.
func TestCatchingUpByLogIsThrottled(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["c"].kill()
	c.waitInSync(t, 2)
	value := strings.Repeat("v", 32<<10)
	for i := range 128 {
		nodes["a"].set(fmt.Sprint("key ", i), value)
	}
	slowly(t, nodes["a"], 64<<10)
	given := nodes["a"].metric("kvstore_migration_bytes_total", "out")
	nodes["c"].start()
	// A message takes a quarter of a minute at this rate, and there are four.
	eventually(t, "it is behind", func() bool { m := only(nodes["c"]); return m.Phase == "catching up by log" && m.Behind > 0 })
	nodes["a"].set("key 0", "new") // others do not wait for it
	if m, _ := c.current(); len(m.Partitions[0].InSync) != 2 {
		t.Errorf("4 MiB were there at once at 64 KiB per second: %+v", m.Partitions[0].InSync)
	}
	slowly(t, nodes["a"], 0)
	c.waitInSync(t, 3)
	if given = nodes["a"].metric("kvstore_migration_bytes_total", "out") - given; given < 4<<20 {
		t.Errorf("%v bytes were given", given)
	}
	c.elect("c")
	nodes["c"].want("key 0", "new")
	nodes["c"].want("key 127", value)
}
