package report

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/load"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

var update = flag.Bool("update", false, "write the golden files anew")

// sample is the report of a short load of a store that loses a write and refuses
// some, with a fault whose name is not to be trusted.
func sample(t *testing.T) *Report {
	t.Helper()
	store := target.NewMemory()
	n := 0
	store.Intercept = func(_ context.Context, op target.Op, execute func(target.Op) (target.Result, error)) (target.Result, error) {
		if n++; op.Kind == target.Set && n > 20 {
			if n%7 == 0 {
				return target.Result{}, &target.FailedError{Err: errors.New("refused")}
			}
			return target.Result{}, nil
		}
		return execute(op)
	}
	cfg := load.Defaults()
	cfg.Keys, cfg.Clients, cfg.Duration = 10, 1, 300*time.Millisecond
	result, err := load.Run(t.Context(), cfg, store)
	if err != nil {
		t.Fatal(err)
	}
	return &Report{
		Title:    "a <sample> & more",
		Settings: []Setting{{"seed", "1"}},
		Load:     result,
		Faults:   []Fault{{"</script><script>alert(1)</script>", result.Start.Add(50 * time.Millisecond), result.Start.Add(100 * time.Millisecond)}},
		Checks:   ChecksOf(result, Limits{P99: time.Hour, Unavailable: time.Hour, Failures: 0}),
	}
}

// The page is the same but for its figures.
func TestPage(t *testing.T) {
	var out bytes.Buffer
	if err := sample(t).WriteHTML(&out); err != nil {
		t.Fatal(err)
	}
	html := out.String()
	for _, outside := range []string{"http://", "https://", "src=", "@import", "url("} {
		if rest := strings.ReplaceAll(html, "http://www.w3.org/2000/svg", ""); strings.Contains(rest, outside) {
			t.Errorf("the page refers to something outside of it: %s", outside)
		}
	}
	if strings.Contains(html, "<script>alert") {
		t.Error("the name of a fault is executed")
	}
	const golden = "testdata/page.golden"
	got := skeleton(html)
	if *update {
		if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(golden)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("the page is not that of %s; see what changed, then run with -update:\n%s", golden, got)
	}
}

var (
	embedded = regexp.MustCompile(`(?s)<(style|script)([^>]*)>.*?</(?:style|script)>`)
	rows     = regexp.MustCompile(`(?s)<tr><td>.*</tr>`)
	figures  = regexp.MustCompile(`[0-9][0-9.:\x{202f}-]*( ?(µs|ms|s|m))?\b`)
	limits   = regexp.MustCompile(`(?s)<section class="notes".*?</section>\n`)
	counts   = regexp.MustCompile(`\([a-z ,:N]*: N\)`)
)

// skeleton leaves out the figures, and what is long.
func skeleton(html string) string {
	html = embedded.ReplaceAllString(html, "<$1$2>…</$1>")
	html = rows.ReplaceAllString(html, "<tr><td>…</tr>")
	html = limits.ReplaceAllString(html, "")
	html = strings.ReplaceAll(html, ">none<", ">1s<")
	html = figures.ReplaceAllString(html, "N")
	return counts.ReplaceAllString(html, "(…)")
}

func TestText(t *testing.T) {
	var out strings.Builder
	if err := sample(t).WriteText(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"p99.9", "update", "FAILED", "lost write", "more\n", "refused", "fault", "passed"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in:\n%s", want, out.String())
		}
	}
}

func TestJSON(t *testing.T) {
	r := sample(t)
	var out bytes.Buffer
	if err := r.WriteJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Load struct {
			All struct {
				OK        int64
				Latencies struct {
					Count   int64
					Summary map[string]float64
				}
			}
			Operations map[string]struct{ OK int64 }
			Violations struct{ Counts map[string]int }
		}
		Faults []Fault
		Checks []Check
	}
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	sum := int64(0)
	for _, o := range got.Load.Operations {
		sum += o.OK
	}
	all := got.Load.All
	if all.OK == 0 || sum != all.OK || all.Latencies.Count != all.OK || all.Latencies.Summary["max_ms"] <= 0 ||
		got.Load.Violations.Counts["lost write"] == 0 || len(got.Faults) != 1 || len(got.Checks) != 4 {
		t.Errorf("%+v", got)
	}
}

func TestChecks(t *testing.T) {
	r := sample(t)
	if r.Passed() {
		t.Error("a store that loses writes passed")
	}
	if (&Report{Load: r.Load}).Passed() {
		t.Error("a report without checks passed")
	}
	for name, want := range map[string]bool{
		"every acknowledged write is there": false,
		"99 % of latencies at most 1h0m0s":  true,
		"unavailable at most 1h0m0s":        true,
		"failures at most 0 %":              false,
	} {
		found := false
		for _, c := range r.Checks {
			if c.Name == name {
				found = true
				if c.Passed != want || c.Detail == "" {
					t.Errorf("%+v, want %v", c, want)
				}
			}
		}
		if !found {
			t.Errorf("no check %q in %+v", name, r.Checks)
		}
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567"} {
		if got := grouped(n); got != want {
			t.Errorf("%d reads %q", n, got)
		}
	}
}
