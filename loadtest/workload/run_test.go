package workload

import (
	"context"
	"errors"
	"maps"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// fakeKV is a correct store in memory, each operation of which takes one
// millisecond, but for what its hooks do wrong.
type fakeKV struct {
	mu     sync.Mutex
	values map[string][]byte
	sets   int
	faults
}

type faults struct {
	// set replaces the effect and the result of the nth write.
	set func(kv *fakeKV, nth int, key string, value []byte) error
	// get replaces the result of a read.
	get func(value []byte) ([]byte, error)
}

func newFakeKV(f faults) *fakeKV { return &fakeKV{values: map[string][]byte{}, faults: f} }

func (kv *fakeKV) Set(ctx context.Context, key string, value []byte) (string, error) {
	time.Sleep(time.Millisecond)
	if ctx.Err() != nil {
		return "", api.ErrOutcomeUnknown
	}
	kv.mu.Lock()
	defer kv.mu.Unlock()
	kv.sets++
	if kv.set != nil {
		return "1.1", kv.set(kv, kv.sets, key, value)
	}
	kv.values[key] = value
	return "1.1", nil
}

func (kv *fakeKV) Get(ctx context.Context, key string) (client.Value, error) {
	time.Sleep(time.Millisecond)
	kv.mu.Lock()
	defer kv.mu.Unlock()
	if ctx.Err() != nil {
		return client.Value{}, api.ErrUnavailable
	}
	value, found := kv.values[key]
	if !found {
		return client.Value{}, api.ErrNotFound
	}
	if kv.get != nil {
		got, err := kv.get(value)
		return client.Value{Data: got}, err
	}
	return client.Value{Data: value}, nil
}

// every10th returns a set hook that is correct but for each tenth write.
func every10th(wrong func(kv *fakeKV, key string, value []byte) error) func(*fakeKV, int, string, []byte) error {
	return func(kv *fakeKV, nth int, key string, value []byte) error {
		if nth%10 == 0 {
			return wrong(kv, key, value)
		}
		kv.values[key] = value
		return nil
	}
}

var small = Config{Clients: 4, Keys: 20, ReadRatio: 0.3, ValueSize: MinValueSize, Duration: time.Second, VerifyTimeout: 10 * time.Second}

func TestCorrectStorePasses(t *testing.T) {
	late := map[string][]byte{}
	for name, set := range map[string]func(*fakeKV, int, string, []byte) error{
		"all well": nil,
		"refused":  every10th(func(*fakeKV, string, []byte) error { return api.ErrUnavailable }),
		"unknown and not executed": every10th(func(*fakeKV, string, []byte) error {
			return api.ErrOutcomeUnknown
		}),
		"unknown and executed": every10th(func(kv *fakeKV, key string, value []byte) error {
			kv.values[key] = value
			return api.ErrOutcomeUnknown
		}),
		"unknown and executed late": func(kv *fakeKV, nth int, key string, value []byte) error {
			if nth%10 == 0 {
				late[key] = value
				return errors.New("connection reset")
			}
			kv.values[key] = value
			if nth%25 == 0 {
				maps.Copy(kv.values, late)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				kv := newFakeKV(faults{set: set})
				r, err := Run(t.Context(), small, kv)
				if err != nil {
					t.Fatal(err)
				}
				if r.Verdict() != Passed || r.Verified < small.Keys || r.Writes.Count() == 0 || r.Reads.Count() == 0 {
					t.Errorf("verdict %d, %d keys verified, violations %v", r.Verdict(), r.Verified, r.Violations)
				}
				if failed := r.Failures.Refused + r.Failures.Unknown; (set != nil) != (failed > 0) {
					t.Errorf("%d writes failed", failed)
				}
			})
		})
	}
}

