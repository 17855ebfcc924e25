package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newClient(t *testing.T, endpoints ...string) *Client {
	return newClientWith(t, Config{Endpoints: endpoints})
}

func newClientWith(t *testing.T, cfg Config) *Client {
	t.Helper()
	c, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// fakeNode is live, answers with what serve writes and counts the requests.
func fakeNode(t *testing.T, serve func(w http.ResponseWriter, r *http.Request, nth int64)) (addr string, requests *atomic.Int64) {
	requests = new(atomic.Int64)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != pathLive {
			serve(w, r, requests.Add(1))
		}
	}))
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String(), requests
}

func fail(w http.ResponseWriter, code api.Code) {
	w.WriteHeader(code.Status())
	json.NewEncoder(w).Encode(api.ErrorBody{Error: api.Errorf(code, "the fake says %s", code)})
}

func stored(w http.ResponseWriter) {
	w.Header().Set(api.HeaderVersion, "3.7")
	w.WriteHeader(http.StatusNoContent)
}

// deadAddr returns an address that refuses connections.
func deadAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// wantPlain fails the test for an error that speaks of Go's contexts.
func wantPlain(t *testing.T, err error) {
	t.Helper()
	if strings.Contains(err.Error(), "context") {
		t.Errorf("not in words for users: %v", err)
	}
}

func TestOperations(t *testing.T) {
	var mu sync.Mutex
	values := map[string][]byte{}
	addr, _ := fakeNode(t, func(w http.ResponseWriter, r *http.Request, _ int64) {
		mu.Lock()
		defer mu.Unlock()
		switch r.Method {
		case http.MethodPut:
			values[r.URL.Path], _ = io.ReadAll(r.Body)
			stored(w)
		case http.MethodGet:
			v, ok := values[r.URL.Path]
			if !ok {
				fail(w, api.CodeNotFound)
				return
			}
			w.Header().Set(api.HeaderVersion, "3.7")
			w.Write(v)
		case http.MethodDelete:
			delete(values, r.URL.Path)
			w.WriteHeader(http.StatusNoContent)
		}
	})
	c := newClient(t, addr)
	ctx := t.Context()
	for _, value := range []string{"hello", "", "\x00\xff\n", strings.Repeat("x", api.MaxValueBytes)} {
		if version, err := c.Set(ctx, "k", []byte(value)); err != nil || version != "3.7" {
			t.Fatalf("Set: %q, %v", version, err)
		}
		got, err := c.Get(ctx, "k")
		if err != nil || string(got.Data) != value || got.Version != "3.7" {
			t.Fatalf("Get: %d bytes, version %q, %v", len(got.Data), got.Version, err)
		}
	}
	for range 2 {
		if err := c.Delete(ctx, "k"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.Get(ctx, "k"); !errors.Is(err, api.ErrNotFound) {
		t.Fatalf("Get of a deleted key: %v", err)
	}
}

func TestInputIsCheckedLocally(t *testing.T) {
	c := newClient(t, deadAddr(t))
	long := strings.Repeat("k", api.MaxKeyBytes+1)
	_, setErr := c.Set(t.Context(), "k", make([]byte, api.MaxValueBytes+1))
	_, getErr := c.Get(t.Context(), long)
	_, emptyErr := c.Get(t.Context(), "")
	for _, tc := range []struct {
		err, want error
		word      string
	}{
		{setErr, api.ErrTooLarge, "value"},
		{getErr, api.ErrTooLarge, "key"},
		{emptyErr, api.ErrBadRequest, "key"},
		{c.Delete(t.Context(), ""), api.ErrBadRequest, "key"},
	} {
		if !errors.Is(tc.err, tc.want) || !strings.Contains(tc.err.Error(), tc.word) {
			t.Errorf("got %v, want %v naming the %s", tc.err, tc.want, tc.word)
		}
	}
}

func TestConfig(t *testing.T) {
	for name, cfg := range map[string]Config{
		"no endpoints": {},
		"a URL":        {Endpoints: []string{"http://127.0.0.1:8080"}},
		"a short URL":  {Endpoints: []string{"http://localhost"}},
		"no host":      {Endpoints: []string{":8080"}},
		"no port":      {Endpoints: []string{"127.0.0.1"}},
		"negative":     {Endpoints: []string{"127.0.0.1:8080"}, Timeout: -1},
	} {
		if _, err := New(cfg); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

// A write that was refused before it was executed goes on to the next node;
// later ones start at the node that worked.
func TestCertainFailuresRotate(t *testing.T) {
	for _, code := range []api.Code{api.CodeUnavailable, api.CodeNotPrimary} {
		t.Run(string(code), func(t *testing.T) {
			first, refusals := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { fail(w, code) })
			second, executions := fakeNode(t, func(w http.ResponseWriter, r *http.Request, _ int64) {
				if body, _ := io.ReadAll(r.Body); string(body) != "v" {
					fail(w, api.CodeBadRequest)
					return
				}
				stored(w)
			})
			c := newClient(t, deadAddr(t), first, second)
			for range 3 {
				if _, err := c.Set(t.Context(), "k", []byte("v")); err != nil {
					t.Fatal(err)
				}
			}
			if refusals.Load() != 1 || executions.Load() != 3 {
				t.Errorf("%d refusals and %d executions, want 1 and 3", refusals.Load(), executions.Load())
			}
		})
	}
}

func TestDeadlineAfterCertainFailuresOnly(t *testing.T) {
	busy, _ := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { fail(w, api.CodeUnavailable) })
	for name, endpoints := range map[string][]string{
		"refused connections": {deadAddr(t)},
		"unavailable":         {busy},
	} {
		t.Run(name, func(t *testing.T) {
			c := newClientWith(t, Config{Endpoints: endpoints, Timeout: time.Second})
			_, err := c.Set(t.Context(), "k", nil)
			if !errors.Is(err, api.ErrUnavailable) || errors.Is(err, api.ErrOutcomeUnknown) || !IsCertain(err) {
				t.Errorf("Set: %v", err)
			}
			if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), endpoints[0]) {
				t.Errorf("the error does not say that time was up and what was last seen: %v", err)
			}
			wantPlain(t, err)
		})
	}
}

