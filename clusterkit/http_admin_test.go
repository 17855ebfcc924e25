package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"
)

// follower returns a node that does not lead.
func (c *testCluster) follower() string {
	c.t.Helper()
	leader := c.leader()
	for id := range c.nodes {
		if id != leader {
			return id
		}
	}
	c.t.Fatal("there is no follower")
	return ""
}

// TestAdministrationOverHTTP has a follower asked for everything, as an
// operator would.
func TestAdministrationOverHTTP(t *testing.T) {
	t.Parallel()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	c := startFour(t)
	via := c.follower()
	do := func(method, path, body string, status int) answer {
		t.Helper()
		got := c.send(via, method, path, body)
		if got.status != status {
			t.Errorf("%s %s %s: %d %v, want %d", method, path, body, got.status, got.body, status)
		}
		return got
	}
	shows := func(path, field string, want any) {
		t.Helper()
		c.eventually(fmt.Sprintf("%s with %s %v", path, field, want), func() bool { return c.ask(via, path).body[field] == want })
	}

	do("PUT", "/nodes/node-4/weight", `{"weight":2}`, 204)
	shows("/nodes/node-4", "weight", 2.0)
	do("PUT", "/nodes/node-4/weight", `{"weight":1}`, 204)
	do("POST", "/moves/pause", "", 204)
	shows("/moves", "paused", true)
	do("POST", "/nodes/node-4/drain", "", 204)
	shows("/nodes/node-4", "draining", true)
	do("POST", "/nodes/node-4/undrain", "", 204)
	do("POST", "/moves/cancel", `{"partitions":["partition-3"]}`, 204)
	do("POST", "/moves/cancel", "", 204)
	do("POST", "/moves/resume", "", 204)
	shows("/moves", "paused", false)
	c.settled(3)

	do("PUT", "/metadata/a%2Fb%20c", `{"value":"1"}`, 204)
	shows("/metadata/a%2Fb%20c", "value", "1")
	if got := do("GET", "/metadata/a%2Fb%20c", "", 200); got.body["key"] != "a/b c" {
		t.Errorf("%v", got.body)
	}
	do("DELETE", "/metadata/a%2Fb%20c", "", 204)
	do("DELETE", "/metadata/a%2Fb%20c", "", 204)
	c.eventually("deletion", func() bool { return c.ask(via, "/metadata/a%2Fb%20c").status == 404 })

	if got := do("POST", "/moves/plan", "", 200); len(got.body["rounds"].([]any)) != 0 {
		t.Errorf("a settled cluster plans %v", got.body)
	}
	gone := c.nodes[via].GetMyNodeID()
	for id := range c.nodes {
		if id != via && id != c.leader() {
			gone = id
		}
	}
	plan := do("POST", "/moves/plan", `{"remove":[],"drain":["`+gone+`"]}`, 200)
	if len(plan.body["rounds"].([]any)) == 0 || plan.body["copies"] != float64(c.nodes[via].Map().copiesOn(gone)) {
		t.Errorf("to drain %s the plan is %v", gone, plan.body)
	}

	// The drain goes on when the time of a decommission is over.
	do("POST", "/moves/pause", "", 204)
	if got := do("POST", "/nodes/"+gone+"/decommission?timeout=1s", "", 202); got.body["node"] != gone || got.body["copies"] == 0.0 {
		t.Errorf("%v", got.body)
	}
	shows("/nodes/"+gone, "draining", true)
	do("POST", "/moves/resume", "", 204)
	named := url.PathEscape(c.nodes[via].Map().Node(gone).RaftID)
	do("POST", "/nodes/"+gone+"%2Fanother-directory/drain", "", 409)
	do("POST", "/nodes/"+named+"/decommission?timeout=1m", "", 204)
	do("POST", "/nodes/"+named+"/decommission", "", 204)
	do("POST", "/nodes/"+gone+"%2F/decommission", "", 204)
	do("POST", "/nodes/"+gone+"/decommission", "", 204)
	do("DELETE", "/nodes/"+gone, "", 204)
	do("DELETE", "/nodes/"+named, "", 204)
	c.eventually("removal", func() bool { return c.ask(via, "/nodes/"+gone).status == 404 })
	c.stop(gone)

	do("PUT", "/cluster/replication-factor", `{"replication_factor":2}`, 204)
	c.settled(2)
	leaving := c.nodes[via]
	do("POST", "/cluster/leave", "", 204)
	select {
	case <-leaving.Done():
	case <-time.After(testWait):
		t.Fatal("the node that left was not told")
	}
	if err := leaving.Err(); !errors.Is(err, ErrLeft) {
		t.Errorf("the node that left ended with %v", err)
	}
	c.stop(via)
	c.settled(2)
}

