package clusterkit

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

func TestHTTPEndpoints(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	c := startThree(t, nil)
	leader := c.leader()
	p, err := c.nodes["node-2"].GetPartition("user:1")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		path   string
		status int
		check  func(t *testing.T, body map[string]any)
	}{
		{"/cluster", 200, func(t *testing.T, body map[string]any) {
			nodes := body["nodes"].([]any)
			first := nodes[0].(map[string]any)
			if body["cluster_name"] != "clusterkit" || body["leader"] != leader || len(nodes) != 3 ||
				first["id"] != "node-1" || first["ip"] != c.http["node-1"] || first["alive"] != true {
				t.Errorf("%v", body)
			}
			if config := body["config"].(map[string]any); config["partition_count"] != 16.0 || config["replication_factor"] != 3.0 {
				t.Errorf("%v", config)
			}
		}},
		{"/partitions", 200, func(t *testing.T, body map[string]any) {
			if list := body["partitions"].([]any); len(list) != 16 || list[5].(map[string]any)["id"] != "partition-5" {
				t.Errorf("%v", body)
			}
		}},
		{"/partitions/stats", 200, func(t *testing.T, body map[string]any) {
			if body["partitions"] != 16.0 || body["without_primary"] != 0.0 || body["under_replicated"] != 0.0 || body["moving"] != 0.0 || len(body["nodes"].([]any)) != 3 {
				t.Errorf("%v", body)
			}
		}},
		{"/partitions/key?key=user:1", 200, func(t *testing.T, body map[string]any) {
			if body["key"] != "user:1" || body["partition"].(map[string]any)["id"] != p.ID ||
				body["primary"].(map[string]any)["id"] != p.Primary || len(body["replicas"].([]any)) != 2 {
				t.Errorf("%v", body)
			}
		}},
		{"/partitions/key", 400, wantCode("bad_request")},
		{"/partitions/key?key=", 400, wantCode("bad_request")},
		{"/consensus/leader", 200, func(t *testing.T, body map[string]any) {
			if body["leader"] != leader || body["raft_addr"] != c.raft[leader] || body["is_self"] != (leader == "node-2") {
				t.Errorf("%v", body)
			}
		}},
		{"/consensus/stats", 200, func(t *testing.T, body map[string]any) {
			if len(body["servers"].([]any)) != 3 || body["leader"] != leader || body["applied_index"].(float64) < 1 {
				t.Errorf("%v", body)
			}
		}},
		{"/nodes", 200, func(t *testing.T, body map[string]any) {
			nodes := body["nodes"].([]any)
			held := 0.0
			for _, n := range nodes {
				held += n.(map[string]any)["primaries"].(float64) + n.(map[string]any)["replicas"].(float64)
			}
			if len(nodes) != 3 || held != 3*16 {
				t.Errorf("%v", body)
			}
		}},
		{"/nodes/node-3", 200, func(t *testing.T, body map[string]any) {
			if body["id"] != "node-3" || body["primaries"].(float64)+body["replicas"].(float64) != 16 {
				t.Errorf("%v", body)
			}
		}},
		{"/nodes/node-9", 404, wantCode("unknown_node")},
		{"/moves", 200, func(t *testing.T, body map[string]any) {
			if len(body["moves"].([]any)) != 0 || body["paused"] != false {
				t.Errorf("%v", body)
			}
		}},
		{"/metadata", 200, func(t *testing.T, body map[string]any) {
			if len(body["metadata"].(map[string]any)) != 0 {
				t.Errorf("%v", body)
			}
		}},
		{"/metadata/nothing", 404, wantCode("not_found")},
		{"/cluster?wait=2m", 400, wantCode("bad_request")},
		{"/cluster?wait=soon", 400, wantCode("bad_request")},
		{"/cluster?version=new", 400, wantCode("bad_request")},
		{"/openapi.json", 200, func(t *testing.T, body map[string]any) {
			if body["openapi"] != "3.1.0" {
				t.Errorf("openapi %v", body["openapi"])
			}
		}},
		{"/health", 200, wantStatus("ok")},
		{"/livez", 200, wantStatus("ok")},
		{"/livez?verbose", 200, wantChecks("membership")},
		{"/readyz", 200, wantStatus("ready")},
		{"/readyz?verbose", 200, wantChecks("running", "membership", "map", "session", "lease")},
		{"/health/detailed", 200, func(t *testing.T, body map[string]any) {
			if body["status"] != "ok" || body["holds_lease"] != true || body["node"].(map[string]any)["id"] != "node-2" {
				t.Errorf("%v", body)
			}
		}},
		{"/nowhere", 404, wantCode("not_found")},
		{"/cluster/join", 405, wantCode("method_not_allowed")},
	}
	for _, tt := range tests {
		t.Run(tt.path, func(t *testing.T) {
			got := c.ask("node-2", tt.path)
			if got.status != tt.status {
				t.Fatalf("status %d, want %d: %v", got.status, tt.status, got.body)
			}
			tt.check(t, got.body)
		})
	}
	t.Run("join through a follower", func(t *testing.T) {
		follower := three[slices.IndexFunc(three, func(id string) bool { return id != leader })]
		for body, want := range map[string]string{
			`{"protocol":1,"node_id":"node-9","store":"s","raft_addr":"127.0.0.1:1","cluster_name":"other"}`: "join_refused",
			`{"protocol":1,"node_id":"node-2","store":"s","raft_addr":"127.0.0.1:1"}`:                        "node_id_in_use",
			`{"protocol":9,"node_id":"node-9","store":"s","raft_addr":"127.0.0.1:1"}`:                        "join_refused",
			`{"node_id":""}`: "bad_request",
			`not JSON`:       "bad_request",
		} {
			if got := c.send(follower, http.MethodPost, "/cluster/join", body); got.code() != want {
				t.Errorf("%s: %d %v; want %s", body, got.status, got.body, want)
			}
		}
	})
}

