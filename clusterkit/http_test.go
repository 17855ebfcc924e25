package clusterkit

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// ask requests the path of a node and decodes a JSON answer.
func (c *testCluster) ask(node, path string) (int, map[string]any) {
	c.t.Helper()
	resp, err := http.Get("http://" + c.http[node] + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(resp.Body).Decode(&body); err != nil {
		c.t.Fatalf("GET %s: %v", path, err)
	}
	return resp.StatusCode, body
}

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
		{"/health", 200, wantStatus("ok")},
		{"/livez", 200, wantStatus("ok")},
		{"/readyz", 200, wantStatus("ready")},
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
			status, body := c.ask("node-2", tt.path)
			if status != tt.status {
				t.Fatalf("status %d, want %d: %v", status, tt.status, body)
			}
			tt.check(t, body)
		})
	}
	t.Run("/metrics", func(t *testing.T) {
		resp, err := http.Get("http://" + c.http["node-2"] + "/metrics")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range []string{
			`clusterkit_nodes{state="alive"} 3`, `clusterkit_cluster_partitions{condition="without_primary"} 0`,
			"clusterkit_lease_held 1", `clusterkit_session_renewals_total{result="ok"} `,
		} {
			if !strings.Contains(string(text), line) {
				t.Errorf("no %q in\n%s", line, text)
			}
		}
	})
	t.Run("join through a follower", func(t *testing.T) {
		follower := three[slices.IndexFunc(three, func(id string) bool { return id != leader })]
		for body, want := range map[string]string{
			`{"node_id":"node-9","store":"s","raft_addr":"127.0.0.1:1","cluster_name":"other"}`: "join_refused",
			`{"node_id":"node-2","store":"s","raft_addr":"127.0.0.1:1"}`:                        "node_id_in_use",
			`{"node_id":""}`: "bad_request",
			`not JSON`:       "bad_request",
		} {
			resp, err := http.Post("http://"+c.http[follower]+"/cluster/join", "application/json", strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			var answer errorBody
			if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil || string(answer.Error.Code) != want || resp.StatusCode < 400 {
				t.Errorf("%s: %s %+v, %v; want %s", body, resp.Status, answer, err, want)
			}
			resp.Body.Close()
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

// TestHandlerBeforeTheCluster asks a node that was not started.
func TestHandlerBeforeTheCluster(t *testing.T) {
	c := newTestCluster(t, Config{})
	ck, err := NewClusterKit(c.options("node-1"))
	if err != nil {
		t.Fatal(err)
	}
	defer stop(t, ck)
	for path, want := range map[string]int{
		"/health": 200, "/livez": 200, "/health/detailed": 200, "/metrics": 200, "/consensus/stats": 200,
		"/readyz": 503, "/cluster": 503, "/partitions": 503, "/partitions/stats": 503, "/partitions/key?key=a": 503, "/consensus/leader": 503,
	} {
		w := httptest.NewRecorder()
		ck.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if w.Code != want {
			t.Errorf("GET %s: %d, want %d: %s", path, w.Code, want, w.Body)
		}
	}
	w := httptest.NewRecorder()
	join := `{"node_id":"node-9","store":"s","raft_addr":"127.0.0.1:1"}`
	ck.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/cluster/join", strings.NewReader(join)))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("join: %d, want 503: %s", w.Code, w.Body)
	}
	if ck.GetPrimary(nil) != nil || ck.GetReplicas(nil) != nil || ck.GetNodes(nil) != nil || ck.IsPrimary(nil) || ck.IsReplica(nil) || ck.HoldsLease() {
		t.Error("a node without a map answers for no partition")
	}
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
	if status, body := c.ask("node-1", "/cluster"); status != 200 || body["cluster_uuid"] != ck.Map().ClusterUUID {
		t.Errorf("%d %v", status, body)
	}
}
