package kvstore_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// begin begins one command, as soon as the node takes it.
func begin(t *testing.T, p *kvstore.Pipeline, c api.Command) {
	t.Helper()
	for deadline := time.After(patience); !p.Begin(api.Batch{Commands: []api.Command{c}}); {
		select {
		case <-deadline:
			t.Fatalf("%s of %s is not begun", c.Op, c.Key)
		case <-time.After(time.Millisecond):
		}
	}
}

// A client's reads see what it has sent before them, and its answers come in
// the order of its requests.
func TestPipelineKeepsTheOrder(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	p := nodes["a"].router.NewPipeline(patience)
	const rounds = 100
	key, value := []byte("k"), []byte("x")
	for range rounds {
		begin(t, p, api.Command{Op: api.OpAppend, Key: key, Value: value})
		begin(t, p, api.Command{Op: api.OpGet, Key: key})
		begin(t, p, api.Command{Op: api.OpSet, Key: []byte("other"), Value: value})
	}
	copy(key, "?") // nothing of a batch is kept
	copy(value, "?")
	if p.Len() != 3*rounds {
		t.Errorf("%d are under way, want %d", p.Len(), 3*rounds)
	}
	for i := range rounds {
		for _, what := range []string{"append", "get"} {
			results, err := p.Wait()
			if err != nil || len(results[0].Value) != i+1 {
				t.Fatalf("%s %d: %+v, %v", what, i, results, err)
			}
		}
		if _, err := p.Wait(); err != nil {
			t.Fatalf("set %d: %v", i, err)
		}
	}
	if got, found, ok := p.Get([]byte("other")); string(got) != "x" || !found || !ok {
		t.Errorf("get: %q, %v, %v", got, found, ok)
	}
	if _, found, ok := p.Get([]byte("absent")); found || !ok {
		t.Errorf("get of an absent key: %v, %v", found, ok)
	}
	if _, _, ok := p.Get(nil); ok {
		t.Error("it takes an empty key")
	}
}

func TestPipelineOnAnotherNode(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["a"].set("k", "v")
	p := nodes["b"].router.NewPipeline(patience)
	get := api.Batch{Commands: []api.Command{{Op: api.OpGet, Key: []byte("k")}}}
	if _, _, ok := p.Get([]byte("k")); ok || p.Begin(get) {
		t.Error("a node that is not the primary answers")
	}
	moved := (*api.Error)(nil)
	if _, err := p.Execute(within(t), get); !errors.As(err, &moved) || moved.Code != api.CodeNotPrimary || moved.Details["primary"] != "a" {
		t.Errorf("execute: %v", err)
	}

	// The primary goes, and the client is not sent to where nobody is.
	nodes["a"].kill()
	c.update(func(m *clusterkit.Map) { m.Node("a").Alive = false })
	done := make(chan error, 1)
	go func() {
		results, err := p.Execute(within(t), get)
		if err == nil && string(results[0].Value) != "v" {
			err = fmt.Errorf("got %q", results[0].Value)
		}
		done <- err
	}()
	select {
	case err := <-done:
		t.Fatalf("it did not wait: %v", err)
	case <-time.After(20 * time.Millisecond):
	}
	c.updatePartitions(func(p *clusterkit.Partition) bool {
		p.Primary, p.Epoch = "b", p.Epoch+1
		return true
	})
	if err := <-done; err != nil {
		t.Error(err)
	}
}

