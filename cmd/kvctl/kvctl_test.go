package main

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve returns the address of a node that is live and else does what h does.
func serve(t *testing.T, h http.HandlerFunc) (addr string) {
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/livez" {
			h(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// answering returns a node that always answers with an error.
func answering(t *testing.T, code api.Code) (addr string) {
	return serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(code.Status())
		json.NewEncoder(w).Encode(api.ErrorBody{Error: api.Errorf(code, "the node says %s", code)})
	})
}

// result is what one run of the program left behind.
type result struct {
	code           int
	stdout, stderr string
}

func noEnv(string) string { return "" }

func kvctlRun(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	return kvctlRunWith(t, noEnv, stdin, args...)
}

func kvctlRunWith(t *testing.T, getenv func(string) string, stdin string, args ...string) result {
	t.Helper()
	var stdout, stderr strings.Builder
	code := run(t.Context(), args, getenv, strings.NewReader(stdin), &stdout, &stderr)
	return result{code, stdout.String(), stderr.String()}
}

func TestSetGetDel(t *testing.T) {
	values := map[string][]byte{}
	addr := serve(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(api.HeaderVersion, "1.1")
		switch r.Method {
		case http.MethodPut:
			values[r.URL.Path], _ = io.ReadAll(r.Body)
			w.WriteHeader(http.StatusNoContent)
		case http.MethodDelete:
			delete(values, r.URL.Path)
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Write(values[r.URL.Path])
		}
	})
	const binary = "\x00\xff line\n"
	for _, tc := range []struct {
		stdin string
		args  []string
		want  string
	}{
		{"", []string{"set", "k", "a value"}, ""},
		{"", []string{"get", "k"}, "a value"},
		{binary, []string{"set", "k", "-"}, ""},
		{"", []string{"get", "k"}, binary},
		{"", []string{"set", "k", ""}, ""},
		{"", []string{"get", "k"}, ""},
		{"", []string{"set", "--", "-k", "-5"}, ""},
		{"", []string{"get", "--", "-k"}, "-5"},
		{"", []string{"del", "k"}, ""},
		{"", []string{"del", "k"}, ""},
	} {
		got := kvctlRun(t, tc.stdin, append([]string{"--endpoints", addr}, tc.args...)...)
		if want := (result{exitOK, tc.want, ""}); got != want {
			t.Errorf("%q: %+v, want %+v", tc.args, got, want)
		}
	}
}

func TestExitCodes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	cut := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	tooLong := strings.Repeat("x", api.MaxKeyBytes+1)
	for _, tc := range []struct {
		name   string
		addr   string
		args   []string
		want   int
		stderr string
	}{
		{"absent", answering(t, api.CodeNotFound), []string{"get", "k"}, exitNotFound, `"k"`},
		{"condition", answering(t, api.CodeConditionFailed), []string{"set", "k", "v"}, exitNotFound, "condition"},
		{"down", dead, []string{"set", "k", "v"}, exitUnavailable, "refused"},
		{"unavailable", answering(t, api.CodeUnavailable), []string{"del", "k"}, exitUnavailable, "says unavailable"},
		{"unavailable for a read", answering(t, api.CodeOutcomeUnknown), []string{"get", "k"}, exitUnavailable, ""},
		{"no status", dead, []string{"cluster", "status"}, exitUnavailable, ""},
		{"unauthenticated", answering(t, api.CodeUnauthenticated), []string{"get", "k"}, exitAuthentication, ""},
		{"forbidden", answering(t, api.CodeForbidden), []string{"set", "k", "v"}, exitAuthentication, ""},
		{"unknown", answering(t, api.CodeOutcomeUnknown), []string{"set", "k", "v"}, exitOutcomeUnknown, ""},
		{"no answer", cut, []string{"del", "k"}, exitOutcomeUnknown, "unknown"},
		{"refused", answering(t, api.CodeBadRequest), []string{"get", "k"}, exitError, ""},
		{"not a node", serve(t, http.NotFound), []string{"get", "k"}, exitError, "404"},
		{"empty key", dead, []string{"set", "", "v"}, exitUsage, "key is empty"},
		{"long key", dead, []string{"get", tooLong}, exitUsage, "4096"},
		{"long value", dead, []string{"set", "k", strings.Repeat("x", api.MaxValueBytes+1)}, exitUsage, "value has more than 1048575 bytes"},
		{"no command", dead, nil, exitUsage, "set"},
		{"unknown command", dead, []string{"put"}, exitUsage, "put"},
		{"no subcommand", dead, []string{"cluster"}, exitUsage, "status"},
		{"unknown flag", dead, []string{"get", "--frob", "k"}, exitUsage, "frob"},
		{"no key", dead, []string{"get"}, exitUsage, "KEY is missing"},
		{"no value", dead, []string{"set", "k"}, exitUsage, "VALUE is missing"},
		{"too many", dead, []string{"set", "k", "a", "value"}, exitUsage, "value"},
		{"output", dead, []string{"cluster", "status", "--output", "xml"}, exitUsage, "json"},
		{"endpoint", "http://x", []string{"get", "k"}, exitUsage, "host:port"},
		{"timeout", dead, []string{"--timeout", "0s", "get", "k"}, exitUsage, "--timeout"},
		{"duration", dead, []string{"--timeout", "soon", "get", "k"}, exitUsage, `--timeout is "soon": give a duration`},
		{"key to be deleted", dead, []string{"del", ""}, exitUsage, "key is empty"},
		{"help on nothing", dead, []string{"help", "nosuch"}, exitUsage, `unknown command "nosuch"`},
		{"help on less", dead, []string{"help", "cluster", "nosuch"}, exitUsage, `unknown command "nosuch"`},
		{"help on more", dead, []string{"help", "get", "k"}, exitUsage, `unexpected argument "k"`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			timeout := "2s"
			if tc.addr == dead {
				timeout = "50ms"
			}
			got := kvctlRun(t, "", append([]string{"--endpoints", tc.addr, "--timeout", timeout}, tc.args...)...)
			if got.code != tc.want || !strings.Contains(got.stderr, tc.stderr) {
				t.Errorf("exit code %d, want %d; stderr: %s", got.code, tc.want, got.stderr)
			}
			if got.stdout != "" || got.stderr == "" {
				t.Errorf("errors go to stderr alone: %+v", got)
			}
		})
	}
}

