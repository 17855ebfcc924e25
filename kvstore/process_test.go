package kvstore_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/goleak"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/httpapi"
	"github.com/skshohagmiah/clusterkit/kvstore/replication"
	"github.com/skshohagmiah/clusterkit/kvstore/wal"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = time.Minute

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// process is one node with its HTTP server on a loopback address.
type process struct {
	t       testing.TB
	id, dir string
	cluster *handle
	node    *kvstore.Node
	// registry has the metrics of the node.
	registry *prometheus.Registry
	router   *kvstore.Router
	disk     *disk
	// spoil, when set, stands before the snapshots that the node gives.
	spoil func(http.Handler) http.Handler
	// spoilCopies, when set, stands before the questions about its copies.
	spoilCopies func(http.Handler) http.Handler

	addr     string
	server   *http.Server
	serving  sync.WaitGroup
	requests sync.WaitGroup

	mu       sync.Mutex
	deaf     bool
	hijacked []net.Conn // on which others replicate to this node
}

// newProcess returns a node that has not been started, with an empty disk.
func newProcess(t testing.TB, c *control, id string) *process {
	t.Helper()
	p := &process{t: t, id: id, dir: t.TempDir(), cluster: &handle{control: c, id: id}, disk: &disk{FS: wal.OS}}
	t.Cleanup(p.kill)
	return p
}

// start runs the node on what its disk has, at another address than before.
func (p *process) start() {
	p.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		p.t.Fatal(err)
	}
	session := p.cluster.session.Add(1)
	p.registry = prometheus.NewRegistry()
	p.node, err = kvstore.Open(kvstore.Options{Dir: p.dir, Cluster: p.cluster, Logger: quiet(), Registerer: p.registry, LogFS: p.disk})
	if err != nil {
		l.Close()
		p.t.Fatalf("%s does not open: %v", p.id, err)
	}
	p.router = kvstore.NewRouter(p.node)
	p.addr = l.Addr().String()
	p.server = &http.Server{Handler: p.routes(), ReadHeaderTimeout: patience, ErrorLog: slog.NewLogLogger(quiet().Handler(), slog.LevelInfo)}
	p.server.ConnState = p.track
	server := p.server
	p.serving.Go(func() { _ = server.Serve(l) })
	p.cluster.open(p.id, p.addr, session)
	p.cluster.hooks.run(p.cluster, p.node.Migrate)
}

func (p *process) track(conn net.Conn, state http.ConnState) {
	if state == http.StateHijacked {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.hijacked = append(p.hijacked, conn)
		if p.deaf {
			conn.Close()
		}
	}
}

// deafen keeps the node from hearing other nodes from now on. Clients still
// reach it.
func (p *process) deafen() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.deaf = true
	for _, conn := range p.hijacked {
		conn.Close()
	}
}

func (p *process) routes() http.Handler {
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	r.Handle(replication.Path, p.node.Replication())
	counted := r.NewRoute().Subrouter()
	counted.Use(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
			p.requests.Add(1)
			defer p.requests.Done()
			next.ServeHTTP(w, req)
		})
	})
	var snapshots http.Handler = http.HandlerFunc(p.node.ServeSnapshot)
	if p.spoil != nil {
		snapshots = p.spoil(snapshots)
	}
	counted.Handle(kvstore.SnapshotPath, snapshots)
	var copies http.Handler = http.HandlerFunc(p.node.ServeCopies)
	if p.spoilCopies != nil {
		copies = p.spoilCopies(copies)
	}
	counted.PathPrefix(kvstore.CopiesPath).Handler(copies)
	httpapi.Register(counted, p.router)
	httpapi.RegisterVerify(counted, p.node)
	return r
}

// kill cuts all connections and ends the node, without handing anything over.
func (p *process) kill() {
	if p.node == nil {
		return
	}
	defer p.cluster.hooks.stop()
	_ = p.server.Close()
	p.serving.Wait()
	p.requests.Wait()
	if err := p.node.Close(); err != nil && !errors.Is(err, p.disk.broken()) {
		p.t.Errorf("%s: close: %v", p.id, err)
	}
	p.node = nil
}