func wantCode(code string) func(*testing.T, map[string]any) {
	return func(t *testing.T, body map[string]any) {
		if detail, ok := body["error"].(map[string]any); !ok || detail["code"] != code || detail["message"] == "" {
			t.Errorf("%v, want code %q", body, code)
		}
	}
}

func wantStatus(status string) func(*testing.T, map[string]any) {
	return func(t *testing.T, body map[string]any) {
		if body["status"] != status {
			t.Errorf("%v, want status %q", body, status)
		}
	}
}

// wantChecks wants these checks, all of them ok.
func wantChecks(names ...string) func(*testing.T, map[string]any) {
	return func(t *testing.T, body map[string]any) {
		var got []string
		for _, c := range body["checks"].([]any) {
			if c := c.(map[string]any); c["status"] == "ok" {
				got = append(got, c["name"].(string))
			}
		}
		if !slices.Equal(got, names) {
			t.Errorf("ok are %v, want %v: %v", got, names, body)
		}
	}
}

// TestHandlerBeforeTheCluster asks a node that was not started.
func TestHandlerBeforeTheCluster(t *testing.T) {
	ck := newStopped(t)
	for _, tt := range []struct {
		method, path, body string
		status             int
		code               any
	}{
		{"GET", "/health", "", 200, nil},
		{"GET", "/livez", "", 200, nil},
		{"GET", "/health/detailed", "", 200, nil},
		{"GET", "/metrics", "", 200, nil},
		{"GET", "/consensus/stats", "", 200, nil},
		{"GET", "/openapi.json", "", 200, nil},
		{"GET", "/readyz", "", 503, "not_ready"},
		{"GET", "/cluster", "", 503, "no_cluster"},
		{"GET", "/partitions", "", 503, "no_cluster"},
		{"GET", "/partitions/stats", "", 503, "no_cluster"},
		{"GET", "/partitions/key?key=a", "", 503, "no_cluster"},
		{"GET", "/nodes/node-1", "", 503, "no_cluster"},
		{"GET", "/consensus/leader", "", 503, "no_leader"},
		{"POST", "/moves/plan", "", 503, "no_cluster"},
		{"POST", "/moves/pause", "", 503, "stopped"},
		{"POST", "/nodes/node-1/drain", "", 503, "stopped"},
		{"POST", "/partitions/partition-0/accept-data-loss", `{"node":"node-1","epoch":1}`, 503, "no_cluster"},
		{"POST", "/partitions/partition-0/move", `{"primary":"node-1"}`, 503, "no_cluster"},
		{"POST", "/cluster/join", `{"protocol":1,"node_id":"node-9","store":"s","raft_addr":"127.0.0.1:1"}`, 503, "no_leader"},
	} {
		got := serve(t, ck, httptest.NewRequest(tt.method, tt.path, strings.NewReader(tt.body)))
		if got.status != tt.status || got.code() != tt.code {
			t.Errorf("%s %s: %d %v, want %d with %v", tt.method, tt.path, got.status, got.body, tt.status, tt.code)
		}
	}
	verbose := serve(t, ck, httptest.NewRequest(http.MethodGet, "/readyz?verbose", nil))
	checks := verbose.body["error"].(map[string]any)["checks"].([]any)
	if first := checks[0].(map[string]any); len(checks) != 5 || first["name"] != "running" || first["status"] != "failed" || first["reason"] == "" {
		t.Errorf("%v", verbose.body)
	}
	if ck.GetPrimary(nil) != nil || ck.GetReplicas(nil) != nil || ck.GetNodes(nil) != nil || ck.IsPrimary(nil) || ck.IsReplica(nil) || ck.HoldsLease() {
		t.Error("a node without a map answers for no partition")
	}
}