// What a node answered says more than that another one is down.
func TestMostTellingCauseIsReported(t *testing.T) {
	busy, _ := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { fail(w, api.CodeUnavailable) })
	for name, endpoints := range map[string][]string{
		"answer first":       {busy, deadAddr(t), frozenAddr(t)},
		"answer last":        {frozenAddr(t), deadAddr(t), busy},
		"answer in between":  {deadAddr(t), busy, frozenAddr(t)},
		"answer again, then": {busy, deadAddr(t)},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := newClientWith(t, Config{Endpoints: endpoints, Timeout: 3 * time.Second})
			err := c.Delete(t.Context(), "k")
			if !errors.Is(err, api.ErrUnavailable) || !strings.Contains(err.Error(), "the fake says unavailable") {
				t.Errorf("Delete: %v", err)
			}
		})
	}
}

func TestCancelledBeforeSending(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err := newClient(t, deadAddr(t)).Delete(ctx, "k")
	if !errors.Is(err, api.ErrUnavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("Delete: %v", err)
	}
	wantPlain(t, err)
}

// A node that takes the request and says nothing: at the deadline the outcome
// is unknown, and the next operation turns to another node.
func TestSilentNode(t *testing.T) {
	release := make(chan struct{})
	silent, requests := fakeNode(t, func(http.ResponseWriter, *http.Request, int64) { <-release })
	defer close(release)
	other, _ := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { stored(w) })
	c := newClientWith(t, Config{Endpoints: []string{silent, other}})
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
	defer cancel()
	_, err := c.Set(ctx, "k", []byte("v"))
	if !errors.Is(err, api.ErrOutcomeUnknown) || !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Set: %v", err)
	}
	wantPlain(t, err)
	if _, err := c.Set(t.Context(), "k", []byte("v")); err != nil || requests.Load() != 1 {
		t.Errorf("second Set: %v, %d requests to the silent node", err, requests.Load())
	}
}

func TestReadLeavesSilentNode(t *testing.T) {
	release := make(chan struct{})
	silent, _ := fakeNode(t, func(http.ResponseWriter, *http.Request, int64) { <-release })
	defer close(release)
	other, _ := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, _ int64) {
		w.Header().Set(api.HeaderVersion, "1.1")
		w.Write([]byte("v"))
	})
	c := newClientWith(t, Config{Endpoints: []string{silent, other}, ReadTimeout: 50 * time.Millisecond})
	if v, err := c.Get(t.Context(), "k"); err != nil || string(v.Data) != "v" {
		t.Errorf("Get: %q, %v", v.Data, err)
	}
}

func TestAmbiguousAnswersOfWrites(t *testing.T) {
	for name, answer := range map[string]func(w http.ResponseWriter){
		"outcome unknown":  func(w http.ResponseWriter) { fail(w, api.CodeOutcomeUnknown) },
		"a proxy's 502":    func(w http.ResponseWriter) { http.Error(w, "bad gateway", http.StatusBadGateway) },
		"a proxy's 503":    func(w http.ResponseWriter) { http.Error(w, "overloaded", http.StatusServiceUnavailable) },
		"answer cut short": func(w http.ResponseWriter) { w.Header().Set("Content-Length", "10"); w.WriteHeader(503) },
	} {
		t.Run(name, func(t *testing.T) {
			addr, requests := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { answer(w) })
			c := newClient(t, addr)
			if err := c.Delete(t.Context(), "k"); !errors.Is(err, api.ErrOutcomeUnknown) || IsCertain(err) {
				t.Errorf("Delete: %v", err)
			}
			if requests.Load() != 1 {
				t.Errorf("sent %d times", requests.Load())
			}
		})
	}
}

