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
	for deadline := time.After(patience); !p.Begin(api.Batch{Commands: []api.Command{c}}, true); {
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
	p := nodes["a"].router.NewTurn().NewPipeline(patience, func() {})
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
	if got, found, ok := p.Get([]byte("other"), true); string(got) != "x" || !found || !ok {
		t.Errorf("get: %q, %v, %v", got, found, ok)
	}
	if _, found, ok := p.Get([]byte("absent"), true); found || !ok {
		t.Errorf("get of an absent key: %v, %v", found, ok)
	}
	if _, _, ok := p.Get(nil, true); ok {
		t.Error("it takes an empty key")
	}
}

func TestPipelineOnAnotherNode(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["a"].set("k", "v")
	p := nodes["b"].router.NewTurn().NewPipeline(patience, func() {})
	get := api.Batch{Commands: []api.Command{{Op: api.OpGet, Key: []byte("k")}}}
	if _, _, ok := p.Get([]byte("k"), true); ok || p.Begin(get, true) {
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
	p := a.router.NewTurn().NewPipeline(patience, func() {})
	var apart []api.Command
	for i := range 40 {
		apart = append(apart, api.Command{Op: api.OpSet, Key: fmt.Append(nil, i)})
	}
	for _, b := range []api.Batch{{}, {Commands: apart}, {Commands: []api.Command{{Op: api.OpSet}}}} {
		if p.Begin(b, true) {
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
	p := nodes["a"].router.NewTurn().NewPipeline(patience, func() {})
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
	p := nodes["a"].router.NewTurn().NewPipeline(patience, func() {})
	if _, _, ok := p.Get([]byte("k"), true); ok {
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
	p := a.router.NewTurn().NewPipeline(patience, func() {})
	begin(t, p, api.Command{Op: api.OpSet, Key: []byte("k"), Value: []byte("v"), TTL: 1})
	if _, err := p.Wait(); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if value, found, ok := p.Get([]byte("k"), true); ok && !found {
			t.Fatalf("an expired value is called absent before its deletion: %q", value)
		} else if !ok {
			break
		}
	}
	begin(t, p, api.Command{Op: api.OpGet, Key: []byte("k")})
	if results, err := p.Wait(); err != nil || results[0].Found {
		t.Errorf("%+v, %v", results, err)
	}
	if _, found, ok := p.Get([]byte("k"), true); found || !ok {
		t.Errorf("after its deletion: %v, %v", found, ok)
	}
}

// told returns a pipeline of the turn, and what is signalled when it tells.
func told(turn *kvstore.Turn, patience time.Duration) (*kvstore.Pipeline, <-chan struct{}) {
	ch := make(chan struct{}, 1)
	return turn.NewPipeline(patience, func() {
		select {
		case ch <- struct{}{}:
		default:
		}
	}), ch
}

// ready waits until the pipeline has told that its first batch is answered.
func ready(t *testing.T, p *kvstore.Pipeline, told <-chan struct{}) {
	t.Helper()
	for deadline := time.After(patience); ; {
		if ok, slow := p.Ready(); ok {
			return
		} else if slow {
			t.Fatal("it is slow")
		}
		select {
		case <-told:
		case <-deadline:
			t.Fatal("it tells nothing")
		}
	}
}

func one(c api.Command) api.Batch { return api.Batch{Commands: []api.Command{c}} }

// What several clients of one goroutine begin leaves the node at the end of
// their turn, and each of them is told.
func TestPipelinesOfATurn(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	turn := nodes["a"].router.NewTurn()
	p, pTold := told(turn, patience)
	q, qTold := told(turn, patience)
	nodes["a"].set("k", "v")
	set, get := one(api.Command{Op: api.OpSet, Key: []byte("k"), Value: []byte("w")}), one(api.Command{Op: api.OpGet, Key: []byte("k")})
	for round := range 50 {
		if !p.Begin(set, false) || !q.Begin(get, false) {
			t.Fatalf("round %d: not begun", round)
		}
		if ok, slow := p.Ready(); ok || slow {
			t.Fatalf("round %d: ready before the end of the turn", round)
		}
		turn.End()
		ready(t, p, pTold)
		ready(t, q, qTold)
		if _, err := p.Wait(); err != nil {
			t.Fatal(err)
		}
		if results, err := q.Wait(); err != nil || string(results[0].Value) != "w" {
			t.Fatalf("%+v, %v", results, err)
		}
	}
}

// Who may not wait is not kept waiting by the storage.
func TestPipelineOfWhatIsNotInMemory(t *testing.T) {
	c := newControl(1, "a")
	a := newProcess(t, c, "a")
	a.start()
	a.set("k", "v")
	a.waitApplied()
	a.kill()
	a.start()
	c.elect("a")
	turn := a.router.NewTurn()
	p, pTold := told(turn, patience)
	get := one(api.Command{Op: api.OpGet, Key: []byte("k")})
	for deadline := time.After(patience); ; {
		if _, _, ok := p.Get([]byte("another"), true); ok {
			break
		}
		select {
		case <-deadline:
			t.Fatal("it does not serve")
		case <-time.After(time.Millisecond):
		}
	}
	a.node.SlowStorage()
	if _, _, ok := p.Get([]byte("k"), false); ok || p.Begin(get, false) {
		t.Fatal("it has read the storage")
	}
	if value, found, ok := p.Get([]byte("k"), true); string(value) != "v" || !found || !ok {
		t.Errorf("get: %q, %v, %v", value, found, ok)
	}
	a.node.SlowStorage()
	if value, found, ok := p.Get([]byte("k"), false); string(value) != "v" || !found || !ok {
		t.Errorf("get of what has been read before: %q, %v, %v", value, found, ok)
	}
	if !p.Begin(get, false) {
		t.Fatal("not begun")
	}
	turn.End()
	ready(t, p, pTold)
	if results, err := p.Wait(); err != nil || string(results[0].Value) != "v" {
		t.Errorf("%+v, %v", results, err)
	}
}

// A pipeline tells of the end of a role, and not of that of its patience.
func TestPipelineThatIsNotAnswered(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["a"].set("k", "old")
	turn := nodes["a"].router.NewTurn()
	p, pTold := told(turn, patience)
	q, _ := told(turn, time.Millisecond)
	nodes["b"].kill() // nothing is committed any more
	set := one(api.Command{Op: api.OpSet, Key: []byte("k"), Value: []byte("new")})
	if !p.Begin(set, false) || !q.Begin(set, false) {
		t.Fatal("not begun")
	}
	turn.End()
	for deadline := time.Now().Add(patience); ; {
		if ok, _ := q.Ready(); ok {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("its patience does not end")
		}
	}
	if _, err := q.Wait(); !errors.Is(err, api.ErrOutcomeUnknown) {
		t.Errorf("after the patience: %v", err)
	}
	c.elect("c")
	ready(t, p, pTold)
	if _, err := p.Wait(); !errors.Is(err, api.ErrOutcomeUnknown) {
		t.Errorf("after the role: %v", err)
	}
}

// Without a lease an answer is slow.
func TestPipelineThatIsSlow(t *testing.T) {
	c := newControl(1, "a", "b", "c")
	nodes := startAll(t, c, "a", "b", "c")
	nodes["a"].set("k", "v")
	turn := nodes["a"].router.NewTurn()
	p, _ := told(turn, patience)
	get := one(api.Command{Op: api.OpGet, Key: []byte("k")})
	for _, expired := range []bool{true, false} {
		nodes["a"].cluster.expired.Store(expired)
		if !p.Begin(get, false) {
			t.Fatal("not begun")
		}
		turn.End()
		if ok, slow := p.Ready(); ok == expired || slow != expired {
			t.Errorf("lease expired %v: ready %v, slow %v", expired, ok, slow)
		}
		nodes["a"].cluster.expired.Store(true) // what was ready stays so
		if results, err := p.Wait(); err != nil || string(results[0].Value) != "v" {
			t.Errorf("%+v, %v", results, err)
		}
	}
}

func BenchmarkPipeline(b *testing.B) {
	for _, depth := range []int{1, 16} {
		b.Run("set/"+strconv.Itoa(depth), func(b *testing.B) {
			c := newControl(1, "a")
			a := newProcess(b, c, "a")
			a.start()
			p := a.router.NewTurn().NewPipeline(patience, func() {})
			set := api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: []byte("k"), Value: make([]byte, 256)}}}
			if _, err := p.Execute(b.Context(), set); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				for range depth {
					if !p.Begin(set, true) {
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
		p := a.router.NewTurn().NewPipeline(patience, func() {})
		set := api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: []byte("k"), Value: make([]byte, 256)}}}
		if _, err := p.Execute(b.Context(), set); err != nil {
			b.Fatal(err)
		}
		key := []byte("k")
		b.ReportAllocs()
		for b.Loop() {
			if _, _, ok := p.Get(key, true); !ok {
				b.Fatal("it is not answered")
			}
		}
	})
}
