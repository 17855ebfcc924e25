//go:build !planted

package main

import (
	"os/exec"
	"strings"
	"testing"
)

// A build without tags has no word of rules to be broken, so no environment can
// have it break one.
func TestReleaseBreaksNoRule(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{join .GoFiles \" \"}}", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	files := strings.Fields(string(out))
	if !strings.Contains(string(out), "rules_kept.go") || strings.Contains(string(out), "rules_planted.go") {
		t.Errorf("a build without tags has %v", files)
	}
	asked := ""
	rules, err := brokenRules(func(name string) string { asked += name; return "serve-early" })
	if err != nil || rules.Breaks(1) || asked != "" {
		t.Errorf("%+v, %v, having read %q", rules, err, asked)
	}
}
