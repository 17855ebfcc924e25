package nemesis

import (
	"fmt"
	"slices"
	"testing"
	"time"
)

func plan(t *testing.T, list string, seed uint64) Plan {
	t.Helper()
	strikes, err := Parse(list)
	if err != nil {
		t.Fatal(err)
	}
	return Plan{Strikes: strikes, Seed: seed, Hold: Span{time.Second, 9 * time.Second}, Calm: Span{0, time.Second}}
}

// first returns the first steps of a plan in words.
func first(p Plan, n int) []string {
	var steps []string
	for s := range p.Steps() {
		if len(steps) == n {
			break
		}
		steps = append(steps, fmt.Sprint(s.Round, s, s.Hold, s.Calm, s.seed))
	}
	return steps
}

func TestPlanReplays(t *testing.T) {
	one := first(plan(t, All, 1), 100)
	if again := first(plan(t, All, 1), 100); !slices.Equal(one, again) {
		t.Errorf("the same seed:\n%q\n%q", one, again)
	}
	if other := first(plan(t, All, 2), 100); slices.Equal(one, other) {
		t.Error("another seed makes no difference")
	}
}

// A round has every fault once, and in as many rounds as it has variants each of
// them has its turn.
func TestRounds(t *testing.T) {
	rounds := 0
	for _, f := range faults {
		rounds = max(rounds, len(f.variants))
	}
	seen, times := map[string]int{}, map[string]int{}
	for s := range plan(t, All, 3).Steps() {
		if s.Round > rounds {
			break
		}
		seen[s.String()]++
		times[s.Faults[0].Name]++
		if s.Hold < time.Second || s.Hold > 9*time.Second || s.Calm < 0 || s.Calm > time.Second {
			t.Errorf("%s is held %v after %v", s, s.Hold, s.Calm)
		}
	}
	for _, f := range faults {
		if times[f.name] != rounds {
			t.Errorf("%s %d times in %d rounds", f.name, times[f.name], rounds)
		}
		for _, v := range f.variants {
			if seen[f.name+":"+v] == 0 {
				t.Errorf("%s:%s never", f.name, v)
			}
		}
	}
}

func TestTimesAreKept(t *testing.T) {
	p := plan(t, "pause:leader:hold=3s@20s,kill:primary@10s", 1)
	var got []string
	for s := range p.Steps() {
		got = append(got, fmt.Sprint(s, s.At, s.Round))
		if s.Faults[0].Name == "pause" && s.Hold != 3*time.Second {
			t.Errorf("held %v", s.Hold)
		}
	}
	if want := []string{"pause:leader 20s 1", "kill:primary 10s 1"}; !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestPlanValidate(t *testing.T) {
	good := plan(t, All, 1)
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
	for _, bad := range []Plan{
		{},
		{Strikes: good.Strikes, Hold: Span{2, 1}},
		{Strikes: good.Strikes, Calm: Span{-1, 1}},
	} {
		if bad.Validate() == nil {
			t.Errorf("%+v can be used", bad)
		}
	}
}
