package placement_test

import (
	"bufio"
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/skshohagmiah/clusterkit/clusterkit/placement"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// TestScenarios runs the stories in testdata. A file is a list of steps:
//
//	# a comment
//	cluster partitions=4 rf=3     any of the two may be left out
//	join n1 n2 zone=a weight=2    nodes come, or come back with other values
//	leave n1                      nodes are gone, with their data
//	drain n1                      nodes are to be emptied
//	plan
//	----
//	the plan, in which + marks a copy and * a new primary, as it is until
//	the next one, and what it does to the nodes; ends at an empty line
func TestScenarios(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil {
		t.Fatal(err)
	}
	if len(files) == 0 {
		t.Fatal("no scenario in testdata")
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) {
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			got := runScenario(t, want)
			if *update {
				if err := os.WriteFile(file, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if !bytes.Equal(got, want) {
				t.Errorf("%s: the answers are now\n%s", file, got)
			}
		})
	}
}

// runScenario returns the script with the answers that are given now.
func runScenario(t *testing.T, script []byte) []byte {
	var out bytes.Buffer
	var req placement.Request
	answer := false
	lines := bufio.NewScanner(bytes.NewReader(script))
	for lines.Scan() {
		line := lines.Text()
		switch {
		case line == "----":
			answer = true
			fmt.Fprintln(&out, line)
			req.Current = describePlan(t, &out, req)
			continue
		case line == "":
			answer = false
		case answer:
			continue
		}
		fmt.Fprintln(&out, line)
		if line != "" && line[0] != '#' {
			runStep(t, &req, strings.Fields(line))
		}
	}
	return out.Bytes()
}

func runStep(t *testing.T, req *placement.Request, words []string) {
	t.Helper()
	settings := make(map[string]string)
	var ids []string
	for _, word := range words[1:] {
		if key, value, ok := strings.Cut(word, "="); ok {
			settings[key] = value
		} else {
			ids = append(ids, word)
		}
	}
	number := func(key string, old int) int {
		if settings[key] == "" {
			return old
		}
		n, err := strconv.Atoi(settings[key])
		if err != nil {
			t.Fatalf("%v: %v", words, err)
		}
		return n
	}
	switch words[0] {
	case "cluster":
		req.Partitions = number("partitions", req.Partitions)
		req.ReplicationFactor = number("rf", req.ReplicationFactor)
	case "join", "leave", "drain":
		req.Nodes = slices.DeleteFunc(slices.Clone(req.Nodes), func(n placement.Node) bool {
			return slices.Contains(ids, n.ID)
		})
		if words[0] == "leave" {
			return
		}
		for _, id := range ids {
			req.Nodes = append(req.Nodes, placement.Node{
				ID: id, Zone: settings["zone"], Weight: number("weight", 0), Drained: words[0] == "drain",
			})
		}
	case "plan":
	default:
		t.Fatalf("unknown step %q", words[0])
	}
}

// describePlan writes the plan for req and returns it.
func describePlan(t *testing.T, out *bytes.Buffer, req placement.Request) [][]string {
	t.Helper()
	got, err := placement.Plan(req)
	if err != nil {
		fmt.Fprintln(out, err)
		return req.Current
	}
	if err := placement.Validate(req, got); err != nil {
		t.Error(err)
	}
	changed := 0
	for p, row := range got {
		var before []string
		if p < len(req.Current) {
			before = req.Current[p]
		}
		fmt.Fprintf(out, "%d:", p)
		for slot, id := range row {
			mark := ""
			if len(before) > 0 && !slices.Contains(before, id) {
				mark = "+"
			}
			if len(before) > 0 && slot == 0 && before[0] != id {
				mark += "*"
				changed++
			}
			fmt.Fprintf(out, " %s%s", mark, id)
		}
		fmt.Fprintln(out)
	}
	fmt.Fprintf(out, "%d copies, %d new primaries\n", placement.Moves(req.Current, got), changed)
	for _, n := range req.Nodes {
		replicas, primaries := count(got, n.ID)
		fmt.Fprintf(out, "%s: %d replicas, %d primaries\n", n.ID, replicas, primaries)
	}
	return got
}
