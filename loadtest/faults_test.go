package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestFaultsUsage(t *testing.T) {
	used := t.TempDir()
	if err := os.WriteFile(filepath.Join(used, eventsLog), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args   []string
		stderr string
	}{
		{[]string{"--faults", "explode"}, `"explode" is not known, give one of: kill, pause`},
		{[]string{"--faults", "kill:nobody"}, "give one of: primary, replica, leader, both, all"},
		{[]string{"--driver", "cloud"}, `--driver is "cloud": give one of: auto, process, netns, compose`},
		{[]string{"--nodes", "2"}, "--nodes is 2"},
		{[]string{"--rate", "0"}, "--rate and --recover-within"},
		{[]string{"--hold", "-1s"}, "hold is -1s"},
		{[]string{"--kvnode", "/nowhere/kvnode"}, "--kvnode is"},
		{[]string{"--kvnode", os.Args[0], "--out", used}, "an earlier campaign has its logs there"},
	} {
		var stdout, stderr strings.Builder
		got := run(t.Context(), append([]string{"faults"}, tc.args...), noEnv, &stdout, &stderr)
		if got != exitUsage || !strings.Contains(stderr.String(), tc.stderr) {
			t.Errorf("%v: exit code %d: %s", tc.args, got, &stderr)
		}
	}
}

func TestFaultsList(t *testing.T) {
	var stdout, stderr strings.Builder
	if got := run(t.Context(), []string{"faults", "--list"}, noEnv, &stdout, &stderr); got != exitOK || !strings.Contains(stdout.String(), "membership:join|drain|leave") {
		t.Errorf("exit code %d\n%s%s", got, &stdout, &stderr)
	}
}
