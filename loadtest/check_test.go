package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/skshohagmiah/clusterkit/loadtest/history"
	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

func TestCheckExitCodes(t *testing.T) {
	dir := t.TempDir()
	write := func(name string, ops ...history.Operation) string {
		path := filepath.Join(dir, name)
		if err := history.WriteFile(path, ops); err != nil {
			t.Fatal(err)
		}
		return path
	}
	set := history.Operation{Call: 1, Return: 2, Op: target.Op{Kind: target.Set, Key: "k", Value: []byte("a")}}
	get := history.Operation{Client: 1, Call: 3, Return: 4, Op: target.Op{Kind: target.Get, Key: "k"}, Result: target.Result{Found: true, Value: []byte("a")}}
	stale := get
	stale.Result = target.Result{}
	good, bad, empty := write("good", set, get), write("bad", set, stale), write("empty")
	cut := filepath.Join(dir, "cut")
	if err := os.WriteFile(cut, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	saved := filepath.Join(dir, "saved")
	for _, tc := range []struct {
		name   string
		args   []string
		want   int
		stdout string
		stderr string
	}{
		{"good", []string{good}, exitOK, "verdict     passed", ""},
		{"bad", []string{good, bad, "--save", saved}, exitFailed, "1 stale", "not every history passed"},
		{"empty", []string{empty}, exitFailed, "verdict     not run", "not every"},
		{"cut", []string{cut}, exitUsage, "", cut},
		{"missing", []string{filepath.Join(dir, "missing")}, exitUsage, "", "no such file"},
		{"timeout", []string{good, "--timeout", "-1s"}, exitUsage, "", "--timeout"},
		{"nothing", nil, exitUsage, "", "HISTORY.jsonl is missing"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			got := run(t.Context(), append([]string{"check"}, tc.args...), noEnv, &stdout, &stderr)
			if got != tc.want || !strings.Contains(stdout.String(), tc.stdout) || !strings.Contains(stderr.String(), tc.stderr) {
				t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", got, tc.want, &stdout, &stderr)
			}
		})
	}
	if files, err := filepath.Glob(filepath.Join(saved, "*.html")); err != nil || len(files) != 1 {
		t.Errorf("saved are %v, %v", files, err)
	}
}
