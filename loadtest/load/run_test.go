package load

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var (
	errRefused = &target.FailedError{Err: errors.New("refused")}
	errBroken  = errors.New("connection reset")
)

// intercept stands in for an operation of a store.
type intercept func(ctx context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error)

// slowly makes a store of which each operation takes a millisecond, and whose
// operations are done by wrong, if there is one.
func slowly(wrong intercept) *target.Memory {
	m := target.NewMemory()
	m.Intercept = func(ctx context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
		time.Sleep(time.Millisecond)
		switch {
		case ctx.Err() != nil && op.Kind.IsRead():
			return target.Result{}, errRefused
		case ctx.Err() != nil:
			return target.Result{}, errBroken
		case wrong != nil:
			return wrong(ctx, op, execute)
		}
		return execute(op)
	}
	return m
}

// every10thSet is correct but for each tenth write after the first hundred.
func every10thSet(wrong intercept) intercept {
	var sets atomic.Int64
	return func(ctx context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
		if op.Kind == target.Set {
			if n := sets.Add(1); n > 100 && n%10 == 0 {
				return wrong(ctx, op, execute)
			}
		}
		return execute(op)
	}
}

// small is a short load of each kind.
func small(rate float64) Config {
	cfg := Defaults()
	cfg.Keys, cfg.Clients, cfg.ValueSize, cfg.Rate = 20, 4, Fixed(MinValueSize), rate
	cfg.Duration, cfg.VerifyTimeout, cfg.FillTimeout = time.Second, 10*time.Second, 10*time.Second
	cfg.pause = time.Sleep
	return cfg
}

// inBothLoops runs a test with a closed loop and with an open one.
func inBothLoops(t *testing.T, test func(t *testing.T, cfg Config)) {
	t.Helper()
	for name, rate := range map[string]float64{"closed": 0, "open": 2000} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { test(t, small(rate)) })
		})
	}
}

func TestCorrectStorePasses(t *testing.T) {
	for name, set := range map[string]intercept{
		"all well": nil,
		"refused": func(context.Context, target.Op, func(target.Op) (target.Result, error)) (target.Result, error) {
			return target.Result{}, errRefused
		},
		"unknown and not executed": func(context.Context, target.Op, func(target.Op) (target.Result, error)) (target.Result, error) {
			return target.Result{}, errBroken
		},
		"unknown and executed": func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			_, _ = execute(op)
			return target.Result{}, errBroken
		},
		"unknown and executed late": func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			time.AfterFunc(100*time.Millisecond, func() { _, _ = execute(op) })
			return target.Result{}, errBroken
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBothLoops(t, func(t *testing.T, cfg Config) {
				store := slowly(nil)
				if set != nil {
					store = slowly(every10thSet(set))
				}
				r, err := Run(t.Context(), cfg, store)
				if err != nil {
					t.Fatal(err)
				}
				if r.Verdict() != Passed || r.Verified != cfg.Keys || r.Operations[Read].OK == 0 || r.Operations[Update].OK == 0 {
					t.Errorf("%s, violations %v, operations %v", r.Finding(), r.Violations, r.All.Counts)
				}
				if failed := r.All.Failed + r.All.Unknown; (set != nil) != (failed > 0) {
					t.Errorf("%d operations failed", failed)
				}
			})
		})
	}
}

