package clusterkit

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
)

// samples returns what the registry has: each as name{label="value",...}.
func samples(t *testing.T, g prometheus.Gatherer) map[string]float64 {
	t.Helper()
	families, err := g.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]float64)
	for _, family := range families {
		for _, m := range family.GetMetric() {
			var labels []string
			for _, l := range m.GetLabel() {
				labels = append(labels, l.GetName()+"="+l.GetValue())
			}
			name := family.GetName() + "{" + strings.Join(labels, ",") + "}"
			switch {
			case m.GetGauge() != nil:
				out[name] = m.GetGauge().GetValue()
			case m.GetCounter() != nil:
				out[name] = m.GetCounter().GetValue()
			default:
				out[name] = float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return out
}

func TestMetricsAreWellNamed(t *testing.T) {
	c := newTestCluster(t, Config{})
	registry := prometheus.NewPedanticRegistry()
	c.edit = func(o *Options) { o.Registerer = registry }
	c.start(nil, "node-1")
	c.ready("node-1")
	c.settled(1)
	c.ask("node-1", "/cluster")
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	problems, err := promlint.NewWithMetricFamilies(families).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	for _, family := range families {
		if !strings.HasPrefix(family.GetName(), "clusterkit_") {
			t.Errorf("%s does not begin with clusterkit_", family.GetName())
		}
	}
	if len(families) < 20 {
		t.Errorf("there are %d metrics only", len(families))
	}
	c.stop("node-1")
	if families, err := registry.Gather(); err != nil || len(families) != 0 {
		t.Errorf("after the stop there are %d metrics, %v", len(families), err)
	}
}

func TestMetricsOfACluster(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	c := newTestCluster(t, Config{})
	registries := make(map[string]*prometheus.Registry)
	c.edit = func(o *Options) {
		registries[o.NodeID] = prometheus.NewRegistry()
		o.Registerer = registries[o.NodeID]
	}
	c.start(nil, three...)
	c.ready(three...)
	c.settled(3)
	leader := c.leader()
	witness := c.follower()
	lost := len(slices.DeleteFunc(slices.Clone(c.nodes[witness].Map().Partitions), func(p Partition) bool { return p.Primary != leader }))
	want := func(metric string, value float64) {
		t.Helper()
		c.eventually(metric, func() bool { return samples(t, registries[witness])[metric] == value })
	}
	want("clusterkit_nodes{state=alive}", 3)
	want("clusterkit_cluster_partitions{condition=unavailable}", 0)
	want("clusterkit_lease_held{}", 1)
	want("clusterkit_raft_servers{suffrage=voter}", 3)
	want("clusterkit_primary_changes_total{cause=failover}", 0)
	want("clusterkit_moves{kind=copy,state=waiting}", 0)
	if left := samples(t, registries[witness])["clusterkit_lease_remaining_seconds{}"]; left <= 0 || left > DefaultLeaseDuration.Seconds() {
		t.Errorf("the lease lasts %v s", left)
	}
	if changes := samples(t, registries[witness])["clusterkit_map_changes_total{}"]; changes == 0 {
		t.Error("no change of the map was counted")
	}
	c.kill(leader)
	want("clusterkit_nodes{state=dead}", 1)
	want("clusterkit_primary_changes_total{cause=failover}", float64(lost))
	want("clusterkit_cluster_partitions{condition=under_replicated}", 16)
	want("clusterkit_cluster_partitions{condition=without_primary}", 0)
	if err := c.nodes[witness].PauseMoves(t.Context()); err != nil {
		t.Fatal(err)
	}
	want("clusterkit_moves_paused{}", 1)
	if got := c.ask(witness, "/metrics"); got.status != 200 || !strings.HasPrefix(got.header.Get("Content-Type"), "text/plain") {
		t.Errorf("/metrics: %d %v", got.status, got.header)
	}
	for _, id := range three {
		if id != leader {
			c.stop(id)
		}
	}
}

// TestMetricsOfHooks has a hook that fails, which both the metrics and the
// health of its node tell.
func TestMetricsOfHooks(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	c := newTestCluster(t, Config{ReplicationFactor: 2, PartitionCount: 4})
	registry := prometheus.NewRegistry()
	c.edit = func(o *Options) {
		if o.NodeID == "node-2" {
			o.Registerer = registry
		}
	}
	c.start(nil, "node-1")
	c.ready("node-1")
	c.start(func(ck *ClusterKit) {
		ck.HandlePartitionChange(func(_ context.Context, change PartitionChange) error {
			if change.CopyTo.ID == "node-2" {
				return errors.New("the disk is full")
			}
			return nil
		})
	}, "node-2")
	c.ready("node-2")
	c.eventually("four copies that fail", func() bool { return samples(t, registry)["clusterkit_hook_copies{phase=failed}"] == 4 })
	c.eventually("the reason", func() bool {
		copies := c.ask("node-2", "/health/detailed").body["copies"].([]any)
		failed := slices.ContainsFunc(copies, func(one any) bool { return one.(map[string]any)["error"] == "the disk is full" })
		return len(copies) == 4 && failed
	})
}

// TestLabelsAreBounded: what clients send makes no new time series.
func TestLabelsAreBounded(t *testing.T) {
	ck := newStopped(t)
	for range 2 {
		for _, path := range []string{"/nowhere", "/nodes/a", "/nodes/b", "/metadata/a", "/metadata/b", "/partitions/key?key=a", "/%2e%2e/x", "/cluster"} {
			for _, method := range []string{"GET", "POST", "BREW", "WHEN"} {
				ck.Handler().ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(method, path, nil))
			}
		}
	}
	known := map[string]bool{noRoute: true}
	for path := range apiSpec().at("paths") {
		known[path] = true
	}
	found := 0
	for name := range samples(t, ck.opts.Gatherer) {
		if !strings.HasPrefix(name, "clusterkit_http_requests_total") {
			continue
		}
		found++
		for label := range strings.SplitSeq(name[strings.Index(name, "{")+1:len(name)-1], ",") {
			key, value, _ := strings.Cut(label, "=")
			switch key {
			case "route":
				if !known[value] {
					t.Errorf("%s: the route is a client's choice", name)
				}
			case "method":
				if !slices.Contains([]string{"GET", "POST", otherMethod}, value) {
					t.Errorf("%s: the method is a client's choice", name)
				}
			case "code":
				if !slices.Contains([]string{"404", "405", "503"}, value) {
					t.Errorf("%s: unexpected code", name)
				}
			default:
				t.Errorf("%s: unexpected label", name)
			}
		}
	}
	if found < 5 || found > 12 {
		t.Errorf("%d series", found)
	}
}

// TestPollsAreNotSlow: how long a client wished to wait is not how long the
// answer took.
func TestPollsAreNotSlow(t *testing.T) {
	ck := newStopped(t)
	ck.state.swap(nil, foundedMap(4, 2))
	serve(t, ck, httptest.NewRequest(http.MethodGet, "/partitions?version=9&wait=5ms", nil))
	serve(t, ck, httptest.NewRequest(http.MethodGet, "/partitions", nil))
	got := samples(t, ck.opts.Gatherer)
	if got["clusterkit_http_request_duration_seconds{route=/partitions}"] != 1 {
		t.Errorf("%v", got)
	}
	for _, code := range []string{"200", "304"} {
		if got["clusterkit_http_requests_total{code="+code+",method=GET,route=/partitions}"] != 1 {
			t.Errorf("code %s: %v", code, got)
		}
	}
}

func TestCauseOfAPrimary(t *testing.T) {
	m := settle(t, fourNodes(t))
	primary := m.Partitions[0].Primary
	others := slices.DeleteFunc(slices.Clone(m.Partitions[0].Desired), func(id string) bool { return id == primary })
	n := m.Node(primary)
	ref := sessionRef{Node: primary, Incarnation: n.Incarnation}
	all := func(m *Map) (refs []sessionRef) {
		for _, n := range m.Nodes {
			refs = append(refs, sessionRef{Node: n.ID, Incarnation: n.Incarnation})
		}
		return refs
	}
	again := registerCommand{Node: *n}
	again.Node.Incarnation++
	dark := mustApply(t, m, endSessionCommand{Term: testTerm, Sessions: all(m)})
	emptied := *n
	emptied.Store, emptied.RaftID = "another", primary+"/another"
	emptied.Incarnation++
	for _, tt := range []struct {
		name    string
		from    *Map
		command command
		want    primaryCause
	}{
		{"lost", m, endSessionCommand{Term: testTerm, Sessions: []sessionRef{ref}}, causeFailover},
		{"stopped", m, endSessionCommand{Sessions: []sessionRef{ref}}, causeStopped},
		{"handed over", m, transferCommand{TransferRequest{Partition: 0, Epoch: m.Partitions[0].Epoch, From: primary, To: others[0]}}, causeHandedOver},
		{"restarted", m, again, causeRestarted},
		{"all are gone", m, endSessionCommand{Term: testTerm, Sessions: all(m)}, ""},
		{"one is back", dark, again, causeReturned},
		{"back without its disk", mustApply(t, m, endSessionCommand{Term: testTerm, Sessions: []sessionRef{ref}}), registerCommand{Node: emptied}, ""},
		{"forced", dark, nil, causeForced},
		{"nothing", m, pauseCommand{Paused: true}, ""},
	} {
		from := tt.from
		if tt.want == causeForced {
			// An empty node is all that there is.
			fresh := register("n9", "s9", 1)
			from = mustApply(t, dark, fresh)
			tt.command = forceCommand{Partition: 0, Epoch: from.Partitions[0].Epoch, Node: "n9"}
		}
		next := mustApply(t, from, tt.command)
		if got := causeOf(from, next, 0); got != tt.want {
			t.Errorf("%s: %q, want %q: %s", tt.name, got, tt.want, next.Partitions[0].Reason)
		}
	}
	founded := foundedMap(1, 1)
	withNode := mustApply(t, founded, register("n1", "s1", 1))
	assigned := mustApply(t, withNode, desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1"}}}})
	if got := causeOf(withNode, assigned, 0); got != causeAssigned {
		t.Errorf("first assignment: %q", got)
	}
	empty := register("n1", "s2", 2)
	empty.Node.RaftID = "n1/s2"
	wiped := mustApply(t, mustApply(t, assigned, endSessionCommand{Term: testTerm, Sessions: all(assigned)}), empty)
	if before := mustApply(t, assigned, endSessionCommand{Term: testTerm, Sessions: all(assigned)}); causeOf(before, wiped, 0) != causeNone {
		t.Errorf("the only disk is lost: %q: %s", causeOf(before, wiped, 0), wiped.Partitions[0].Reason)
	}
}

func TestMapCountersBeginWhenTheNodeHasJoined(t *testing.T) {
	joined := false
	c := newMapCounters(func(*Map) bool { return joined })
	registry := prometheus.NewRegistry()
	registry.MustRegister(c)
	m := clusterOf(t)
	c.observe(nil, m)
	dead := lose(m, t, "n1")
	c.observe(m, dead)
	if got := samples(t, registry)["clusterkit_map_changes_total{}"]; got != 0 {
		t.Errorf("history counts: %v", got)
	}
	joined = true
	c.observe(m, dead)
	joined = false
	c.observe(m, dead)
	if got := samples(t, registry)["clusterkit_map_changes_total{}"]; got != 2 {
		t.Errorf("two changes after it has joined: %v", got)
	}
}