// TestReadinessIsTheLease: no check fails where the node may act, and one does
// where it may not.
func TestReadinessIsTheLease(t *testing.T) {
	c := newTestCluster(t, Config{})
	c.start(nil, "node-1")
	c.ready("node-1")
	ck := c.nodes["node-1"]
	failed := func() string {
		for _, c := range ck.readiness() {
			if c.Status == checkFailed {
				return c.Name
			}
		}
		return ""
	}
	if got := failed(); got != "" {
		t.Errorf("%s fails on a node that is ready", got)
	}
	held := ck.session.lease.Load()
	ck.session.lease.Store(&lease{session: held.session})
	if got := failed(); got != "lease" && !ck.HoldsLease() {
		t.Errorf("without a lease %q fails", got)
	}
	ck.end(ErrLeft)
	if got := failed(); got != "membership" {
		t.Errorf("out of the cluster %q fails", got)
	}
	if got := c.ask("node-1", "/livez?verbose"); got.status != 503 || got.code() != "not_ready" {
		t.Errorf("/livez of a node that is out of the cluster: %d %v", got.status, got.body)
	}
	c.stop("node-1")
}

// TestExternalHTTP serves the handler as an application does.
func TestExternalHTTP(t *testing.T) {
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	c := newTestCluster(t, Config{})
	c.edit = func(o *Options) { o.ExternalHTTP = o.NodeID == "node-1" }
	o := c.options("node-1")
	ck, err := NewClusterKit(o)
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, ck)
	server := httptest.NewUnstartedServer(ck.Handler())
	_ = server.Listener.Close()
	if server.Listener, err = listenOn(new(tcpNetwork), "HTTPAddr", o.HTTPAddr); err != nil {
		t.Fatal(err)
	}
	server.Start()
	defer server.Close()
	if err := ck.Start(); err != nil {
		t.Fatal(err)
	}
	c.nodes["node-1"] = ck
	c.start(nil, "node-2")
	c.ready("node-1", "node-2")
	if got := c.ask("node-1", "/cluster"); got.status != 200 || got.body["cluster_uuid"] != ck.Map().ClusterUUID {
		t.Errorf("%d %v", got.status, got.body)
	}
}
