//go:build !planted

package planted

import (
	"os/exec"
	"strings"
	"testing"
	"unsafe"
)

// TestNothingCanBeBroken shows that a build without the tag has no way to
// break a rule: there is no place to name one, and no program is built with the
// file that has one.
func TestNothingCanBeBroken(t *testing.T) {
	var kept Rules
	if size := unsafe.Sizeof(kept); size != 0 {
		t.Errorf("Rules holds %d bytes", size)
	}
	for r := range Rule(255) {
		if kept.Breaks(r) {
			t.Errorf("rule %d is broken", r)
		}
	}
	out, err := exec.CommandContext(t.Context(), "go", "list", "-f", "{{range .GoFiles}}{{.}} {{end}}", ".").Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	if files := strings.Fields(string(out)); len(files) != 2 || files[0] != "kept.go" || files[1] != "rules.go" {
		t.Errorf("a build without tags has %v", files)
	}
}
