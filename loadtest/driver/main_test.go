package driver

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// kvnode is the path of the binary under test.
var kvnode string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "clusterkit-driver-")
	if err == nil {
		kvnode = filepath.Join(dir, "kvnode")
		var out []byte
		if out, err = exec.Command("go", "build", "-o", kvnode, "github.com/skshohagmiah/clusterkit/cmd/kvnode").CombinedOutput(); err != nil {
			err = fmt.Errorf("build kvnode: %w\n%s", err, out)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
