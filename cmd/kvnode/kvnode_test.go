package main

import (
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skshohagmiah/clusterkit/internal/freeport"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// environment is what a node is started with.
type environment map[string]string

func (e environment) getenv(name string) string { return e[name] }

// with returns e with some variables changed.
func (e environment) with(pairs ...string) environment {
	changed := maps.Clone(e)
	for i := 0; i < len(pairs); i += 2 {
		changed[pairs[i]] = pairs[i+1]
	}
	return changed
}

// valid is the environment of a node that would begin a cluster.
func valid(t *testing.T) environment {
	t.Helper()
	return environment{
		"NODE_ID": "node-1", "BOOTSTRAP": "true", "REPLICATION_FACTOR": "1", "PARTITION_COUNT": "2",
		"HTTP_ADDR": freeport.Addr(t), "RAFT_ADDR": freeport.Addr(t), "DATA_DIR": filepath.Join(t.TempDir(), "data"),
	}
}

// output is written by the node's goroutines and read by the test.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// lastLine returns what the program said before it gave up.
func (o *output) lastLine() string {
	lines := strings.Split(strings.TrimSpace(o.String()), "\n")
	return lines[len(lines)-1]
}

// wantRefusal wants a node that does not start: the code, and one line at the
// end that has all the words.
func wantRefusal(t *testing.T, env environment, args []string, code int, words ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var stdout, stderr output
	got := run(ctx, args, env.getenv, &stdout, &stderr)
	if ctx.Err() != nil {
		t.Fatalf("it was not refused:\n%s", stderr.String())
	}
	if got != code {
		t.Errorf("exit code %d, want %d: %s", got, code, stderr.String())
	}
	line := stderr.lastLine()
	if !strings.HasPrefix(line, "kvnode: ") {
		t.Errorf("the last line is not the program's: %s", stderr.String())
	}
	for _, word := range words {
		if !strings.Contains(line, word) {
			t.Errorf("the last line does not mention %q: %s", word, line)
		}
	}
	if stdout.String() != "" {
		t.Errorf("on stdout: %s", stdout.String())
	}
}

// Every refusal names the setting and what to do about it, and leaves no data
// behind.
func TestBadConfiguration(t *testing.T) {
	for _, tc := range []struct {
		name  string
		env   []string
		args  []string
		words []string
	}{
		{"no NODE_ID", []string{"NODE_ID", ""}, nil, []string{"NODE_ID is missing", "set it"}},
		{"bad NODE_ID", []string{"NODE_ID", "a/b"}, nil, []string{"NODE_ID", `"a/b"`, "letters"}},
		{"RF 0", []string{"REPLICATION_FACTOR", "0"}, nil, []string{"REPLICATION_FACTOR", "use 1 or more"}},
		{"RF below 0 by flag", nil, []string{"--replication-factor=-1"}, []string{"REPLICATION_FACTOR", "use 1 or more"}},
		{"RF too large", []string{"REPLICATION_FACTOR", "17"}, nil, []string{"REPLICATION_FACTOR", "1 to 16"}},
		{"RF no number", []string{"REPLICATION_FACTOR", "three"}, nil, []string{"REPLICATION_FACTOR", `"three"`}},
		{"no partitions", []string{"PARTITION_COUNT", "0"}, nil, []string{"PARTITION_COUNT", "use 1 or more"}},
		{"too many partitions", []string{"PARTITION_COUNT", "16385"}, nil, []string{"PARTITION_COUNT", "16384"}},
		{"partitions no number", []string{"PARTITION_COUNT", "1e3"}, nil, []string{"PARTITION_COUNT", `"1e3"`, "give a whole number"}},
		{"MIN_IN_SYNC above RF", []string{"MIN_IN_SYNC", "4"}, nil, []string{"MIN_IN_SYNC", "use 1 to"}},
		{"too slow a rate of copies", []string{"MIGRATION_BYTES_PER_SECOND", "1"}, nil, []string{"MIGRATION_BYTES_PER_SECOND", "give 65536"}},
		{"no copies", []string{"MIGRATION_COPIES", "0"}, nil, []string{"MIGRATION_COPIES", "give 1"}},
		{"a multiple below one", []string{"MIGRATION_P99_MULTIPLE", "0.5"}, nil, []string{"MIGRATION_P99_MULTIPLE", "give 1.1"}},
		{"no cleanup", []string{"CLEANUP_KEYS_PER_SECOND", "0"}, nil, []string{"CLEANUP_KEYS_PER_SECOND", "use 1 or more"}},
		{"MIN_IN_SYNC beyond int", []string{"MIN_IN_SYNC", "99999999999999999999"}, nil, []string{"MIN_IN_SYNC", "99999999999999999999"}},
		{"BOOTSTRAP no boolean", []string{"BOOTSTRAP", "perhaps"}, nil, []string{"BOOTSTRAP", `"perhaps"`, "give true or false"}},
		{"unknown level", []string{"LOG_LEVEL", "loud"}, nil, []string{"LOG_LEVEL", `"loud"`}},
		{"HTTP_ADDR", []string{"HTTP_ADDR", "8080"}, nil, []string{"HTTP_ADDR", `"8080"`, "host:port"}},
		{"RAFT_ADDR", []string{"RAFT_ADDR", "nonsense"}, nil, []string{"RAFT_ADDR", `"nonsense"`, "host:port"}},
		{"RAFT_ADDR by flag", nil, []string{"--raft-addr", "127.0.0.1:http-x"}, []string{"RAFT_ADDR"}},
		{"JOIN_ADDR", []string{"JOIN_ADDR", "nowhere"}, nil, []string{"JOIN_ADDR", `"nowhere"`, "host:port"}},
		{"open HTTP_ADDR", []string{"HTTP_ADDR", "0.0.0.0:8080"}, nil, []string{"HTTP_ADDR", "INSECURE=true", "loopback"}},
		{"open RAFT_ADDR", []string{"RAFT_ADDR", "192.0.2.7:9001"}, nil, []string{"RAFT_ADDR", "INSECURE=true"}},
		{"RESP_ADDR", []string{"RESP_ADDR", "6379"}, nil, []string{"RESP_ADDR", `"6379"`, "host:port"}},
		{"open RESP_ADDR", []string{"RESP_ADDR", "0.0.0.0:6379"}, nil, []string{"RESP_ADDR", "INSECURE=true", "loopback"}},
		{"RESP_ADDR without a port", []string{"RESP_ADDR", "127.0.0.1:0"}, nil, []string{"RESP_ADDR", "port"}},
		{"PPROF_ADDR", []string{"PPROF_ADDR", "6060"}, nil, []string{"PPROF_ADDR", `"6060"`, "host:port"}},
		{"open PPROF_ADDR", []string{"PPROF_ADDR", "0.0.0.0:6060", "INSECURE", "true"}, nil, []string{"PPROF_ADDR", "this machine only"}},
		{"unnamed host", []string{"HTTP_ADDR", "example.org:8080"}, nil, []string{"HTTP_ADDR", "INSECURE=true"}},
		{"wildcard without a name", []string{"RAFT_ADDR", "0.0.0.0:9001", "INSECURE", "true"}, nil, []string{"ADVERTISE_ADDR"}},
		{"unknown flag", nil, []string{"--frobnicate"}, []string{"frobnicate"}},
		{"neither BOOTSTRAP nor JOIN_ADDR nor data", []string{"BOOTSTRAP", ""}, nil, []string{"set BOOTSTRAP", "JOIN_ADDR", "DATA_DIR"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantRefusal(t, valid(t).with(tc.env...), tc.args, exitUsage, tc.words...)
		})
	}
}

func TestUnexpectedArgument(t *testing.T) {
	wantRefusal(t, valid(t), []string{"start"}, exitUsage, "start")
}

func TestFlagBeatsEnvironment(t *testing.T) {
	env := valid(t).with("REPLICATION_FACTOR", "three", "NODE_ID", "a/b")
	wantRefusal(t, env, []string{"--replication-factor=1"}, exitUsage, "NODE_ID", `"a/b"`)
	wantRefusal(t, env, []string{"--replication-factor=1", "--node-id", "c/d"}, exitUsage, "NODE_ID", `"c/d"`)
	wantRefusal(t, env, []string{"--replication-factor=0", "--node-id=x"}, exitUsage, "REPLICATION_FACTOR", "0")
}

func TestPortInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	t.Run("HTTP_ADDR", func(t *testing.T) {
		wantRefusal(t, valid(t).with("HTTP_ADDR", taken.Addr().String()), nil, exitUsage, "HTTP_ADDR", taken.Addr().String(), "choose another port")
	})
	t.Run("RESP_ADDR", func(t *testing.T) {
		wantRefusal(t, valid(t).with("RESP_ADDR", taken.Addr().String()), nil, exitUsage, "RESP_ADDR", taken.Addr().String(), "choose another port")
	})
	t.Run("PPROF_ADDR", func(t *testing.T) {
		wantRefusal(t, valid(t).with("PPROF_ADDR", taken.Addr().String()), nil, exitUsage, "PPROF_ADDR", taken.Addr().String(), "choose another port")
	})
	t.Run("RAFT_ADDR", func(t *testing.T) {
		wantRefusal(t, valid(t).with("RAFT_ADDR", taken.Addr().String()), nil, exitUsage, "RAFT_ADDR", taken.Addr().String(), "free port")
	})
}

