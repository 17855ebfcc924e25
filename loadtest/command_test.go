package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func noEnv(string) string { return "" }

// memoryNode is a node that keeps what it is given, if keeps says so.
func memoryNode(t *testing.T, keeps func(nth int) bool) (addr string) {
	var mu sync.Mutex
	values := map[string][]byte{}
	puts := 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		value, found := values[r.URL.Path]
		switch {
		case r.Method == http.MethodPut:
			puts++
			if keeps(puts) {
				values[r.URL.Path] = body
			}
			w.Header().Set(api.HeaderVersion, "1.1")
			w.WriteHeader(http.StatusNoContent)
		case found:
			w.Header().Set(api.HeaderVersion, "1.1")
			w.Write(value)
		default:
			w.WriteHeader(http.StatusNotFound)
			io.WriteString(w, `{"error":{"code":"not_found","message":"no"}}`)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

func TestRunExitCodes(t *testing.T) {
	good := memoryNode(t, func(int) bool { return true })
	forgetful := memoryNode(t, func(nth int) bool { return nth%10 != 0 })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	load := []string{"--duration", "300ms", "--clients", "2", "--keys", "10", "--fill-timeout", "1s"}
	alive := append(slices.Clip(load), "--timeout", "20s", "--verify-timeout", "20s")
	gone := append(slices.Clip(load), "--fill-timeout", "1h")
	for _, tc := range []struct {
		name   string
		args   []string
		want   int
		stdout string
		stderr string
	}{
		{"passed", append(slices.Clip(alive), "--endpoints", good), exitOK, "every acknowledged write is there", ""},
		{"passed with a node down", append(slices.Clip(alive), "--endpoints", dead+","+good), exitOK, "every acknowledged write is there", ""},
		{"lost", append(slices.Clip(alive), "--endpoints", forgetful), exitFailed, "answers contradict what was acknowledged", "contradict"},
		{"down", append(slices.Clip(gone), "--endpoints", dead), exitUnavailable, "", "not available"},
		{"down over http", append(slices.Clip(gone), "--endpoints", dead, "--target", "http"), exitUnavailable, "", "connection refused"},
		{"down over redis", append(slices.Clip(gone), "--endpoints", dead, "--target", "resp"), exitUnavailable, "", "does not answer"},
		{"down over a redis cluster", append(slices.Clip(gone), "--endpoints", dead, "--target", "resp-cluster"), exitUnavailable, "", "does not answer"},
		{"passed over http at a rate", append(slices.Clip(alive), "--endpoints", good, "--target", "http", "--rate", "50", "--warmup", "100ms"), exitOK, "update", ""},
		{"an outage is too long", append(slices.Clip(alive), "--endpoints", good, "--max-p99", "1us"), exitFailed, "FAILED", "99 % of latencies"},
		{"workload", []string{"--workload", "ycsb-z"}, exitUsage, "", "give one of: ycsb-a, ycsb-b"},
		{"target", []string{"--target", "memcached"}, exitUsage, "", "give one of: http, client, resp"},
		{"rate", []string{"--rate", "-1"}, exitUsage, "", "rate is -1"},
		{"distribution", []string{"--distribution", "normal"}, exitUsage, "", "give one of: uniform, zipfian"},
		{"value size", []string{"--value-size", "big"}, exitUsage, "", "value-size"},
		{"connections", []string{"--connections", "-1"}, exitUsage, "", "connections is -1"},
		{"endpoint", append(slices.Clip(alive), "--endpoints", "nonsense"), exitUsage, "", "host:port"},
		{"clients", []string{"--clients", "0"}, exitUsage, "", "clients"},
		{"timeout", []string{"--timeout", "-1s"}, exitUsage, "", "timeout"},
		{"report nowhere", append(slices.Clip(alive), "--endpoints", good, "--html", filepath.Join(t.TempDir(), "none", "x.html")), exitUsage, "", "--html is"},
		{"report on a directory", append(slices.Clip(alive), "--endpoints", good, "--json", t.TempDir()), exitUsage, "", "it is a directory"},
		{"flag", []string{"--no-such-flag"}, exitUsage, "", "no-such-flag"},
		{"argument", []string{"now"}, exitUsage, "", "now"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var stdout, stderr strings.Builder
			got := run(t.Context(), append([]string{"run"}, tc.args...), noEnv, &stdout, &stderr)
			// A machine that is busy for a moment fails a rate, and says so.
			for try := 1; got == exitFailed && tc.want == exitOK && strings.Contains(stdout.String(), "the load generator was the limit") && try < 10; try++ {
				stdout.Reset()
				stderr.Reset()
				got = run(t.Context(), append([]string{"run"}, tc.args...), noEnv, &stdout, &stderr)
			}
			if got != tc.want || !strings.Contains(stdout.String(), tc.stdout) || !strings.Contains(stderr.String(), tc.stderr) {
				t.Errorf("exit code %d, want %d\nstdout: %s\nstderr: %s", got, tc.want, &stdout, &stderr)
			}
			if (stderr.Len() == 0) != (tc.want == exitOK) {
				t.Errorf("exit code %d with stderr %q", got, &stderr)
			}
		})
	}
}

// The load goes to the cluster that kvctl talks to, unless a flag says
// otherwise.
func TestEndpointsFromEnvironment(t *testing.T) {
	forgetful := memoryNode(t, func(int) bool { return false })
	good := memoryNode(t, func(int) bool { return true })
	getenv := func(name string) string {
		return map[string]string{"KVCTL_ENDPOINTS": forgetful + "," + forgetful}[name]
	}
	args := []string{"run", "--duration", "100ms", "--clients", "1", "--keys", "1"}
	for want, more := range map[int][]string{exitFailed: nil, exitOK: {"--endpoints", good}} {
		var stdout, stderr strings.Builder
		if got := run(t.Context(), append(slices.Clip(args), more...), getenv, &stdout, &stderr); got != want {
			t.Errorf("%v: exit code %d, want %d\nstdout: %s\nstderr: %s", more, got, want, &stdout, &stderr)
		}
	}
}

func TestRunInterrupted(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	addr := memoryNode(t, func(nth int) bool {
		if nth == 2000 {
			cancel()
		}
		return true
	})
	var stdout, stderr strings.Builder
	if got := run(ctx, []string{"run", "--endpoints", addr, "--duration", "1h"}, noEnv, &stdout, &stderr); got != exitInterrupted {
		t.Errorf("exit code %d: %s", got, &stderr)
	}
	if got := stderr.String(); !strings.HasSuffix(got, "loadtest: interrupted\n") {
		t.Errorf("stderr: %s", got)
	}
	if !strings.Contains(stdout.String(), "p99") || !strings.Contains(stdout.String(), "interrupted") {
		t.Errorf("stdout: %s", &stdout)
	}
}

func TestUsage(t *testing.T) {
	for _, tc := range []struct {
		args   []string
		stderr string
	}{
		{nil, "no command, give one of: run, cluster, demo, faults, check"},
		{[]string{"start"}, `unknown command "start"`},
		{[]string{"cluster", "--nodes", "three"}, `--nodes is "three"`},
		{[]string{"run", "--duration", "long"}, `--duration is "long"`},
	} {
		var stdout, stderr strings.Builder
		got := run(t.Context(), tc.args, noEnv, &stdout, &stderr)
		if got != exitUsage || !strings.Contains(stderr.String(), tc.stderr) || strings.Contains(stderr.String(), "strconv") || stdout.Len() != 0 {
			t.Errorf("%q: exit code %d\nstdout: %s\nstderr: %s", tc.args, got, &stdout, &stderr)
		}
	}
}

func TestVersion(t *testing.T) {
	var stdout, stderr strings.Builder
	if got := run(t.Context(), []string{"--version"}, noEnv, &stdout, &stderr); got != exitOK || !strings.HasPrefix(stdout.String(), "loadtest ") {
		t.Errorf("exit code %d\nstdout: %s\nstderr: %s", got, &stdout, &stderr)
	}
}

func TestLocalClusterUsage(t *testing.T) {
	for _, tc := range []struct {
		flag string
		args []string
	}{
		{"--nodes", []string{"cluster", "--nodes", "0"}},
		{"--nodes", []string{"cluster", "--nodes", "-1"}},
		{"--http-port", []string{"cluster", "--http-port", "-1"}},
		{"--http-port", []string{"cluster", "--http-port", "65534"}},
		{"--raft-port", []string{"cluster", "--raft-port", "65536", "--nodes", "1"}},
		{"--kvnode", []string{"cluster", "--kvnode", "/nowhere/kvnode"}},
		{"--kvnode", []string{"cluster", "--kvnode", t.TempDir()}},
		{"--kvnode", []string{"demo", "--kvnode", "/nowhere/kvnode"}},
	} {
		var stdout, stderr strings.Builder
		got := run(t.Context(), tc.args, noEnv, &stdout, &stderr)
		if named := tc.flag + " is"; got != exitUsage || !strings.Contains(stderr.String(), named) {
			t.Errorf("%v: exit code %d: %s", tc.args, got, &stderr)
		}
	}
}
