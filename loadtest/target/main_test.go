package target

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// kvnode is the path of the binary that the real cluster runs.
var kvnode string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "clusterkit-target-")
	if err != nil {
		fatal(err)
	}
	kvnode = filepath.Join(dir, "kvnode")
	out, err := exec.Command("go", "build", "-o", kvnode, "github.com/skshohagmiah/clusterkit/cmd/kvnode").CombinedOutput()
	if err != nil {
		fatal(fmt.Errorf("build kvnode: %w\n%s", err, out))
	}
	code := m.Run()
	if err := errors.Join(os.RemoveAll(dir), goleak.Find()); code == 0 && err != nil {
		fatal(err)
	}
	os.Exit(code)
}

func fatal(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}
