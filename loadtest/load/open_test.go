package load

import (
	"context"
	"math"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// A store that stands still for a second is charged with the operations that
// were to be sent then, though it had a single client to refuse.
func TestNoCoordinatedOmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := small(1000)
		cfg.Mix = Mixes[2] // reads only
		cfg.Clients, cfg.Duration = 20, 10*time.Second
		begun := time.Time{}
		var once sync.Once
		store := slowly(func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			if op.Kind == target.Get {
				once.Do(func() { begun = time.Now() })
				if at := time.Since(begun); at > 4*time.Second && at < 5*time.Second {
					time.Sleep(5*time.Second - at)
				}
			}
			return execute(op)
		})
		r, err := Run(t.Context(), cfg, store)
		if err != nil || r.Verdict() != Passed || r.Generator.Limit != "" {
			t.Fatalf("%+v, %v", r, err)
		}
		if r.Generator.Sent != 10_000 || r.Generator.Unsent != 0 || r.All.OK != 10_000 {
			t.Errorf("%d operations were sent and %d not, %d succeeded", r.Generator.Sent, r.Generator.Unsent, r.All.OK)
		}
		// A thousand of ten thousand were due while it stood still, each of which
		// waited for what was left of that second: 5 % waited more than half of it.
		l := r.All.Latencies
		for q, want := range map[float64]time.Duration{0.5: time.Millisecond, 0.945: 440 * time.Millisecond, 0.99: 900 * time.Millisecond} {
			if got := l.Quantile(q); math.Abs((got - want).Seconds()) > 0.06 {
				t.Errorf("quantile %v is %v, want %v", q, got, want)
			}
		}
		if got := l.Max(); got < time.Second || got > 1100*time.Millisecond {
			t.Errorf("the longest is %v", got)
		}
	})
}

// Each operation begins exactly when it is due.
func TestOpenLoopTiming(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := small(100)
		cfg.Mix, cfg.Ramp, cfg.Warmup, cfg.Duration = Mixes[2], 2*time.Second, 1005*time.Millisecond, 3*time.Second
		var mu sync.Mutex
		var sent []time.Time
		store := target.NewMemory()
		store.Intercept = func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
			mu.Lock()
			defer mu.Unlock()
			if op.Kind == target.Get {
				sent = append(sent, time.Now())
			}
			return execute(op)
		}
		r, err := Run(t.Context(), cfg, store)
		if err != nil {
			t.Fatal(err)
		}
		const want = 100 + 101 + 300
		if r.Generator.Sent != want || r.All.OK != 300 || r.Measured != cfg.Duration {
			t.Fatalf("%d were sent, %d measured in %v", r.Generator.Sent, r.All.OK, r.Measured)
		}
		s := schedule{cfg.Rate, cfg.Ramp}
		for i, at := range sent[:want] {
			if got := at.Sub(r.Start); got != s.at(uint64(i)) {
				t.Fatalf("operation %d began at %v, want %v", i, got, s.at(uint64(i)))
			}
		}
		if i := r.Intervals[0]; i.Measured || i.OK < 25 || i.OK > 26 {
			t.Errorf("the first second of the ramp: %+v", i)
		}
	})
}

func TestSchedule(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := schedule{rapid.Float64Range(10, 1e7).Draw(t, "rate"), time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "ramp"))}
		i := rapid.Uint64Range(0, 1e9).Draw(t, "i")
		at, next := s.at(i), s.at(i+1)
		if at < 0 || next < at {
			t.Fatalf("operation %d at %v, the next at %v", i, at, next)
		}
		if at >= s.ramp && math.Abs((next-at).Seconds()-1/s.rate) > 1e-6 {
			t.Fatalf("%v between two operations, at %v a second", next-at, s.rate)
		}
		const rounding = 2 * time.Microsecond
		if n := s.before(at - rounding); float64(n) > float64(i)+1 {
			t.Fatalf("%d operations before that of number %d", n, i)
		}
		if n := s.before(next + rounding); n < i+1 {
			t.Fatalf("%d operations after that of number %d", n, i)
		}
	})
}