// Each store is wrong in one way, which the run must find.
func TestPlantedBugsAreFound(t *testing.T) {
	for name, bug := range map[string]struct {
		wrong intercept
		want  Kind
	}{
		"acknowledges without storing": {every10thSet(func(context.Context, target.Op, func(target.Op) (target.Result, error)) (target.Result, error) {
			return target.Result{}, nil
		}), Lost},
		"forgets the key": {every10thSet(func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			return execute(target.Op{Kind: target.Delete, Key: op.Key})
		}), Lost},
		"executes what it refuses": {every10thSet(func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			_, _ = execute(op)
			return target.Result{}, errRefused
		}), Phantom},
		"forgets an older write when the outcome is unknown": {every10thSet(func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			_, _ = execute(target.Op{Kind: target.Delete, Key: op.Key})
			return target.Result{}, errBroken
		}), Lost},
		"executes late what it acknowledged at once": {every10thSet(func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			time.AfterFunc(50*time.Millisecond, func() { _, _ = execute(op) })
			return target.Result{}, nil
		}), Stale},
		"returns damaged values": {func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			r, err := execute(op)
			if len(r.Value) > 0 {
				r.Value[len(r.Value)-1] = '!'
			}
			return r, err
		}, Corrupt},
		"returns another key's value": {func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			if op.Kind == target.Get {
				op.Key = op.Key[:len(op.Key)-1] + "1"
			}
			return execute(op)
		}, Corrupt},
	} {
		t.Run(name, func(t *testing.T) {
			inBothLoops(t, func(t *testing.T, cfg Config) {
				r, err := Run(t.Context(), cfg, slowly(bug.wrong))
				if err != nil {
					t.Fatal(err)
				}
				if r.Verdict() != Violated {
					t.Fatal("not found")
				}
				kinds := r.Violations.Counts
				if bug.want == Lost { // or found, and then written anew
					kinds[Lost] += kinds[Stale]
				}
				if kinds[bug.want] == 0 {
					t.Errorf("found %v, want %s", kinds, bug.want)
				}
			})
		})
	}
}