// TestRefusalsOverHTTP asks for what cannot be, and reads why.
func TestRefusalsOverHTTP(t *testing.T) {
	t.Parallel()
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	c := startThree(t, nil)
	via := c.follower()
	p := c.nodes[via].Map().Partitions[0]
	for _, tt := range []struct {
		method, path, body string
		status             int
		code, message      string
	}{
		{"POST", "/nodes/node-1/drain", "", 409, "refused", "without node-1 there are 2: add a node first"},
		{"POST", "/nodes/node-1/decommission", "", 409, "refused", "add a node first"},
		{"POST", "/cluster/leave", "", 409, "refused", "add a node first"},
		{"DELETE", "/nodes/node-1", "", 409, "refused", "drain it first"},
		{"DELETE", "/nodes/node-9", "", 404, "unknown_node", "the nodes are node-1, node-2, node-3"},
		{"POST", "/nodes/node-9/drain", "", 404, "unknown_node", `"node-9"`},
		{"POST", "/nodes/node-9/decommission", "", 404, "unknown_node", `"node-9"`},
		{"POST", "/nodes/node-1/decommission?timeout=2h", "", 400, "bad_request", "timeout is \"2h\": use 0s to 1h0m0s"},
		{"POST", "/cluster/leave?timeout=long", "", 400, "bad_request", "timeout"},
		{"PUT", "/nodes/node-1/weight", `{"weight":0}`, 400, "bad_request", "use 1 to 1000"},
		{"PUT", "/nodes/node-1/weight", `{"wieght":1}`, 400, "bad_request", `unknown field "wieght": send {"weight":2}`},
		{"PUT", "/nodes/node-1/weight", `{"weight":"2"}`, 400, "bad_request", `field "weight" cannot be a string: send {"weight":2}`},
		{"PUT", "/nodes/node-1/weight", `{}`, 400, "bad_request", `field "weight" is missing`},
		{"PUT", "/nodes/node-1/weight", `{"weight":1} {}`, 400, "bad_request", "something after the JSON value"},
		{"PUT", "/nodes/node-1/weight", ``, 400, "bad_request", "it is empty: send"},
		{"PUT", "/nodes/node-1/weight", `weight=1`, 400, "bad_request", "send"},
		{"PUT", "/nodes/node-9/weight", `{"weight":1}`, 404, "unknown_node", `"node-9"`},
		{"PUT", "/cluster/replication-factor", `{"replication_factor":4}`, 409, "refused", "there are 3: add nodes first"},
		{"PUT", "/cluster/replication-factor", `{"replication_factor":99}`, 400, "bad_request", "use 2"},
		{"PUT", "/cluster/replication-factor", `{"factor":2}`, 400, "bad_request", "factor"},
		{"PUT", "/cluster/replication-factor", `{}`, 400, "bad_request", "missing"},
		{"POST", "/partitions/partition-0/accept-data-loss", fmt.Sprintf(`{"node":"node-1","epoch":%d}`, p.Epoch), 409, "refused", "nothing needs to be lost"},
		{"POST", "/partitions/partition-0/accept-data-loss", `{"node":"node-1","epoch":99}`, 409, "stale", "not 99"},
		{"POST", "/partitions/partition-0/accept-data-loss", fmt.Sprintf(`{"node":"node-9","epoch":%d}`, p.Epoch), 404, "unknown_node", "node-9"},
		{"POST", "/partitions/partition-99/accept-data-loss", `{"node":"node-1","epoch":1}`, 404, "unknown_partition", "partition-0 to partition-15"},
		{"POST", "/partitions/0/accept-data-loss", `{"node":"node-1","epoch":1}`, 404, "unknown_partition", "partition-0 to partition-15"},
		{"POST", "/partitions/partition-0/accept-data-loss", `{"node":"node-1"}`, 400, "bad_request", `"epoch" is missing`},
		{"POST", "/partitions/partition-0/accept-data-loss", `{"epoch":1}`, 400, "bad_request", `"node" is missing`},
		{"POST", "/partitions/partition-0/accept-data-loss", "", 400, "bad_request", "it is empty"},
		{"POST", "/partitions/partition-0/move", `{"from":"node-1","to":"node-2"}`, 409, "refused", "node-2 has a copy of partition-0 already"},
		{"POST", "/partitions/partition-0/move", `{"from":"node-1"}`, 400, "bad_request", "belong together"},
		{"POST", "/partitions/partition-0/move", `{}`, 400, "bad_request", "belong together"},
		{"POST", "/partitions/partition-0/move", `{"onto":"node-1"}`, 400, "bad_request", `"onto"`},
		{"POST", "/partitions/partition-0/move", `{"from":"node-1","to":"node-9"}`, 404, "unknown_node", `"node-9"`},
		{"POST", "/partitions/partition-16/move", `{"primary":"node-1"}`, 404, "unknown_partition", "partition-0 to partition-15"},
		{"POST", "/moves/cancel", `{"partitions":["partition-16"]}`, 404, "unknown_partition", `"partition-16"`},
		{"POST", "/moves/cancel", `{"partitions":[5]}`, 400, "bad_request", `{"partitions":["partition-5"]}`},
		{"POST", "/moves/plan", `{"drain":["node-1"]}`, 409, "refused", "add a node first"},
		{"POST", "/moves/plan", `{"drain":["node-9"]}`, 404, "unknown_node", `"node-9"`},
		{"POST", "/moves/plan", `{"weights":{"node-1":-1}}`, 400, "bad_request", "use 1 to 1000"},
		{"POST", "/moves/plan", `{"drop":["node-1"]}`, 400, "bad_request", `"drop"`},
		{"PUT", "/metadata/key", `{"value":"` + strings.Repeat("x", maxMetadataValue+1) + `"}`, 400, "bad_request", "at most 4096 bytes"},
		{"PUT", "/metadata/key", `{}`, 400, "bad_request", `"value" is missing`},
		{"PUT", "/metadata/%ff", `{"value":"x"}`, 400, "bad_request", "UTF-8"},
		{"PUT", "/metadata/" + strings.Repeat("k", maxMetadataKey+1), `{"value":"x"}`, 400, "bad_request", "1 to 128 bytes"},
		{"PUT", "/metadata/key", `{"value":"` + strings.Repeat("x", maxBody) + `"}`, 413, "too_large", "524288"},
		{"POST", "/cluster/join", `{"node_id":"` + strings.Repeat("x", maxBody) + `"}`, 413, "too_large", "524288"},
	} {
		got := c.send(via, tt.method, tt.path, tt.body)
		if got.status != tt.status || got.code() != tt.code || !strings.Contains(got.message(), tt.message) {
			t.Errorf("%s %s %.60s: %d %v, want %d %s with %q", tt.method, tt.path, tt.body, got.status, got.body, tt.status, tt.code, tt.message)
		}
	}
	if m := c.nodes[via].Map(); m.Paused || len(m.Metadata) != 0 || m.Config.ReplicationFactor != 3 {
		t.Error("what was refused has changed the map")
	}
}

