package e2e

import (
	"context"
	"errors"
	"io/fs"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/internal/freeport"
)

// config is the environment of a node.
type config map[string]string

// valid returns the configuration of a node that would bootstrap.
func valid(t *testing.T) config {
	return config{
		"NODE_ID":   "node-1",
		"HTTP_ADDR": freeport.Addr(t),
		"RAFT_ADDR": freeport.Addr(t),
		"BOOTSTRAP": "true",
		"DATA_DIR":  filepath.Join(t.TempDir(), "data"),
	}
}

// with returns c with some variables changed; an empty value removes one.
func (c config) with(pairs ...string) config {
	changed := maps.Clone(c)
	for i := 0; i < len(pairs); i += 2 {
		changed[pairs[i]] = pairs[i+1]
		if pairs[i+1] == "" {
			delete(changed, pairs[i])
		}
	}
	return changed
}

// refused runs kvnode and returns its exit code and what it said. It fails
// the test for a node that starts.
func (c config) refused(t *testing.T, args ...string) (code int, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, kvnode, args...)
	cmd.Env = []string{}
	for k, v := range c {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var out strings.Builder
	cmd.Stderr = &out
	err := cmd.Run()
	var exit *exec.ExitError
	if ctx.Err() != nil || err != nil && !errors.As(err, &exit) {
		t.Fatalf("it was not refused: %v\n%s", err, &out)
	}
	return cmd.ProcessState.ExitCode(), out.String()
}

// lastLine returns what a program said before it gave up.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return lines[len(lines)-1]
}

// wantRefusal wants a failure whose last line holds all the words.
func wantRefusal(t *testing.T, code int, stderr string, words ...string) {
	t.Helper()
	if code <= 0 {
		t.Errorf("exit code %d: %s", code, stderr)
	}
	for _, w := range words {
		if !strings.Contains(lastLine(stderr), w) {
			t.Errorf("the last line does not mention %s: %s", w, stderr)
		}
	}
}

// What is wrong by itself is refused in one line before anything is written.
func TestConfigurationErrors(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change []string
		args   []string
		code   int
		words  []string
	}{
		{"no NODE_ID", []string{"NODE_ID", ""}, nil, 2, []string{"NODE_ID"}},
		{"bad NODE_ID", []string{"NODE_ID", "a/b"}, nil, 2, []string{"NODE_ID"}},
		{"neither BOOTSTRAP nor JOIN_ADDR", []string{"BOOTSTRAP", ""}, nil, 2, []string{"BOOTSTRAP", "JOIN_ADDR"}},
		{"RF 0", []string{"REPLICATION_FACTOR", "0"}, nil, 2, []string{"REPLICATION_FACTOR"}},
		{"RF by flag", nil, []string{"--replication-factor", "-1"}, 2, []string{"REPLICATION_FACTOR"}},
		{"RF not a number", []string{"REPLICATION_FACTOR", "three"}, nil, 2, []string{"REPLICATION_FACTOR", "three"}},
		{"PARTITION_COUNT", []string{"PARTITION_COUNT", "16385"}, nil, 2, []string{"PARTITION_COUNT"}},
		{"MIN_IN_SYNC above RF", []string{"MIN_IN_SYNC", "4"}, nil, 2, []string{"MIN_IN_SYNC"}},
		{"BOOTSTRAP not a boolean", []string{"BOOTSTRAP", "perhaps"}, nil, 2, []string{"BOOTSTRAP", "perhaps"}},
		{"RAFT_ADDR", []string{"RAFT_ADDR", "nonsense"}, nil, 2, []string{"RAFT_ADDR"}},
		{"open to the network", []string{"HTTP_ADDR", "0.0.0.0:0"}, nil, 2, []string{"INSECURE"}},
		{"unknown flag", nil, []string{"--frobnicate"}, 2, []string{"frobnicate"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			cfg := valid(t).with(tc.change...)
			code, stderr := cfg.refused(t, tc.args...)
			wantRefusal(t, code, stderr, tc.words...)
			if code != tc.code {
				t.Errorf("exit code %d, want %d", code, tc.code)
			}
			if strings.Count(strings.TrimSpace(stderr), "\n") != 0 {
				t.Errorf("not one line:\n%s", stderr)
			}
			if dir := cfg["DATA_DIR"]; dir != "" {
				if entries, err := os.ReadDir(dir); !errors.Is(err, fs.ErrNotExist) && len(entries) > 0 {
					t.Errorf("%s holds %v", dir, entries)
				}
			}
		})
	}
}

func TestAddressInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	must(t, "listen", err)
	defer l.Close()
	for _, field := range []string{"HTTP_ADDR", "RAFT_ADDR"} {
		t.Run(field, func(t *testing.T) {
			code, stderr := valid(t).with(field, l.Addr().String()).refused(t)
			wantRefusal(t, code, stderr, field, l.Addr().String())
		})
	}
}

// A file stands where the directory should be; permissions would not do, for
// tests may run as root. Its name, which the message must show as it is, looks
// like one of the settings'.
func TestUnusableDataDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "NodeID-and-DataDir")
	must(t, "write", os.WriteFile(file, []byte("mine"), 0o644))
	for _, dir := range []string{file, filepath.Join(file, "below")} {
		code, stderr := valid(t).with("DATA_DIR", dir).refused(t)
		wantRefusal(t, code, stderr, "DATA_DIR", dir)
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

// What contradicts the data or the cluster is refused, and harms neither.
func TestContradictions(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	c := startCluster(t, ctx, 3, "CLUSTER_NAME=alpha", "PARTITION_COUNT=8")
	stopped := c.Nodes()[2]
	must(t, "stop", c.Stop(ctx, 2))
	returning := config{
		"NODE_ID": stopped.ID, "HTTP_ADDR": stopped.HTTPAddr, "RAFT_ADDR": stopped.RaftAddr,
		"JOIN_ADDR": c.Nodes()[0].HTTPAddr, "DATA_DIR": stopped.DataDir,
	}
	joining := valid(t).with("NODE_ID", "node-4", "BOOTSTRAP", "", "JOIN_ADDR", c.Nodes()[0].HTTPAddr)

	for _, tc := range []struct {
		name  string
		cfg   config
		words []string
	}{
		{"data of another node", returning.with("NODE_ID", "node-9"), []string{"NODE_ID", "node-3", "node-9"}},
		{"data of another cluster", returning.with("CLUSTER_NAME", "beta"), []string{"CLUSTER_NAME", "alpha", "beta"}},
		{"data with other partitions", returning.with("PARTITION_COUNT", "32"), []string{"PARTITION_COUNT", "8", "32"}},
		{"data in use", returning.with("NODE_ID", "node-1", "DATA_DIR", c.Nodes()[0].DataDir), []string{"DATA_DIR"}},
		{"join under another name", joining.with("CLUSTER_NAME", "beta"), []string{"CLUSTER_NAME", "alpha", "beta"}},
		{"join with other partitions", joining.with("PARTITION_COUNT", "32"), []string{"PARTITION_COUNT", "8", "32"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			code, stderr := tc.cfg.refused(t)
			wantRefusal(t, code, stderr, tc.words...)
		})
	}

	must(t, "restart", c.Restart(ctx, 2))
	must(t, "wait", c.WaitInSync(ctx))
	status, err := c.Status(ctx)
	must(t, "status", err)
	if len(status.Nodes) != 3 {
		t.Errorf("a refused node has joined: %v", status.Nodes)
	}
}
