package nemesis

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

func (f *fake) run(ctx context.Context, t *testing.T, list string, rounds int) ([]Window, error) {
	t.Helper()
	return Run(ctx, Options{Driver: f, Plan: plan(t, list, 7), Rounds: rounds, RecoverWithin: time.Minute})
}

// Each fault in each variant does what it says, and leaves the cluster whole.
func TestEachFault(t *testing.T) {
	down := map[string]bool{"kill:both": true, "kill:all": true, "pause:all": true, "powercut:all": true, "diskfull:reserve": true, "diskfull:full": true}
	for list, want := range map[string]string{
		"kill:primary":                    "kill a, start a",
		"kill:replica":                    "kill c, start c",
		"kill:leader":                     "kill b, start b",
		"kill:both":                       "kill b a, start b a",
		"kill:all":                        "kill a b c, start a b c",
		"pause:primary":                   "pause a, resume a",
		"pause:replica":                   "pause c, resume c",
		"pause:leader":                    "pause b, resume b",
		"pause:all":                       "pause a b c, resume a b c",
		"restart":                         "stop a, start a, stop b, start b, stop c, start c",
		"clock:leader":                    "clock of b, clock of b",
		"clock:primary:jump=-1h":          "clock of a, clock of a",
		"clock:all":                       "clock of a, clock of b, clock of c, clock of c, clock of b, clock of a",
		"partition:halves":                "shape 4 links, mend",
		"partition:one-way":               "shape 2 links, mend",
		"partition:bridge":                "shape 2 links, mend",
		"partition:primary-from-replicas": "shape 2 links, mend",
		"partition:primary-from-leader":   "shape 2 links, mend",
		"partition:isolated":              "isolate a, unite a",
		"netem:delay":                     "shape 6 links, mend",
		"netem:loss=1%":                   "shape 6 links, mend",
		"netem:reorder":                   "shape 6 links, mend",
		"membership:join":                 "join d, leave d",
		"membership:drain":                "join d, drain X, undrain X, leave d",
		"membership:leave":                "join d, leave X, join X, leave d",
		"powercut:all":                    "power off a b c, start a b c",
		"powercut:primary":                "power off a, start a",
		"diskfull:reserve":                "fill but 67108864 a, free a",
		"diskfull:full":                   "fill but 0 a, free a",
		"fsync-error:primary":             "break a, repair a, start a",
		"fsync-error:replica":             "break c, repair c, start c",
		"wipe:primary":                    "kill a, wipe a, start a",
		"wipe:replica":                    "kill c, wipe c, start c",
		"corrupt:log":                     "kill X, damage log of X, start X",
		"corrupt:table":                   "stop X, damage table of X, start X",
		"kill:primary+netem:delay":        "kill a, shape 6 links, mend, start a",
	} {
		t.Run(list, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFake()
				windows, err := f.run(t.Context(), t, list, 1)
				if err != nil || len(windows) != 1 {
					t.Fatalf("%v, %v", windows, err)
				}
				w := windows[0]
				if w.Failure != "" || w.NotRun != "" || w.Down != down[list] || len(w.Nodes) == 0 {
					t.Errorf("%+v", w)
				}
				if hold := w.Healed.Sub(w.Began); hold < time.Second || hold > 9*time.Second {
					t.Errorf("held %v", hold)
				}
				if got := strings.Join(f.acts, ", "); got != strings.ReplaceAll(want, "X", w.Nodes[len(w.Nodes)-1]) {
					t.Errorf("%s, want %s", got, want)
				}
				if err := f.trouble(); err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// Every fault and variant, again and again, is safe and heals.
func TestAllFaults(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		windows, err := f.run(t.Context(), t, "all,kill+wipe,partition+corrupt,pause+powercut:primary", 20)
		if err != nil || len(windows) != 20*(len(faults)+3) {
			t.Fatalf("%d windows, %v", len(windows), err)
		}
	})
}

func TestDamageThatIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.refuses = true
		windows, err := f.run(t.Context(), t, "corrupt:log", 1)
		if err != nil || !strings.Contains(windows[0].Detail, "refused its data") {
			t.Errorf("%+v, %v", windows, err)
		}
		if !slices.ContainsFunc(f.acts, func(a string) bool { return strings.HasPrefix(a, "wipe") }) {
			t.Errorf("%q", f.acts)
		}
	})
}

func TestNotRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, tc := range []struct {
			change func(*fake)
			list   string
			want   string
		}{
			{func(f *fake) { f.lacking = Pausing }, "pause", "no pausing: it was never bought"},
			{func(f *fake) { f.lacking = Shaping }, "kill+netem", "no shaping: it was never bought"},
			{func(f *fake) { f.minInSync = 1 }, "wipe", "a disk must not be lost with min-in-sync 1"},
			{func(f *fake) { f.fails = "damage" }, "corrupt:table", "nothing yet that could be damaged"},
		} {
			f := newFake()
			tc.change(f)
			windows, err := f.run(t.Context(), t, tc.list, 1)
			if err != nil || len(windows) == 0 || !strings.Contains(windows[0].NotRun, tc.want) {
				t.Errorf("%s: %+v, %v", tc.list, windows, err)
			}
			if err := f.trouble(); err != nil {
				t.Error(err)
			}
		}
	})
}

// A fault that cannot be run is told once, not in every round.
func TestNotRunIsToldOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.lacking = Pausing
		windows, err := f.run(t.Context(), t, "pause:leader,kill", 5)
		if err != nil || len(windows) != 6 {
			t.Errorf("%d windows, %v", len(windows), err)
		}
	})
}

// What fails ends the run, after everything was undone that can be.
func TestFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for fails, list := range map[string]string{"kill": "kill:all", "start": "kill:primary", "mend": "partition"} {
			f := newFake()
			f.fails = fails
			windows, err := f.run(t.Context(), t, list, 3)
			if !errors.Is(err, ErrNotRecovered) || len(windows) != 1 || !strings.Contains(windows[0].Failure, fails) {
				t.Errorf("%s: %+v, %v", fails, windows, err)
			}
		}
	})
}

// A fault that cannot be healed in time leaves it to the others to be.
func TestAHealThatHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.hangs = true
		windows, err := f.run(t.Context(), t, "kill:primary+partition:isolated", 1)
		if !errors.Is(err, ErrNotRecovered) || len(windows) != 1 || !strings.Contains(windows[0].Failure, "heal partition:isolated: it took longer than 1m0s") {
			t.Errorf("%+v, %v", windows, err)
		}
		if !slices.Contains(f.acts, "start a") {
			t.Errorf("the killed node was not started: %q", f.acts)
		}
	})
}

// A cluster that does not recover fails the run in the stated time, and says what
// it waits for.
func TestNeverRecovers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, list := range []string{"kill:primary:hold=1s", "membership:leave:hold=1s"} {
			f := newFake()
			f.sticks = true
			began := time.Now()
			windows, err := f.run(t.Context(), t, list, 3)
			if took := time.Since(began); took > 2*time.Minute+10*time.Second {
				t.Errorf("%s: it took %v", list, took)
			}
			if !errors.Is(err, ErrNotRecovered) || len(windows) != 1 {
				t.Fatalf("%s: %+v, %v", list, windows, err)
			}
			for _, want := range []string{"a is drained", "longer than 1m0s", "a: it waits for a copy"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%s: there is no %q in %v", list, want, err)
				}
			}
		}
	})
}

// A partition that met no packet proves nothing, and says so.
func TestPartitionWithoutPackets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		f.nodes = f.nodes[:1]
		if windows, err := f.run(t.Context(), t, "partition:halves", 1); err == nil {
			t.Errorf("%+v", windows)
		}
	})
}

func TestInterrupted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, after := range []time.Duration{0, 500 * time.Millisecond, 3 * time.Second} {
			f := newFake()
			ctx, cancel := context.WithTimeout(t.Context(), after)
			windows, err := f.run(ctx, t, "kill:hold=1h", 1)
			cancel()
			if err != nil || len(windows) > 1 {
				t.Errorf("after %v: %+v, %v", after, windows, err)
			}
			if err := f.trouble(); err != nil {
				t.Errorf("after %v: %v", after, err)
			}
		}
	})
}

// When the time is over, what has not had its turn is told as not run.
func TestAtMost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		windows, err := Run(t.Context(), Options{
			Driver: f, Plan: plan(t, "kill:hold=8s,pause:hold=8s,restart,clock:hold=8s", 1), Rounds: 2, Duration: time.Hour, AtMost: 12 * time.Second, RecoverWithin: time.Minute,
		})
		ran := 0
		for _, w := range windows {
			if w.NotRun == "" {
				ran++
			} else if w.NotRun != "no time was left after 12s" {
				t.Errorf("%+v", w)
			}
		}
		if err != nil || ran == 0 || ran > 3 || ran == len(windows) {
			t.Errorf("%d of %+v, %v", ran, windows, err)
		}
	})
}

func TestDuration(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFake()
		windows, err := Run(t.Context(), Options{Driver: f, Plan: plan(t, "kill:hold=8s", 1), Duration: time.Minute, RecoverWithin: time.Minute})
		if n := len(windows); err != nil || n < 60/9 || n > 60/8+1 {
			t.Errorf("%d windows in a minute, %v", n, err)
		}
	})
}