func TestPipelineRefusesWhatCannotBeExecuted(t *testing.T) {
	c := newControl(4, "a")
	a := newProcess(t, c, "a")
	a.start()
	a.set("k", "text")
	p := a.router.NewPipeline(patience)
	var apart []api.Command
	for i := range 40 {
		apart = append(apart, api.Command{Op: api.OpSet, Key: fmt.Append(nil, i)})
	}
	for _, b := range []api.Batch{{}, {Commands: apart}, {Commands: []api.Command{{Op: api.OpSet}}}} {
		if p.Begin(b) {
			t.Errorf("begun: %d commands", len(b.Commands))
		}
		if _, err := p.Execute(within(t), b); !errors.Is(err, api.ErrBadRequest) {
			t.Errorf("%d commands: %v", len(b.Commands), err)
		}
	}
	begin(t, p, api.Command{Op: api.OpIncrement, Key: []byte("k"), Delta: 1})
	if _, err := p.Wait(); !errors.Is(err, api.ErrBadRequest) {
		t.Errorf("increment of a text: %v", err)
	}
}

// Writes that a role leaves behind are of unknown outcome, and reads that
// depend on them were not answered.
func TestPipelineWhoseRoleEnds(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["a"].set("k", "old")
	p := nodes["a"].router.NewPipeline(patience)
	nodes["b"].kill() // nothing is committed any more
	begin(t, p, api.Command{Op: api.OpSet, Key: []byte("k"), Value: []byte("new")})
	begin(t, p, api.Command{Op: api.OpGet, Key: []byte("k")})
	c.elect("c")
	if _, err := p.Wait(); !errors.Is(err, api.ErrOutcomeUnknown) {
		t.Errorf("set: %v", err)
	}
	if _, err := p.Wait(); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("get: %v", err)
	}
}

// Without its lease a primary asks the others, also for a pipeline.
func TestPipelineWithoutALease(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["a"].set("k", "v")
	nodes["a"].cluster.expired.Store(true)
	p := nodes["a"].router.NewPipeline(patience)
	if _, _, ok := p.Get([]byte("k")); ok {
		t.Error("it answers at once")
	}
	begin(t, p, api.Command{Op: api.OpGet, Key: []byte("k")})
	if results, err := p.Wait(); err != nil || string(results[0].Value) != "v" {
		t.Errorf("%+v, %v", results, err)
	}
}

func TestPipelineFindsExpiredValues(t *testing.T) {
	c := newControl(1, "a")
	a := newProcess(t, c, "a")
	a.start()
	p := a.router.NewPipeline(patience)
	begin(t, p, api.Command{Op: api.OpSet, Key: []byte("k"), Value: []byte("v"), TTL: 1})
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if value, found, ok := p.Get([]byte("k")); ok && !found {
			t.Fatalf("an expired value is called absent before its deletion: %q", value)
		} else if !ok {
			break
		}
	}
	begin(t, p, api.Command{Op: api.OpGet, Key: []byte("k")})
	if results, err := p.Wait(); err != nil || results[0].Found {
		t.Errorf("%+v, %v", results, err)
	}
	if _, found, ok := p.Get([]byte("k")); found || !ok {
		t.Errorf("after its deletion: %v, %v", found, ok)
	}
}

func BenchmarkPipeline(b *testing.B) {
	for _, depth := range []int{1, 16} {
		b.Run("set/"+strconv.Itoa(depth), func(b *testing.B) {
			c := newControl(1, "a")
			a := newProcess(b, c, "a")
			a.start()
			p := a.router.NewPipeline(patience)
			set := api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: []byte("k"), Value: make([]byte, 256)}}}
			if _, err := p.Execute(b.Context(), set); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				for range depth {
					if !p.Begin(set) {
						b.Fatal("it is not begun")
					}
				}
				for range depth {
					if _, err := p.Wait(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
	}
	b.Run("get", func(b *testing.B) {
		c := newControl(1, "a")
		a := newProcess(b, c, "a")
		a.start()
		p := a.router.NewPipeline(patience)
		set := api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: []byte("k"), Value: make([]byte, 256)}}}
		if _, err := p.Execute(b.Context(), set); err != nil {
			b.Fatal(err)
		}
		key := []byte("k")
		b.ReportAllocs()
		for b.Loop() {
			if _, _, ok := p.Get(key); !ok {
				b.Fatal("it is not answered")
			}
		}
	})
}
