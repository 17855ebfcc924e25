package campaign

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/check"
	"github.com/skshohagmiah/clusterkit/loadtest/load"
	"github.com/skshohagmiah/clusterkit/loadtest/nemesis"
)

var start = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

func at(seconds float64) time.Time { return start.Add(time.Duration(seconds * float64(time.Second))) }

func window(fault string, began, healed, recovered float64) Window {
	return Window{Window: nemesis.Window{Fault: fault, Names: []string{fault}, Began: at(began), Healed: at(healed), Recovered: at(recovered)}}
}

func outage(from, to float64) load.Outage {
	return load.Outage{From: at(from).Sub(start), To: at(to).Sub(start)}
}

// passing is the result of a campaign in which all is well.
func passing() *Result {
	r := &Result{
		Began: start, Elapsed: time.Minute, Seed: 7, Budget: 5 * time.Second, Partitions: 16, Epochs: 20,
		Load:    &load.Result{Start: start, Verified: 10},
		Verdict: &check.Verdict{OK: 100},
	}
	r.Load.All.OK = 100
	r.Windows = []Window{window("kill", 10, 15, 16), window("pause", 30, 35, 35)}
	return r
}

func TestOutagesArePutDownToFaults(t *testing.T) {
	r := passing()
	down := window("powercut", 50, 55, 58)
	down.Down = true
	notRun := window("clock", 90, 90, 90)
	notRun.NotRun = "no means"
	r.Windows = append(r.Windows, down, notRun)
	r.Load.Outages = []load.Outage{
		outage(10.1, 11.5), outage(14, 14.5), // kill
		outage(16.5, 19),   // soon after it
		outage(22, 22.3),   // nobody's
		outage(29.9, 30.1), // into pause
		outage(50, 57),     // the power is back at 55
		outage(56, 56.5),   // after it
		outage(89.5, 90.5), // what was not run has no blame
	}
	r.attribute()
	for i, want := range []time.Duration{2500 * time.Millisecond, 200 * time.Millisecond, 2 * time.Second, 0} {
		if got := r.Windows[i].Unavailable; got != want {
			t.Errorf("%s: %v, want %v", r.Windows[i].Fault, got, want)
		}
	}
	if r.Calm != time.Second {
		t.Errorf("between faults: %v, want 1s", r.Calm)
	}
}

// Whatever is wrong fails exactly the check that is about it.
func TestChecks(t *testing.T) {
	if r := passing(); !r.Passed() {
		t.Fatalf("%+v", r.Checks())
	}
	for want, spoil := range map[string]func(*Result){
		"the campaign was completed":            func(r *Result) { r.Failure = "it did not recover" },
		"every acknowledged write is there":     func(r *Result) { r.Load.Verified = 0 },
		"the recorded history is linearizable":  func(r *Result) { r.Verdict.Add(check.Finding{Kind: check.Undecided}) },
		"all copies are equal":                  func(r *Result) { r.Partitions = 0 },
		"each epoch has one primary":            func(r *Result) { r.Epochs = 0 },
		"unavailable for at most 5s because of": func(r *Result) { r.Calm = 6 * time.Second },
	} {
		r := passing()
		spoil(r)
		if r.Passed() {
			t.Errorf("%s: passed", want)
		}
		for _, c := range r.Checks() {
			if c.Passed == strings.HasPrefix(c.Name, want) {
				t.Errorf("%s: %+v", want, c)
			}
		}
	}
	r := passing()
	r.Verdict.Add(check.Finding{Kind: check.Diverged}, check.Finding{Kind: check.TwoPrimaries})
	r.Verdict.Add(check.Finding{Kind: check.Crashed})
	r.Interrupted = true
	r.Windows[1].Unavailable = 6 * time.Second
	failed := 0
	for _, c := range r.Checks() {
		if !c.Passed {
			failed++
		}
	}
	if failed != 6 {
		t.Errorf("%d checks failed: %+v", failed, r.Checks())
	}
	if r := (&Result{}); r.Passed() && r.Load == nil {
		t.Error("nothing at all has passed")
	}
}

func TestWhoMayEnd(t *testing.T) {
	r := passing()
	r.Windows[0].Nodes = []string{"a", "b"}
	r.Windows[1].Nodes, r.Windows[1].Names = []string{"b"}, []string{"kill", "diskfull"}
	if r.mayEnd("a") || !r.mayEnd("b") {
		t.Error("only a node with a bad disk may end by itself")
	}
}

func TestTable(t *testing.T) {
	r := passing()
	down := window("kill", 50, 55, 58)
	down.Down = true
	notRun := window("clock", 90, 90, 90)
	notRun.NotRun = "no means"
	r.Windows = append(r.Windows, notRun, down)
	r.Load.Outages = []load.Outage{outage(10, 11.5)}
	r.attribute()
	var b strings.Builder
	if err := r.WriteMarkdown(&b, "a desk", "loadtest faults"); err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(b.String(), "\n")
	for _, want := range []string{
		"Written by `loadtest faults` on 2026-01-01: 3 faults in 1m0s on a desk, seed 7. Verdict: **passed**.",
		"| clock | NOT RUN | | | no means |",
		"| kill | 2 | 1.5s | 3s | no service for up to 5s until it was healed; counted from there |",
		"| pause | 1 | less than 100ms | 0s |  |",
		"| the campaign was completed | passed | 3 faults; NOT RUN: clock |",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("there is no %q in\n%s", want, &b)
		}
	}
	var text strings.Builder
	if err := r.WriteText(&text); err != nil || !strings.Contains(text.String(), "NOT RUN: no means") {
		t.Errorf("%v\n%s", err, &text)
	}
	var json strings.Builder
	if err := r.WriteJSON(&json); err != nil || !strings.Contains(json.String(), `"passed": true`) || !strings.Contains(json.String(), `"not_run": "no means"`) {
		t.Errorf("%v\n%s", err, &json)
	}
	if faults := r.Report("").Faults; len(faults) != 3 || faults[0].Name != "kill" {
		t.Errorf("%+v", faults)
	}
}