// A store that is slower than the rate is told from a generator that is.
func TestWhoIsTheLimit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := small(10_000)
		r, err := Run(t.Context(), cfg, slowly(nil)) // 4 clients do 4000 a second
		if err != nil || r.Generator.Invalid || !strings.Contains(r.Generator.Limit, "store") {
			t.Errorf("%+v, %v", r.Generator, err)
		}
		if r.Generator.Unsent == 0 || r.Generator.Busy < 0.9 {
			t.Errorf("%+v", r.Generator)
		}
	})
	for _, tc := range []struct {
		name              string
		g                 Generator
		reached, capacity float64
		invalid           bool
		limit             string
	}{
		{"reached", Generator{Asked: 1000, Cores: 2, Busy: 0.5}, 995, 5000, false, ""},
		{"clients idle, rate missed", Generator{Asked: 1000, Cores: 2, Busy: 0.1, Processors: 1}, 500, 5000, true, "generator"},
		{"no processor left", Generator{Asked: 1000, Cores: 2, Busy: 1, Processors: 1.95}, 500, 5000, true, "generator"},
		{"more than the machine can", Generator{Asked: 1000, Cores: 2, Busy: 1, Processors: 1}, 500, 900, true, "at most 900"},
		{"clients busy, rate missed", Generator{Asked: 1000, Cores: 2, Busy: 0.99, Processors: 0.5}, 500, 5000, false, "store"},
		{"often late", Generator{Asked: 1000, Cores: 2, Busy: 0.1, Behind: 0.1}, 1000, 5000, true, "late"},
		{"closed", Generator{Cores: 2, Busy: 1, Processors: 1}, 0, 0, false, ""},
		{"closed, no processor left", Generator{Cores: 2, Busy: 1, Processors: 2}, 0, 0, false, "generator"},
	} {
		if tc.g.judge(tc.reached, func() float64 { return tc.capacity }); tc.g.Invalid != tc.invalid || !strings.Contains(tc.g.Limit, tc.limit) || (tc.limit == "") != (tc.g.Limit == "") {
			t.Errorf("%s: %v %q", tc.name, tc.g.Invalid, tc.g.Limit)
		}
	}
}

// No machine sends a hundred million operations a second.
func TestGeneratorIsTheLimit(t *testing.T) {
	cfg := Defaults()
	cfg.Rate, cfg.Duration, cfg.Keys, cfg.Clients = 1e8, 300*time.Millisecond, 10, 4
	r, err := Run(t.Context(), cfg, target.NewMemory())
	if err != nil || !r.Generator.Invalid || !strings.Contains(r.Generator.Limit, "generator") || r.Generator.Unsent == 0 {
		t.Errorf("%+v, %v", r.Generator, err)
	}
}

func TestClosedLoopRamp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := small(0)
		cfg.Ramp, cfg.Duration = 4*time.Second, time.Second
		r, err := Run(t.Context(), cfg, slowly(nil))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			if got, want := r.Intervals[i].OK, int64(1000*(i+1)); math.Abs(float64(got-want)) > 10 {
				t.Errorf("%d operations in second %d, want %d", got, i, want)
			}
		}
	})
}

func TestProgress(t *testing.T) {
	inBothLoops(t, func(t *testing.T, cfg Config) {
		seen := map[Phase]int{}
		cfg.Keys, cfg.Clients, cfg.Warmup, cfg.Duration = 1500, 1, time.Second, 2500*time.Millisecond
		cfg.Progress = func(p Progress) { seen[p.Phase]++ }
		if _, err := Run(t.Context(), cfg, slowly(nil)); err != nil {
			t.Fatal(err)
		}
		if seen[Filling] == 0 || seen[Warming] != 1 || seen[Measuring] < 2 || seen[Verifying] == 0 {
			t.Errorf("%v", seen)
		}
	})
}