func TestMovesOverHTTPSayWhyTheyWait(t *testing.T) {
	ck := newStopped(t)
	ck.state.swap(nil, mustApply(t, planned(t), pauseCommand{Paused: true}))
	got := serve(t, ck, httptest.NewRequest(http.MethodGet, "/moves", nil))
	moves := got.body["moves"].([]any)
	if len(moves) == 0 || got.body["paused"] != true || moves[0].(map[string]any)["waiting"] != "moves are paused" {
		t.Errorf("%v", got.body)
	}
}

// TestErrorsBecomeAnswers: one status and one code for each error, however it
// is wrapped.
func TestErrorsBecomeAnswers(t *testing.T) {
	for _, tt := range []struct {
		err    error
		status int
		code   code
	}{
		{ErrRefused, 409, "refused"},
		{ErrNoNode, 404, "unknown_node"},
		{ErrNoPartition, 404, "unknown_partition"},
		{errBadRequest, 400, "bad_request"},
		{ErrStale, 409, "stale"},
		{ErrJoinRefused, 409, "join_refused"},
		{nodeIDInUse{lease: time.Second}, 409, "node_id_in_use"},
		{noClusterError{founder: "n/s"}, 503, "no_cluster"},
		{ErrNotReady, 503, "no_cluster"},
		{ErrNoLeader, 503, "no_leader"},
		{fmt.Errorf("%w: %w", ErrNoLeader, context.DeadlineExceeded), 503, "no_leader"},
		{ErrStopped, 503, "stopped"},
		{fmt.Errorf("%w: %w", ErrNoLeader, ErrStopped), 503, "stopped"},
		{failedProbe{}, 503, "not_ready"},
		{ErrUnknown, 504, "unknown"},
		{fmt.Errorf("%w: %w", ErrUnknown, context.Canceled), 504, "unknown"},
		{errorOf("a code of a later version", "why"), 504, "unknown"},
		{errors.New("any other"), 504, "unknown"},
		{httpError{codeForbidden, ""}, 403, "forbidden"},
	} {
		for _, err := range []error{tt.err, fmt.Errorf("operation: %w", tt.err)} {
			status, body := answerTo(err)
			if status != tt.status || body.Error.Code != tt.code || body.Error.Message != err.Error() {
				t.Errorf("%v: %d %+v, want %d %s", err, status, body, tt.status, tt.code)
			}
		}
	}
	for _, err := range []error{ErrNoNode, ErrNoPartition, errBadRequest} {
		if crossed := errorOf(codeOf(err), "why"); !errors.Is(crossed, err) || !errors.Is(crossed, ErrRefused) {
			t.Errorf("%v is %v after it has crossed the wire", err, crossed)
		}
	}
}

