package check

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/skshohagmiah/clusterkit/loadtest/history"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type (
	execute   = func(target.Op) (target.Result, error)
	intercept = func(op target.Op, execute execute) (target.Result, error)
)

var seed = flag.Uint64("seed", 0, "what the tests draw from, as a failed one has told; 0 for another in each")

// random returns what a test draws from. A seed repeats what clients do and the
// draws of what goes wrong, but not in which order the clients come to a store.
func random(t testing.TB) *rand.Rand {
	t.Helper()
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("drawn with -seed %d", s)
		}
	})
	return rand.New(rand.NewPCG(s, 0))
}

// In one of how many operations something goes wrong.
const (
	always    = 1
	sometimes = 20
)

// record loads a store in memory, with something wrong in one of so many scans and
// operations that have an effect, and returns the whole history.
func record(t testing.TB, random *rand.Rand, operations int, change func(*history.Config), oneIn int, wrong intercept) []history.Operation {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var (
		mu    sync.Mutex
		begun int
	)
	store := target.NewMemory()
	store.Intercept = func(_ context.Context, op target.Op, execute execute) (target.Result, error) {
		runtime.Gosched() // let clients overtake one another
		mu.Lock()
		begun++
		over := begun > operations
		spared := reads(op) && op.Kind != target.ScanPrefix || random.IntN(oneIn) > 0
		mu.Unlock()
		if over {
			cancel()
		}
		if over || spared {
			return execute(op)
		}
		return wrong(op, execute)
	}
	var out bytes.Buffer
	r := history.NewRecorder(&out)
	cfg := history.Defaults(store, "test")
	cfg.Think, cfg.Seed = 0, random.Uint64()
	if change != nil {
		change(&cfg)
	}
	l, err := history.New(cfg, store, r)
	if err != nil {
		t.Fatal(err)
	}
	l.Run(ctx)
	if unread := l.ReadBack(t.Context()); unread > 0 {
		t.Errorf("%d units could not be read", unread)
	}
	if err := r.Close(); err != nil {
		t.Fatal(err)
	}
	ops, err := history.Read(&out)
	if err != nil {
		t.Fatal(err)
	}
	return ops
}

func right(op target.Op, execute execute) (target.Result, error) { return execute(op) }

// silent neither executes an operation nor answers.
func silent(target.Op, execute) (target.Result, error) {
	return target.Result{}, errors.New("no answer")
}

// reads reports whether an operation has no effect.
func reads(op target.Op) bool {
	return op.Kind.IsRead() || op.Kind == target.Batch && op.Ops[0].Kind.IsRead()
}

// A right store is never convicted, whatever outcomes stay unknown.
func TestRightStores(t *testing.T) {
	var lost atomic.Uint64
	for _, tc := range []struct {
		name   string
		change func(*history.Config)
		fault  intercept
	}{
		{"always answers", nil, right},
		{"with a rate", func(c *history.Config) { c.Rate = 20_000 }, right},
		{"a single key that is never changed", func(c *history.Config) { c.Keys, c.PerKey = 1, 1<<30 }, right},
		{"loses requests and answers", nil, func(op target.Op, execute execute) (target.Result, error) {
			if lost.Add(1)%2 == 0 {
				if _, err := execute(op); err != nil {
					return target.Result{}, err
				}
			}
			return silent(op, execute)
		}},
		{"refuses", nil, func(target.Op, execute) (target.Result, error) {
			return target.Result{}, &target.FailedError{Err: errors.New("refused")}
		}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			ops := record(t, random(t), 3000, tc.change, sometimes, tc.fault)
			v, err := History(ops, Options{})
			if err != nil || v.Outcome() != Passed {
				t.Errorf("%+v, %v", v, err)
			}
			if v.OK+v.Failed+v.Unknown != len(ops) || v.OK < 2000 {
				t.Errorf("%+v of %d operations", v, len(ops))
			}
		})
	}
}

// stale shows now and then what a scan of the same has shown before.
func stale() intercept {
	var mu sync.Mutex
	last := map[string]target.Result{}
	return func(op target.Op, execute execute) (target.Result, error) {
		r, err := execute(op)
		if op.Kind != target.ScanPrefix || err != nil {
			return r, err
		}
		mu.Lock()
		defer mu.Unlock()
		before, ok := last[op.Key]
		last[op.Key] = r
		if ok && rand.N(10) == 0 {
			return before, nil
		}
		return r, nil
	}
}