// Each store is wrong in one way, which the run must find.
func TestPlantedBugsAreFound(t *testing.T) {
	bugs := map[string]struct {
		faults
		want Kind
	}{
		"acknowledges without storing": {faults{set: every10th(func(*fakeKV, string, []byte) error { return nil })}, Lost},
		"forgets the key": {faults{set: every10th(func(kv *fakeKV, key string, _ []byte) error {
			delete(kv.values, key)
			return nil
		})}, Lost},
		"executes what it refuses": {faults{set: every10th(func(kv *fakeKV, key string, value []byte) error {
			kv.values[key] = value
			return api.ErrUnavailable
		})}, Phantom},
		"forgets an older write when the outcome is unknown": {faults{set: every10th(func(kv *fakeKV, key string, _ []byte) error {
			delete(kv.values, key)
			return api.ErrOutcomeUnknown
		})}, Lost},
		"returns damaged values": {faults{get: func(v []byte) ([]byte, error) { return append(v[:len(v)-1:len(v)-1], '!'), nil }}, Corrupt},
		"stores under another key": {faults{set: every10th(func(kv *fakeKV, key string, value []byte) error {
			for other := range kv.values {
				kv.values[other] = value
			}
			return nil
		})}, Corrupt},
	}
	for name, bug := range bugs {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := Run(t.Context(), small, newFakeKV(bug.faults))
				if err != nil {
					t.Fatal(err)
				}
				if r.Verdict() != Violated {
					t.Fatal("not found")
				}
				kinds := map[Kind]int{}
				for _, v := range r.Violations {
					kinds[v.Kind]++
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
	synctest.Test(t, func(t *testing.T) {
		kv := newFakeKV(faults{})
		cfg := small
		cfg.ReadRatio = 0
		time.AfterFunc(cfg.Duration+500*time.Microsecond, func() {
			kv.mu.Lock()
			defer kv.mu.Unlock()
			clear(kv.values)
		})
		r, err := Run(t.Context(), cfg, kv)
		if err != nil || r.Verdict() != Violated {
			t.Errorf("verdict %d, %v", r.Verdict(), err)
		}
	})
}

func TestUndecided(t *testing.T) {
	for name, f := range map[string]faults{
		"nothing can be written":   {set: func(*fakeKV, int, string, []byte) error { return api.ErrUnavailable }},
		"nothing can be read back": {get: func([]byte) ([]byte, error) { return nil, api.ErrUnavailable }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, err := Run(t.Context(), small, newFakeKV(f))
				if err != nil || r.Verdict() != Undecided {
					t.Errorf("verdict %d, %v", r.Verdict(), err)
				}
			})
		})
	}
}

func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), small.Duration/2)
		defer cancel()
		r, err := Run(ctx, small, newFakeKV(faults{}))
		if err != nil || r.Verdict() != Interrupted || r.Writes.Count() == 0 || r.Verified != 0 {
			t.Errorf("verdict %d, %d writes, %d verified, %v", r.Verdict(), r.Writes.Count(), r.Verified, err)
		}
	})
}

func TestDuring(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, err := During(t.Context(), small, func(context.Context) error {
			time.Sleep(time.Minute)
			return nil
		}, newFakeKV(faults{}))
		if err != nil || r.Verdict() != Passed || r.Elapsed < time.Minute {
			t.Errorf("verdict %d after %v, %v", r.Verdict(), r.Elapsed, err)
		}
		broken := errors.New("broken")
		if _, err := During(t.Context(), small, func(context.Context) error { return broken }, newFakeKV(faults{})); !errors.Is(err, broken) {
			t.Errorf("%v", err)
		}
	})
}

// The gap is what clients lived through: a store that stands still for 400 of
// 1000 ms.
func TestGap(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := newFakeKV(faults{})
		start := time.Now()
		kv.set = func(kv *fakeKV, _ int, key string, value []byte) error {
			if at := time.Since(start); at > 300*time.Millisecond && at < 700*time.Millisecond {
				return api.ErrUnavailable
			}
			kv.values[key] = value
			return nil
		}
		r, err := Run(t.Context(), small, kv)
		if err != nil || r.Verdict() != Passed {
			t.Fatalf("verdict %d, %v", r.Verdict(), err)
		}
		const want = 400 * time.Millisecond
		if r.Gap < want || r.Gap > want+10*time.Millisecond || r.ClientGap < r.Gap {
			t.Errorf("gap %v, for one client %v", r.Gap, r.ClientGap)
		}
	})
}

func TestReport(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		kv := newFakeKV(faults{})
		kv.set = every10th(func(*fakeKV, string, []byte) error { return nil })
		r, err := Run(t.Context(), small, kv)
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if _, err := r.WriteTo(&out); err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"p99.9", "FAILED", "lost write", "more\n"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("no %q in:\n%s", want, out.String())
			}
		}
	})
}

func TestValidate(t *testing.T) {
	for field, spoil := range map[string]func(*Config){
		"clients":        func(c *Config) { c.Clients = 0 },
		"keys":           func(c *Config) { c.Keys = c.Clients - 1 },
		"value size":     func(c *Config) { c.ValueSize = MinValueSize - 1 },
		"read ratio":     func(c *Config) { c.ReadRatio = 1 },
		"duration":       func(c *Config) { c.Duration = 0 },
		"verify timeout": func(c *Config) { c.VerifyTimeout = -1 },
	} {
		cfg := Defaults()
		if err := cfg.Validate(); err != nil {
			t.Fatalf("defaults: %v", err)
		}
		spoil(&cfg)
		if err := cfg.Validate(); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}