func TestMethodsThatAPathHasNot(t *testing.T) {
	ck := newStopped(t)
	for _, tt := range []struct{ method, path, allow string }{
		{"POST", "/cluster", "GET, HEAD"},
		{"DELETE", "/nodes/node-1/drain", "POST"},
		{"POST", "/nodes/node-1", "GET, HEAD, DELETE"},
		{"PATCH", "/metadata/key", "GET, HEAD, PUT, DELETE"},
		{"OPTIONS", "/cluster/leave", "POST"},
		{"GET", "/moves/plan", "POST"},
	} {
		got := serve(t, ck, httptest.NewRequest(tt.method, tt.path, nil))
		if got.status != http.StatusMethodNotAllowed || got.header.Get("Allow") != tt.allow || got.code() != "method_not_allowed" {
			t.Errorf("%s %s: %d %v, Allow %q, want %q", tt.method, tt.path, got.status, got.body, got.header.Get("Allow"), tt.allow)
		}
	}
}

// TestLargeBodiesAreNotRead, nor more of those of unknown length than may be.
func TestLargeBodiesAreNotRead(t *testing.T) {
	ck := newStopped(t)
	for _, announced := range []bool{true, false} {
		endless := &countingReader{}
		req := httptest.NewRequest(http.MethodPut, "/cluster/replication-factor", endless)
		req.ContentLength = -1
		most := int64(maxBody + 64<<10)
		if announced {
			req.ContentLength, most = maxBody+1, 0
		}
		if got := serve(t, ck, req); got.status != http.StatusRequestEntityTooLarge || endless.read > most {
			t.Errorf("announced %v: %d after %d bytes", announced, got.status, endless.read)
		}
	}
}