// start runs a node until stop, which returns its exit code.
func start(t *testing.T, env environment) (stop func() int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var stdout, stderr output
	code := make(chan int, 1)
	go func() { code <- run(ctx, nil, env.getenv, &stdout, &stderr) }()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	deadline := time.After(time.Minute)
	for !strings.Contains(stderr.String(), "node is listening") {
		select {
		case <-ticker.C:
		case got := <-code:
			cancel()
			t.Fatalf("exit code %d:\n%s", got, stderr.String())
		case <-deadline:
			cancel()
			t.Fatalf("it does not come up:\n%s", stderr.String())
		}
	}
	return func() int {
		cancel()
		got := <-code
		if got != exitOK {
			t.Logf("said:\n%s", stderr.String())
		}
		return got
	}
}

func TestLifeOfANode(t *testing.T) {
	env := valid(t)
	stop := start(t, env)
	var stdout, stderr output
	if code := run(t.Context(), []string{"healthcheck"}, env.getenv, &stdout, &stderr); code != exitOK {
		t.Errorf("healthcheck: exit code %d: %s", code, stderr.String())
	}
	wantRefusal(t, env.with("HTTP_ADDR", freeport.Addr(t), "RAFT_ADDR", freeport.Addr(t)), nil, exitUsage, "DATA_DIR", "in use")
	if code := stop(); code != exitOK {
		t.Errorf("stopped with exit code %d", code)
	}

	wantRefusal(t, env.with("NODE_ID", "node-2"), nil, exitUsage, "NODE_ID", "node-1", "node-2")
	wantRefusal(t, env.with("PARTITION_COUNT", "3"), nil, exitUsage, "PARTITION_COUNT", "2", "3")
	wantRefusal(t, env.with("CLUSTER_NAME", "other"), nil, exitUsage, "CLUSTER_NAME", "other")

	// Data beats the lack of BOOTSTRAP, and a JOIN_ADDR where nobody is.
	stop = start(t, env.with("BOOTSTRAP", "", "JOIN_ADDR", freeport.Addr(t)))
	if code := stop(); code != exitOK {
		t.Errorf("stopped with exit code %d", code)
	}

	// A node that has an identity and lost its data must not take part.
	kv := filepath.Join(env["DATA_DIR"], "kv")
	if err := os.RemoveAll(kv); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, env, nil, exitUsage, "DATA_DIR", `lost its "kv"`, "remove the whole directory")
	if _, err := os.Stat(kv); err == nil {
		t.Error("the refused node has begun a new data directory")
	}
}