// The hint at "--" stands where it helps only.
func TestHintAtDashes(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want bool
	}{
		{[]string{"set", "k", "-5"}, true},
		{[]string{"get", "--frob"}, true},
		{[]string{"get", "--timeout", "soon", "k"}, false},
		{[]string{"get", "k", "--timeout"}, false},
		{[]string{"get"}, false},
	} {
		got := kvctlRun(t, "", tc.args...)
		if hinted := strings.Contains(got.stderr, `"--"`); got.code != exitUsage || hinted != tc.want {
			t.Errorf("%q: %+v", tc.args, got)
		}
	}
}

func TestHelp(t *testing.T) {
	for _, tc := range []struct {
		args []string
		want string
	}{
		{[]string{"help"}, "Exit codes"},
		{[]string{"help", "set"}, "set KEY VALUE"},
		{[]string{"help", "cluster", "status"}, "--output"},
	} {
		if got := kvctlRun(t, "", tc.args...); got.code != exitOK || !strings.Contains(got.stdout, tc.want) || got.stderr != "" {
			t.Errorf("%q: %+v", tc.args, got)
		}
	}
}

func TestOversizedStandardInput(t *testing.T) {
	got := kvctlRun(t, strings.Repeat("x", api.MaxValueBytes+100), "set", "k", "-")
	if got.code != exitUsage || !strings.Contains(got.stderr, "value has more than 1048575 bytes") {
		t.Errorf("%+v", got)
	}
}

func TestInterrupted(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	release := make(chan struct{})
	addr := serve(t, func(http.ResponseWriter, *http.Request) { interrupt(); <-release })
	defer close(release)
	var stderr strings.Builder
	if got := run(ctx, []string{"--endpoints", addr, "set", "k", "v"}, noEnv, nil, io.Discard, &stderr); got != exitInterrupted {
		t.Errorf("exit code %d: %s", got, &stderr)
	}
	if !strings.Contains(stderr.String(), "unknown") {
		t.Errorf("it does not say that the write may have been executed: %s", &stderr)
	}
}

// Ctrl-C ends a command that waits for standard input before it has asked a
// node for anything.
func TestInterruptedWhileReading(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	stdin, typing := io.Pipe()
	defer func() { _ = stdin.Close() }()
	addr := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("a node was asked") })
	var stderr strings.Builder
	code := make(chan int)
	go func() {
		code <- run(ctx, []string{"--endpoints", addr, "--timeout", "1ns", "set", "k", "-"}, noEnv, stdin, io.Discard, &stderr)
	}()
	if _, err := typing.Write([]byte("begun")); err != nil {
		t.Fatal(err)
	}
	interrupt()
	if got := <-code; got != exitInterrupted {
		t.Errorf("exit code %d: %s", got, &stderr)
	}
	if !strings.Contains(stderr.String(), "standard input") || strings.Contains(stderr.String(), "node") {
		t.Errorf("stderr: %s", &stderr)
	}
}

