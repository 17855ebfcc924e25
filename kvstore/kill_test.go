package kvstore_test

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"testing"
)

// writer writes rising numbers to one key and remembers what it was told.
type writer struct {
	key     string
	acked   int
	unknown map[int]bool
}

// write goes through any of the nodes that are up.
func (w *writer) write(t *testing.T, n int, up []*process) {
	p := up[n%len(up)]
	if _, err := p.request(t.Context(), http.MethodPut, w.key, strconv.Itoa(n)); err != nil {
		w.unknown[n] = true
	} else {
		w.acked = n
	}
}

// check wants the last acknowledged value, or one of unknown outcome: those
// may be executed late.
func (w *writer) check(t *testing.T, p *process) {
	t.Helper()
	got, err := p.request(t.Context(), http.MethodGet, w.key, "")
	if err != nil {
		t.Errorf("get %s: %v", w.key, err)
		return
	}
	if n, err := strconv.Atoi(got); err != nil || n != w.acked && !w.unknown[n] {
		t.Errorf("%s is %q; acknowledged was %d, unknown are %v", w.key, got, w.acked, slices.Sorted(maps.Keys(w.unknown)))
	}
}

// Each node is killed in turn while all write, and what was acknowledged is
// there.
func TestKillsUnderLoad(t *testing.T) {
	ids := []string{"a", "b", "c"}
	c := newControl(4, ids...)
	nodes := startAll(t, c, ids...)
	writers := make([]*writer, 8)
	for i := range writers {
		writers[i] = &writer{key: fmt.Sprint("key ", i), unknown: map[int]bool{}}
	}
	for round, victim := range ids {
		var up []*process
		for _, id := range ids {
			if id != victim {
				up = append(up, nodes[id])
			}
		}
		stop := make(chan struct{})
		var busy sync.WaitGroup
		for _, w := range writers {
			busy.Go(func() {
				for n := round * 1_000_000; ; n++ {
					w.write(t, n, up)
					select {
					case <-stop:
						return
					default:
					}
				}
			})
		}
		nodes[victim].kill()
		c.depose(victim)
		c.waitInSync(t, 2)
		nodes[victim].start()
		c.waitInSync(t, 3)
		close(stop)
		busy.Wait()
		for _, w := range writers {
			w.check(t, nodes[victim])
		}
	}
	c.elect("a")
	for _, w := range writers {
		if w.acked < 2_000_000 {
			t.Errorf("%s: nothing was acknowledged in the last round", w.key)
		}
		w.check(t, nodes["b"])
	}
}