func TestProfiles(t *testing.T) {
	env := valid(t).with("PPROF_ADDR", freeport.Addr(t))
	stop := start(t, env)
	defer stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	for _, profile := range []string{"", "heap", "mutex", "block", "profile?seconds=1"} {
		resp, err := client.Get("http://" + env["PPROF_ADDR"] + "/debug/pprof/" + profile)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, resp.Body.Close()); err != nil || resp.StatusCode != http.StatusOK || len(body) == 0 {
			t.Errorf("%q: %s, %d bytes, %v", profile, resp.Status, len(body), err)
		}
	}
	// They are not where the API is.
	resp, err := client.Get("http://" + env["HTTP_ADDR"] + "/debug/pprof/heap")
	if err != nil {
		t.Fatal(err)
	}
	if err := resp.Body.Close(); err != nil || resp.StatusCode != http.StatusNotFound {
		t.Errorf("on HTTP_ADDR: %s, %v", resp.Status, err)
	}
}

// A file stands where the directory should be. Its name is shown as it is,
// although it looks like those of the settings.
func TestUnusableDataDirectory(t *testing.T) {
	file := filepath.Join(t.TempDir(), "NodeID-and-DataDir")
	if err := os.WriteFile(file, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	wantRefusal(t, valid(t).with("DATA_DIR", file), nil, exitUsage, "DATA_DIR", file)
	if b, err := os.ReadFile(file); err != nil || string(b) != "mine" {
		t.Errorf("the file holds %q, %v", b, err)
	}
}

func TestHealthcheck(t *testing.T) {
	status := make(chan int, 1)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/livez" {
			t.Errorf("asked for %s", r.URL.Path)
		}
		w.Header().Set("Connection", "close")
		w.WriteHeader(<-status)
		_, _ = w.Write([]byte("the reason"))
	}))
	defer srv.Close()
	addr := srv.Listener.Addr().String()
	_, port, _ := net.SplitHostPort(addr)
	check := func(addr string) (int, string) {
		var stdout, stderr output
		code := run(t.Context(), []string{"healthcheck"}, environment{"HTTP_ADDR": addr}.getenv, &stdout, &stderr)
		return code, stderr.String()
	}
	for _, addr := range []string{addr, ":" + port, "0.0.0.0:" + port} {
		status <- http.StatusOK
		if code, said := check(addr); code != exitOK || said != "" {
			t.Errorf("%s: exit code %d: %s", addr, code, said)
		}
	}
	status <- http.StatusServiceUnavailable
	if code, said := check(addr); code != exitError || !strings.Contains(said, "the reason") || !strings.Contains(said, "503") {
		t.Errorf("a node that is not well: exit code %d: %s", code, said)
	}
	if code, said := check(freeport.Addr(t)); code != exitError || !strings.Contains(said, "not alive") {
		t.Errorf("no node: exit code %d: %s", code, said)
	}
	if code, said := check("nonsense"); code != exitUsage || !strings.Contains(said, "HTTP_ADDR") {
		t.Errorf("no address: exit code %d: %s", code, said)
	}
}

// A signal during the start ends it: the node asks nobody else whether to
// found a cluster.
func TestSignalDuringTheStart(t *testing.T) {
	asked := make(chan struct{}, 1)
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		asked <- struct{}{}
		<-r.Context().Done()
	}))
	defer silent.Close()
	next := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the node goes on starting")
	}))
	defer next.Close()
	env := valid(t).with("JOIN_ADDR", silent.Listener.Addr().String()+","+next.Listener.Addr().String())
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var stdout, stderr output
	code := make(chan int, 1)
	go func() { code <- run(ctx, nil, env.getenv, &stdout, &stderr) }()
	<-asked
	cancel()
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d:\n%s", got, stderr.String())
	}
}