func TestEndpointsFromEnvironment(t *testing.T) {
	env := map[string]string{"KVCTL_ENDPOINTS": answering(t, api.CodeNotFound) + "," + answering(t, api.CodeNotFound)}
	getenv := func(name string) string { return env[name] }
	if got := kvctlRunWith(t, getenv, "", "get", "k"); got.code != exitNotFound {
		t.Errorf("%+v", got)
	}
}

func TestVersion(t *testing.T) {
	if got := kvctlRun(t, "", "--version"); got.code != exitOK || !strings.HasPrefix(got.stdout, "kvctl ") {
		t.Errorf("%+v", got)
	}
}

// fakeCluster serves a cluster of three nodes and two partitions.
func fakeCluster(t *testing.T, leader string, deadNode string, inSync string) (addr string) {
	alive := func(id string) bool { return id != deadNode }
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/cluster" {
			var nodes []map[string]any
			for _, id := range []string{"node-3", "node-1", "node-2"} {
				nodes = append(nodes, map[string]any{"id": id, "ip": "10.0.0.1:8080", "alive": alive(id)})
			}
			json.NewEncoder(w).Encode(map[string]any{
				"cluster_name": "shop", "cluster_uuid": "1234", "version": 7, "leader": leader, "nodes": nodes,
				"config": map[string]any{"partition_count": 2, "replication_factor": 3, "min_in_sync": 2},
			})
			return
		}
		io.WriteString(w, `{"version":7,"partitions":[
			{"id":"partition-0","primary":"node-1","members":[{"node":"node-1"},{"node":"node-2"},{"node":"node-3"}],
			 "in_sync":[{"node":"node-1"},{"node":"node-2"},{"node":"node-3"}]},
			{"id":"partition-1","primary":"node-2","members":[{"node":"node-1"},{"node":"node-2"},{"node":"node-3"}],
			 "in_sync":`+inSync+`}]}`)
	})
}

func TestStatus(t *testing.T) {
	const full = `[{"node":"node-2"},{"node":"node-1"},{"node":"node-3"}]`
	for _, tc := range []struct {
		name                   string
		leader, dead, inSync   string
		want                   int
		summary, stderr, table string
	}{
		{"healthy", "node-1", "", full, exitOK, "2 healthy, 0 under-replicated, 0 unavailable", "", "status.golden"},
		{"under-replicated", "node-1", "", `[{"node":"node-2"},{"node":"node-1"}]`, exitOK, "1 healthy, 1 under-replicated, 0 unavailable", "", ""},
		{"below min-in-sync", "node-1", "", `[{"node":"node-2"}]`, exitUnhealthy, "1 unavailable", "partition-1", ""},
		{"dead node", "node-1", "node-3", full, exitUnhealthy, "2 under-replicated", "node-3", ""},
		{"dead primary", "node-1", "node-2", full, exitUnhealthy, "1 unavailable", "node-2", ""},
		{"no leader", "", "", full, exitUnhealthy, "2 unknown", "leader", "leaderless.golden"},
		{"no leader and a dead node", "", "node-3", full, exitUnhealthy, "this is the last known state", "leader", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			addr := fakeCluster(t, tc.leader, tc.dead, tc.inSync)
			got := kvctlRun(t, "", "--endpoints", addr, "cluster", "status")
			if got.code != tc.want || !strings.Contains(got.stdout, tc.summary) || !strings.Contains(got.stderr, tc.stderr) {
				t.Errorf("want exit code %d, got %+v", tc.want, got)
			}
			if tc.table != "" {
				want, err := os.ReadFile(filepath.Join("testdata", tc.table))
				if err != nil {
					t.Fatal(err)
				}
				if got.stdout != string(want) {
					t.Errorf("got:\n%s\nwant:\n%s", got.stdout, want)
				}
			}
			var parsed struct {
				Warning    string
				Nodes      []struct{ ID string }
				Partitions []struct{ Health string }
			}
			inJSON := kvctlRun(t, "", "--endpoints", addr, "cluster", "status", "--output", "json")
			if err := json.Unmarshal([]byte(inJSON.stdout), &parsed); err != nil || inJSON.code != tc.want {
				t.Fatalf("%v: %+v", err, inJSON)
			}
			if len(parsed.Nodes) != 3 || len(parsed.Partitions) != 2 || parsed.Partitions[0].Health == "" {
				t.Errorf("%+v", parsed)
			}
			led := tc.leader != ""
			if (parsed.Warning == "") != led || (parsed.Partitions[0].Health != "unknown") != led {
				t.Errorf("leader %q: %+v", tc.leader, parsed)
			}
		})
	}
}
