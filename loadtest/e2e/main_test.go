package e2e

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"go.uber.org/goleak"
)

// kvnode and kvctl are the paths of the binaries under test.
var kvnode, kvctl string

func TestMain(m *testing.M) {
	if os.Getenv(spinVariable) != "" {
		spin()
	}
	dir, err := os.MkdirTemp("", "clusterkit-e2e-")
	if err != nil {
		fatal(err)
	}
	kvnode, kvctl = filepath.Join(dir, "kvnode"), filepath.Join(dir, "kvctl")
	const module = "github.com/skshohagmiah/clusterkit"
	out, err := exec.Command("go", "build", "-o", dir+"/", module+"/cmd/kvnode", module+"/cmd/kvctl").CombinedOutput()
	if err != nil {
		fatal(fmt.Errorf("build the programs: %w\n%s", err, out))
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