// What goes wrong now and then is found, and called by its name, if not in the first
// history then in another: what one client did wrong can be hidden by what others
// did meanwhile.
func TestWrongStores(t *testing.T) {
	forget := func(op target.Op, _ execute) (target.Result, error) {
		return target.Result{Results: make([]target.Result, len(op.Ops))}, nil
	}
	twice := func(op target.Op, execute execute) (target.Result, error) {
		if _, err := execute(op); err != nil {
			return target.Result{}, err
		}
		return execute(op)
	}
	lie := func(op target.Op, execute execute) (target.Result, error) {
		_, err := execute(op)
		return target.Result{}, &target.FailedError{Err: errors.Join(errors.New("not executed"), err)}
	}
	tear := func(op target.Op, execute execute) (target.Result, error) {
		part := op
		part.Ops = op.Ops[:1]
		if _, err := execute(part); err != nil {
			return target.Result{}, err
		}
		return silent(op, execute)
	}
	for _, tc := range []struct {
		name, workload string
		oneIn          int
		fault          intercept
		want           Kind
	}{
		{"forgets a set", "register", sometimes, forget, Stale},
		{"forgets an element", "list", sometimes, forget, Stale},
		{"forgets an element for good", "list", sometimes, forget, Lost},
		{"forgets a batch", "batch", sometimes, forget, Stale},
		{"counts twice", "counter", sometimes, twice, Duplicated},
		{"appends twice", "list", sometimes, twice, Duplicated},
		{"denies a set", "register", sometimes, lie, Phantom},
		{"denies a compare-and-set", "cas", sometimes, lie, Phantom},
		{"denies a creation", "create", sometimes, lie, Phantom},
		{"denies an increment", "counter", sometimes, lie, Duplicated},
		{"tears a batch", "batch", sometimes, tear, Torn},
		{"tears a scan", "scan", always, func(op target.Op, execute execute) (target.Result, error) {
			if op.Kind != target.ScanPrefix {
				return execute(op)
			}
			r := target.Result{}
			for _, get := range op.Ops {
				part, err := execute(get)
				if err != nil {
					return r, err
				}
				r.Results = append(r.Results, part)
				runtime.Gosched()
			}
			return r, nil
		}, Torn},
		{"scans what was", "scan", always, stale(), Stale},
		{"creates twice", "create", always, func(op target.Op, execute execute) (target.Result, error) {
			if op.Kind == target.Create {
				op.Kind = target.Set
				r, err := execute(op)
				r.Met = true
				return r, err
			}
			return execute(op)
		}, NotLinearizable},
		{"compares nothing", "cas", always, func(op target.Op, execute execute) (target.Result, error) {
			if op.Kind == target.CompareAndSet {
				op.Kind = target.Set
				r, err := execute(op)
				r.Met = true
				return r, err
			}
			return execute(op)
		}, NotLinearizable},
	} {
		t.Run(tc.name, func(t *testing.T) {
			const histories = 20
			var v *Verdict
			random := random(t)
			for range histories {
				ops := record(t, random, 1500, func(c *history.Config) { c.Workloads, c.Clients, c.PerKey = []string{tc.workload}, 6, 60 }, tc.oneIn, tc.fault)
				var err error
				if v, err = History(ops, Options{}); err != nil {
					t.Fatal(err)
				}
				if v.Outcome() == Violated && v.Counts[tc.want] > 0 && v.Counts[NotLinearizable] > 0 {
					return
				}
			}
			t.Errorf("want %s in one of %d histories, the last: %+v", tc.want, histories, v)
		})
	}
}

// No client is heard of again after an unknown outcome, nobody does two things
// at once, and no key gets more than its share.
func TestDiscipline(t *testing.T) {
	ops := record(t, random(t), 3000, func(c *history.Config) { c.PerKey = 50 }, sometimes, silent)
	last := map[int]history.Operation{}
	units := map[string]int{}
	for _, o := range ops {
		if before, ok := last[o.Client]; ok && o.Call < before.Return {
			t.Fatalf("client %d is called at %v, before the return at %v (%s)", o.Client, o.Call, before.Return, before.Outcome)
		}
		last[o.Client] = o
		if !o.Final {
			units[o.Unit()]++
		}
	}
	for unit, n := range units {
		if n > 50 {
			t.Errorf("%q got %d operations", unit, n)
		}
	}
	if len(units) < 40 {
		t.Errorf("%d units", len(units))
	}
	for _, name := range history.Workloads() {
		if !slices.ContainsFunc(ops, func(o history.Operation) bool {
			return o.Final && bytes.Contains([]byte(o.Unit()), []byte("/"+name+"/"))
		}) {
			t.Errorf("nothing of %s was read back", name)
		}
	}
}

func BenchmarkHistory(b *testing.B) {
	ops := record(b, random(b), 10_000, nil, always, right)
	for b.Loop() {
		if v, err := History(ops, Options{}); err != nil || v.Outcome() != Passed {
			b.Fatalf("%+v, %v", v, err)
		}
	}
}