func TestRedirectIsNotFollowed(t *testing.T) {
	target, requests := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { stored(w) })
	addr, _ := fakeNode(t, func(w http.ResponseWriter, r *http.Request, _ int64) {
		http.Redirect(w, r, "http://"+target+r.URL.Path, http.StatusTemporaryRedirect)
	})
	if _, err := newClient(t, addr).Set(t.Context(), "k", []byte("v")); err == nil || requests.Load() != 0 {
		t.Errorf("Set: %v, %d requests at the target", err, requests.Load())
	}
}

func TestReadRetriesWhateverIsTransient(t *testing.T) {
	addr, requests := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, nth int64) {
		switch nth {
		case 1:
			fail(w, api.CodeUnavailable)
		case 2:
			fail(w, api.CodeOutcomeUnknown)
		case 3:
			http.Error(w, "bad gateway", http.StatusBadGateway)
		case 4:
			w.Header().Set("Content-Length", "100")
			w.Write([]byte("cut"))
		default:
			w.Header().Set(api.HeaderVersion, "1.1")
			w.Write([]byte("whole"))
		}
	})
	v, err := newClient(t, addr).Get(t.Context(), "k")
	if err != nil || string(v.Data) != "whole" || requests.Load() != 5 {
		t.Errorf("Get: %q, %v after %d requests", v.Data, err, requests.Load())
	}
}

// cuttingNode is live and executes each write, but closes the connection
// instead of answering from the nth write of a connection on. A connection that has
// been used before is what net/http by itself repeats requests on.
func cuttingNode(t *testing.T, nth int) (addr string, executed *atomic.Int64) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	executed = new(atomic.Int64)
	var conns sync.WaitGroup
	serve := func(conn net.Conn) {
		defer conn.Close()
		in := bufio.NewReader(conn)
		for i := 1; ; i++ {
			req, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if _, err := io.Copy(io.Discard, req.Body); err != nil {
				return
			}
			if req.URL.Path == pathLive {
				fmt.Fprint(conn, "HTTP/1.1 204 No Content\r\n\r\n")
				i--
				continue
			}
			executed.Add(1)
			if i >= nth {
				return
			}
			fmt.Fprintf(conn, "HTTP/1.1 204 No Content\r\n%s: 1.1\r\n\r\n", api.HeaderVersion)
		}
	}
	conns.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() { serve(conn) })
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return l.Addr().String(), executed
}

func TestWriteIsNeverExecutedTwice(t *testing.T) {
	writes := map[string]func(context.Context, *Client) error{
		"put":            func(ctx context.Context, c *Client) error { _, err := c.Set(ctx, "k", []byte("v")); return err },
		"put of nothing": func(ctx context.Context, c *Client) error { _, err := c.Set(ctx, "k", nil); return err },
		"delete":         func(ctx context.Context, c *Client) error { return c.Delete(ctx, "k") },
	}
	for name, write := range writes {
		for _, nth := range []int{1, 2, 3} {
			t.Run(fmt.Sprintf("%s, request %d of a connection", name, nth), func(t *testing.T) {
				addr, executed := cuttingNode(t, nth)
				c := newClient(t, addr)
				defer c.Close()
				for range nth - 1 {
					if err := write(t.Context(), c); err != nil {
						t.Fatal(err)
					}
				}
				err := write(t.Context(), c)
				if !errors.Is(err, api.ErrOutcomeUnknown) {
					t.Errorf("got %v, want outcome unknown", err)
				}
				if got := executed.Load(); got != int64(nth) {
					t.Errorf("%d writes were executed %d times", nth, got)
				}
			})
		}
	}
}