// countingReader never ends.
type countingReader struct{ read int64 }

func (r *countingReader) Read(p []byte) (int, error) {
	r.read += int64(len(p))
	return len(p), nil
}

// TestPagesOfOtherSitesChangeNothing: a browser on the operator's machine
// reaches a node that listens on loopback.
func TestPagesOfOtherSitesChangeNothing(t *testing.T) {
	ck := newStopped(t)
	for _, tt := range []struct {
		name, method, path string
		header             []string
		refused            bool
	}{
		{"curl", "POST", "/moves/pause", nil, false},
		{"a form elsewhere", "POST", "/moves/pause", []string{"Origin", "http://evil.example", "Sec-Fetch-Site", "cross-site"}, true},
		{"another port of this host", "POST", "/moves/pause", []string{"Sec-Fetch-Site", "same-site"}, true},
		{"an old browser", "POST", "/moves/pause", []string{"Origin", "http://evil.example"}, true},
		{"a page without an origin", "POST", "/moves/pause", []string{"Origin", "null"}, true},
		{"a page of the node's own address", "POST", "/moves/pause", []string{"Origin", "http://example.com", "Sec-Fetch-Site", "same-origin"}, false},
		{"a deletion", "DELETE", "/nodes/node-1", []string{"Origin", "http://evil.example"}, true},
		{"a join", "POST", "/cluster/join", []string{"Origin", "http://evil.example"}, true},
		{"a look", "GET", "/health", []string{"Origin", "http://evil.example"}, false},
	} {
		req := httptest.NewRequest(tt.method, tt.path, nil)
		for i := 0; i < len(tt.header); i += 2 {
			req.Header.Set(tt.header[i], tt.header[i+1])
		}
		got := serve(t, ck, req)
		if refused := got.status == http.StatusForbidden && got.code() == "forbidden"; refused != tt.refused {
			t.Errorf("%s: %d %v, want a refusal: %v", tt.name, got.status, got.body, tt.refused)
		}
		if slices.Contains(tt.header, "http://evil.example") && got.header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: the page may read the answer", tt.name)
		}
	}
}

// FuzzBodies: whatever the body, the answer is one that is described.
func FuzzBodies(f *testing.F) {
	paths := []struct{ method, path string }{
		{"PUT", "/nodes/node-1/weight"},
		{"PUT", "/cluster/replication-factor"},
		{"POST", "/partitions/partition-0/accept-data-loss"},
		{"POST", "/partitions/partition-0/move"},
		{"POST", "/moves/cancel"},
		{"POST", "/moves/plan"},
		{"PUT", "/metadata/key"},
		{"POST", "/cluster/join"},
	}
	for i, body := range []string{`{"weight":2}`, `{"replication_factor":3}`, `{"node":"node-1","epoch":7}`, `{"partitions":["partition-5"]}`, `{"weights":{"a":1}}`, `{"value":"x"}`, `{"node_id":"a"}`} {
		f.Add(i, []byte(body))
	}
	ck, err := NewClusterKit(Options{NodeID: "node-1", HTTPAddr: ":0", RaftAddr: "127.0.0.1:0", DataDir: f.TempDir(), Bootstrap: true, Logger: quiet})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { _ = ck.Stop() })
	f.Fuzz(func(t *testing.T, which int, body []byte) {
		to := paths[uint(which)%uint(len(paths))]
		got := serve(t, ck, httptest.NewRequest(to.method, to.path, io.NopCloser(strings.NewReader(string(body)))))
		if got.status != http.StatusBadRequest && got.status != http.StatusServiceUnavailable {
			t.Errorf("%s %s %q: %d %v", to.method, to.path, body, got.status, got.body)
		}
	})
}