// request sends one request to the node's HTTP address.
func (p *process) request(ctx context.Context, method, key, value string) (string, error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+p.addr+api.PathKV+url.PathEscape(key), strings.NewReader(value))
	if err != nil {
		return "", err
	}
	req.Close = true // so that no connection outlives the test
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return "", err
	case resp.StatusCode == http.StatusNotFound:
		return "", api.ErrNotFound
	case resp.StatusCode == http.StatusServiceUnavailable:
		return "", fmt.Errorf("%s: %w: %s", resp.Status, api.ErrUnavailable, body)
	case resp.StatusCode >= 300:
		return "", fmt.Errorf("%s: %s", resp.Status, body)
	}
	return string(body), nil
}

// insist repeats a request for as long as it is refused. A router waits for a
// primary that serves, but not for as long as a busy machine may need to have one.
func (p *process) insist(method, key, value string) (string, error) {
	p.t.Helper()
	for ctx := within(p.t); ; {
		got, err := p.request(ctx, method, key, value)
		if !errors.Is(err, api.ErrUnavailable) || ctx.Err() != nil {
			return got, err
		}
	}
}

// ask puts a question of a node of the cluster to this one, and returns the
// status of its answer.
func (p *process) ask(path, cluster, body string) int {
	p.t.Helper()
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, "http://"+p.addr+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Close = true // so that no connection outlives the test
	req.Header.Set("Clusterkit-Cluster", cluster)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		p.t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// metric returns the value of a counter or gauge of the node, with the label
// value given, if any.
func (p *process) metric(name, label string) float64 {
	p.t.Helper()
	families, err := p.registry.Gather()
	if err != nil {
		p.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	p.t.Fatalf("there is no metric %s %s", name, label)
	return 0
}

// waitApplied waits until everything that is committed is in the storage.
func (p *process) waitApplied() {
	p.t.Helper()
	const backlog = "kvstore_apply_backlog_bytes"
	for deadline := time.After(patience); ; {
		families, err := p.registry.Gather()
		if err != nil {
			p.t.Fatal(err)
		}
		for _, f := range families {
			if f.GetName() == backlog && f.GetMetric()[0].GetGauge().GetValue() == 0 {
				return
			}
		}
		select {
		case <-deadline:
			p.t.Fatalf("%s keeps a backlog", p.id)
		case <-time.After(time.Millisecond):
		}
	}
}

func (p *process) set(key, value string) {
	p.t.Helper()
	if _, err := p.insist(http.MethodPut, key, value); err != nil {
		p.t.Fatalf("set %s through %s: %v", key, p.id, err)
	}
}

func (p *process) delete(key string) {
	p.t.Helper()
	if _, err := p.insist(http.MethodDelete, key, ""); err != nil {
		p.t.Fatalf("delete %s through %s: %v", key, p.id, err)
	}
}

func (p *process) want(key, value string) {
	p.t.Helper()
	if got, err := p.insist(http.MethodGet, key, ""); err != nil || got != value {
		p.t.Fatalf("get %s through %s: %q, %v, want %q", key, p.id, got, err, value)
	}
}

func (p *process) wantAbsent(key string) {
	p.t.Helper()
	if got, err := p.insist(http.MethodGet, key, ""); !errors.Is(err, api.ErrNotFound) {
		p.t.Fatalf("get %s through %s: %q, %v, want that it is absent", key, p.id, got, err)
	}
}

// startAll starts a node for each ID.
func startAll(t testing.TB, c *control, ids ...string) map[string]*process {
	t.Helper()
	all := map[string]*process{}
	for _, id := range ids {
		all[id] = newProcess(t, c, id)
		all[id].start()
	}
	return all
}

// waitFor waits until the map is as wanted.
func (c *control) waitFor(t testing.TB, what string, ok func(*clusterkit.Map) bool) {
	t.Helper()
	deadline := time.After(patience)
	for {
		m, changed := c.current()
		if ok(m) {
			return
		}
		select {
		case <-changed:
		case <-deadline:
			t.Fatalf("it did not happen that %s: %+v", what, m.Partitions)
		}
	}
}

// waitInSync waits until every partition has n members in-sync.
func (c *control) waitInSync(t testing.TB, n int) {
	t.Helper()
	c.waitFor(t, fmt.Sprintf("%d members of each partition are in-sync", n), func(m *clusterkit.Map) bool {
		for _, p := range m.Partitions {
			if len(p.InSync) != n {
				return false
			}
		}
		return true
	})
}