func TestStatus(t *testing.T) {
	addr, _ := fakeNode(t, func(w http.ResponseWriter, r *http.Request, _ int64) {
		switch r.URL.Path {
		case "/cluster":
			io.WriteString(w, `{"cluster_name":"shop","cluster_uuid":"u","version":8,"leader":"node-1",
				"config":{"cluster_name":"shop","partition_count":2,"replication_factor":3,"min_in_sync":2,"hash":"h"},
				"nodes":[{"id":"node-1","name":"one","ip":"127.0.0.1:1","alive":true},{"id":"node-2","alive":false}]}`)
		case "/partitions":
			io.WriteString(w, `{"version":9,"partitions":[{"id":"partition-0","index":0,"epoch":4,"primary":"node-1",
				"members":[{"node":"node-1","store":"s","incarnation":1}],"in_sync":[{"node":"node-1"}],"reason":"r"}]}`)
		default:
			http.NotFound(w, r)
		}
	})
	s, err := newClient(t, addr).Status(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s.ClusterName != "shop" || s.Version != 9 || s.MinInSync != 2 || s.Leader != "node-1" ||
		len(s.Nodes) != 2 || s.Nodes[0].IP != "127.0.0.1:1" || len(s.Partitions) != 1 || s.Partitions[0].InSync[0].Node != "node-1" {
		t.Errorf("got %+v", s)
	}
}

func TestHealth(t *testing.T) {
	s := &Status{Leader: "a", ReplicationFactor: 3, MinInSync: 2, Nodes: []Node{
		{ID: "a", Alive: true}, {ID: "b", Alive: true}, {ID: "c", Alive: true}, {ID: "dead"},
	}}
	in := func(nodes ...string) (members []Member) {
		for _, n := range nodes {
			members = append(members, Member{Node: n})
		}
		return members
	}
	for _, tc := range []struct {
		name    string
		primary string
		inSync  []Member
		want    Health
	}{
		{"all in sync", "a", in("a", "b", "c"), Healthy},
		{"one missing", "a", in("a", "b"), UnderReplicated},
		{"one dead", "a", in("a", "b", "dead"), UnderReplicated},
		{"too few", "a", in("a"), Unavailable},
		{"too few alive", "a", in("a", "dead"), Unavailable},
		{"dead primary", "dead", in("a", "b", "dead"), Unavailable},
		{"no primary", "", nil, Unavailable},
	} {
		if got := s.Health(Partition{Primary: tc.primary, InSync: tc.inSync}); got != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, got, tc.want)
		}
	}
	s.Leader = ""
	if got := s.Health(Partition{Primary: "a", InSync: in("a", "b", "c")}); got != Unknown {
		t.Errorf("without a leader: %s, want %s", got, Unknown)
	}
}

// A node that is cut off does not know of a leader, but another one may.
func TestStatusOfNodeWithLeader(t *testing.T) {
	node := func(name, leader string) string {
		addr, _ := fakeNode(t, func(w http.ResponseWriter, r *http.Request, _ int64) {
			fmt.Fprintf(w, `{"cluster_name":%q,"leader":%q}`, name, leader)
		})
		return addr
	}
	for name, tc := range map[string]struct {
		endpoints    []string
		from, leader string
	}{
		"the first knows":       {[]string{node("first", "node-1"), node("second", "node-1")}, "first", "node-1"},
		"the last knows":        {[]string{node("first", ""), deadAddr(t), node("third", "node-3")}, "third", "node-3"},
		"the others are frozen": {[]string{frozenAddr(t), frozenAddr(t), node("third", "")}, "third", ""},
		"nobody knows":          {[]string{node("first", ""), node("second", ""), deadAddr(t)}, "first", ""},
		"the only one":          {[]string{node("first", "")}, "first", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := newClient(t, tc.endpoints...).Status(t.Context())
			if err != nil || s.ClusterName != tc.from || s.Leader != tc.leader {
				t.Errorf("got %+v, %v, want that of %s with leader %q", s, err, tc.from, tc.leader)
			}
		})
	}
}

func TestRetriesAreLogged(t *testing.T) {
	addr, _ := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, nth int64) {
		if nth == 1 {
			fail(w, api.CodeUnavailable)
			return
		}
		stored(w)
	})
	var log strings.Builder
	logger := slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	if _, err := newClientWith(t, Config{Endpoints: []string{addr}, Logger: logger}).Set(t.Context(), "k", nil); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(log.String(), "the fake says unavailable") {
		t.Errorf("log: %s", log.String())
	}
}

func TestBackoff(t *testing.T) {
	for round := range 100 {
		low, high := backoff(round, 0), backoff(round, 0.999)
		if low < minBackoff/2 || high > maxBackoff || low > high {
			t.Errorf("round %d: %v to %v", round, low, high)
		}
	}
}

func TestImportsNothingOfTheServer(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", ".").Output()
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/skshohagmiah/clusterkit/"
	for dep := range strings.Lines(string(out)) {
		dep = strings.TrimSpace(dep)
		own := strings.HasPrefix(dep, module) && dep != module+"kvstore/api" && dep != module+"kvstore/client"
		if own || strings.Contains(dep, "badger") || strings.Contains(dep, "hashicorp/raft") {
			t.Errorf("imports %s", dep)
		}
	}
}