// A write that is lost after the load is found by the reading back alone.
func TestReadBackFindsLoss(t *testing.T) {
	inBothLoops(t, func(t *testing.T, cfg Config) {
		cfg.Mix = Mix{Name: Custom, Shares: map[Operation]float64{Update: 1}}
		r, err := Run(t.Context(), cfg, slowly(func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			if op.Kind == target.Get {
				return target.Result{}, nil
			}
			return execute(op)
		}))
		if err != nil || r.Verdict() != Violated || r.Violations.Counts[Lost] != cfg.Keys || r.Violations.First[0].Kind != Lost {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestUnavailable(t *testing.T) {
	inBothLoops(t, func(t *testing.T, cfg Config) {
		r, err := Run(t.Context(), cfg, slowly(func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			return target.Result{}, errRefused
		}))
		if !errors.Is(err, ErrUnavailable) || !strings.Contains(err.Error(), "it took 0 of 20 keys: refused") || r != nil {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

// Something answers that is no store: no write is acknowledged, and none is known
// not to have been executed.
func TestNoStore(t *testing.T) {
	inBothLoops(t, func(t *testing.T, cfg Config) {
		r, err := Run(t.Context(), cfg, slowly(func(context.Context, target.Op, func(target.Op) (target.Result, error)) (target.Result, error) {
			return target.Result{}, errBroken
		}))
		if !errors.Is(err, ErrUnavailable) || !errors.Is(err, errBroken) || r != nil {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestUndecided(t *testing.T) {
	inBothLoops(t, func(t *testing.T, cfg Config) {
		r, err := Run(t.Context(), cfg, slowly(func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			if op.Kind == target.Get {
				return target.Result{}, errRefused
			}
			return execute(op)
		}))
		if err != nil || r.Verdict() != Undecided || r.Unreadable != cfg.Keys {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestInterrupted(t *testing.T) {
	inBothLoops(t, func(t *testing.T, cfg Config) {
		ctx, cancel := context.WithTimeout(t.Context(), cfg.Duration/2)
		defer cancel()
		r, err := Run(ctx, cfg, slowly(nil))
		if err != nil || r.Verdict() != Interrupted || r.All.OK == 0 || r.Verified != 0 {
			t.Errorf("%+v, %v", r, err)
		}
	})
}

func TestDuring(t *testing.T) {
	inBothLoops(t, func(t *testing.T, cfg Config) {
		r, err := During(t.Context(), cfg, slowly(nil), func(context.Context) error {
			time.Sleep(3 * time.Second)
			return nil
		})
		if err != nil || r.Verdict() != Passed || r.Elapsed < 3*time.Second || r.Generator.Limit != "" {
			t.Errorf("%s after %v, %v, %+v", r.Finding(), r.Elapsed, err, r.Generator)
		}
		broken := errors.New("broken")
		if _, err := During(t.Context(), cfg, slowly(nil), func(context.Context) error { return broken }); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
}

// An outage is what clients lived through: a store that takes no writes for 400
// of 1000 ms.
func TestOutage(t *testing.T) {
	inBothLoops(t, func(t *testing.T, cfg Config) {
		const want = 400 * time.Millisecond
		start := time.Now()
		store := slowly(func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			if at := time.Since(start); op.Kind == target.Set && at > 300*time.Millisecond && at < 300*time.Millisecond+want {
				return target.Result{}, errRefused
			}
			return execute(op)
		})
		r, err := Run(t.Context(), cfg, store)
		if err != nil || r.Verdict() != Passed {
			t.Fatalf("%v, %v", r, err)
		}
		if got := r.Unavailable(); got < want || got > want+100*time.Millisecond {
			t.Errorf("unavailable for %v", got)
		}
		if cfg.Rate == 0 && (r.ClientGap < want || r.ClientGap > want+100*time.Millisecond) {
			t.Errorf("client gap %v", r.ClientGap)
		}
	})
}

// What is repeatable is the sequence of operations, with any number of clients.
func TestSeed(t *testing.T) {
	sequence := func(seed uint64, clients int) (all string) {
		synctest.Test(t, func(t *testing.T) {
			cfg := small(500)
			cfg.Seed, cfg.Clients, cfg.Mix = seed, clients, Mixes[3]
			var b strings.Builder
			store := slowly(nil)
			inner := store.Intercept
			store.Intercept = func(ctx context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
				b.WriteString(string(op.Kind) + op.Key[strings.LastIndex(op.Key, "/"):] + "\n")
				return inner(ctx, op, execute)
			}
			cfg.Clients = 1
			if _, err := Run(t.Context(), cfg, store); err != nil {
				t.Fatal(err)
			}
			all = b.String()
		})
		return all
	}
	if sequence(1, 1) != sequence(1, 7) {
		t.Error("the same seed gives another sequence")
	}
	if sequence(1, 1) == sequence(2, 1) {
		t.Error("the seed changes nothing")
	}
}

func TestMixesRun(t *testing.T) {
	for _, mix := range Mixes {
		t.Run(mix.Name, func(t *testing.T) {
			inBothLoops(t, func(t *testing.T, cfg Config) {
				cfg.Mix, cfg.Duration = mix, 400*time.Millisecond
				r, err := Run(t.Context(), cfg, slowly(nil))
				if err != nil {
					t.Fatal(err)
				}
				for operation, share := range mix.Shares {
					got := float64(r.Operations[operation].OK) / float64(r.All.OK)
					if want := share / 100; got < want/2 || got > want*1.5 {
						t.Errorf("%.2f of the operations are %s, want %.2f", got, operation, want)
					}
				}
				if inserted := r.Verified - cfg.Keys; r.Verdict() != Passed || (mix.Shares[Insert] > 0) != (inserted > 0) {
					t.Errorf("%s: %v", r.Finding(), r.Violations)
				}
			})
		})
	}
}

// without is a store that lacks some operations.
type without struct {
	*target.Memory
	lacks map[target.Kind]bool
}

func (w without) Supports(k target.Kind) bool { return !w.lacks[k] && w.Memory.Supports(k) }

func TestScansWithoutScan(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := small(0)
		cfg.Mix, cfg.Duration = Mixes[4], 100*time.Millisecond
		store := without{slowly(nil), map[target.Kind]bool{target.Scan: true}}
		r, err := Run(t.Context(), cfg, store)
		if err != nil || r.Verdict() != Passed || len(r.Notes) != 1 {
			t.Errorf("%+v, %v", r, err)
		}
		store.lacks[target.MGet] = true
		if _, err := Run(t.Context(), cfg, store); err == nil || !strings.Contains(err.Error(), "ycsb-e") {
			t.Errorf("%v", err)
		}
	})
}
