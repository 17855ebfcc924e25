package main

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// script answers requests for what concerns the cluster: by method and path,
// status and body, in which SELF is its address.
func script(t *testing.T, answers map[string]string) (addr string) {
	return serve(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		name := strings.TrimSpace(r.Method + " " + r.URL.String() + " " + string(body))
		answer, ok := answers[name]
		if !ok {
			t.Errorf("asked for %s", name)
		}
		status, content, _ := strings.Cut(answer, " ")
		code, err := strconv.Atoi(status)
		if err != nil {
			t.Errorf("the answer to %s has no status: %v", name, err)
		}
		w.WriteHeader(code)
		io.WriteString(w, strings.ReplaceAll(content, "SELF", r.Host))
	})
}

func TestAdministration(t *testing.T) {
	const stats = `200 {"partitions":2,"without_primary":0,"under_replicated":0,"moving":1,"nodes":[{"node":"n1","primaries":1,"replicas":2,"learners":0},{"node":"n2","primaries":0,"replicas":0,"learners":0}]}`
	for _, tc := range []struct {
		args    string
		answers map[string]string
		code    int
		stdout  []string
		stderr  string
	}{
		{"node ls", map[string]string{
			"GET /nodes":            `200 {"nodes":[{"id":"n1","ip":"h:1","alive":true,"weight":1,"zone":"z"},{"id":"n2","ip":"h:2","alive":true,"weight":2,"draining":true},{"id":"n3","ip":"h:3","weight":1}]}`,
			"GET /partitions/stats": stats,
		}, exitOK, []string{"n1     h:1       up        z      1        1           2          0", "n2     h:2       drained   -", "n3     h:3       DOWN"}, ""},
		{"node describe n1", map[string]string{"GET /nodes/n1": `200 {"id":"n1","weight":3}`}, exitOK, []string{`"weight": 3`}, ""},
		{"node drain n1", map[string]string{"POST /nodes/n1/drain": "204"}, exitOK, nil, ""},
		{"node drain n1", map[string]string{"POST /nodes/n1/drain": `409 {"error":{"code":"refused","message":"refused: add a node first"}}`}, exitError, nil, "add a node first"},
		{"node drain n9", map[string]string{"POST /nodes/n9/drain": `404 {"error":{"code":"unknown_node","message":"no such node: the nodes are n1, n2"}}`}, exitNotFound, nil, "the nodes are n1, n2"},
		{"node drain", nil, exitUsage, nil, "NODE is missing: kvctl node drain NODE"},
		{"node weight n1", nil, exitUsage, nil, "WEIGHT is missing"},
		{"partition describe", nil, exitUsage, nil, "PARTITION is missing"},
		{"node ls --zone z", nil, exitUsage, nil, "See kvctl node ls --help."},
		{"node undrain n1", map[string]string{"POST /nodes/n1/undrain": "204"}, exitOK, nil, ""},
		{"node remove n1", map[string]string{"DELETE /nodes/n1": "204"}, exitOK, nil, ""},
		{"node weight n1 2", map[string]string{`PUT /nodes/n1/weight {"weight":2}`: "204"}, exitOK, nil, ""},
		{"node weight n1 two", nil, exitUsage, nil, "give a whole number"},
		{"node decommission n1", map[string]string{
			"GET /nodes/n1": `200 {"id":"n1","raft_id":"n1/d1"}`, "POST /nodes/n1%2Fd1/decommission?timeout=5s": "204",
		}, exitOK, nil, ""},
		{"node decommission n1", map[string]string{
			"GET /nodes/n1": `404 {"error":{"code":"unknown_node","message":"no such node"}}`, "POST /nodes/n1%2F/decommission?timeout=5s": "204",
		}, exitOK, nil, ""},
		{"partition rebalance", map[string]string{"POST /moves/resume": "204"}, exitOK, nil, ""},
		{"partition rebalance --drain n1", nil, exitUsage, nil, "go with --dry-run"},
		{"partition rebalance --dry-run --drain n1", map[string]string{
			`POST /moves/plan {"drain":["n1"]}`: `200 {"rounds":[[{"partition":"partition-0","kind":"copy","node":"n2"}]],"copies":1,"nodes":[{"node":"n2","primaries":1,"copies":1}]}`,
		}, exitOK, []string{"1       partition-0   copy   n2", "1 copies would be made"}, ""},
		{"partition describe partition-1", map[string]string{"GET /partitions": `200 {"partitions":[{"id":"partition-0"},{"id":"partition-1","epoch":7}]}`}, exitOK, []string{`"epoch": 7`}, ""},
		{"partition describe nothing", map[string]string{"GET /partitions": `200 {"partitions":[{"id":"partition-0"}]}`}, exitNotFound, nil, `no partition "nothing"`},
		{"migration ls", map[string]string{
			"GET /moves": `200 {"version":3,"paused":true,"moves":[{"partition":"partition-0","kind":"copy","node":"n2","from":"n1","waiting":"moves are paused"}]}`,
			"GET /nodes": `200 {"nodes":[{"id":"n1","ip":"SELF"}]}`, // which is down
		}, exitOK, []string{"Moves are paused.", "partition-0   copy   n2     n1     -       -          -      -     moves are paused"}, ""},
		{"migration ls", map[string]string{
			"GET /moves":         `200 {"version":3,"moves":[{"partition":"partition-0","kind":"copy","node":"n2","from":"n1"}]}`,
			"GET /nodes":         `200 {"nodes":[{"id":"n2","ip":"SELF","alive":true}]}`,
			"GET /v1/migrations": `200 {"node":"n2","migrations":[{"partition":"partition-0","node":"n2","phase":"copying snapshot","bytes":1048576,"total":4194304,"rate":2097152,"eta_seconds":1.5},{"partition":"partition-1","node":"n2","source":"n3","phase":"waiting","waiting":"this node makes 2 copies at a time, 2 are before this one","behind":7}]}`,
		}, exitOK, []string{
			"partition-0   copy     n2     n1     copying snapshot   [=====>              ]  25% 1.0 MiB/4.0 MiB   2.0 MiB/s   2s    -",
			"partition-1   return   n2     n3     waiting            7 entries behind                              -           -     this node makes 2 copies",
		}, ""},
		{"migration ls", map[string]string{
			"GET /moves": `200 {"version":3,"moves":[]}`, "GET /nodes": `200 {"nodes":[{"id":"n2","ip":"SELF","alive":true}]}`, "GET /v1/migrations": "404",
		}, exitOK, []string{"Everything is where it should be."}, "the copies on n2 are not shown"},
		{"partition move partition-1 --from n1 --to n4 --primary n2", map[string]string{
			`POST /partitions/partition-1/move {"from":"n1","to":"n4","primary":"n2"}`: `200 {"desired":["n2","n4","n3"],"until_next_plan":true}`,
		}, exitOK, []string{"partition-1 is wanted on n2 (the primary), n4, n3", "until the next plan"}, ""},
		{"partition move partition-1 --primary n2", map[string]string{
			`POST /partitions/partition-1/move {"primary":"n2"}`: `409 {"error":{"code":"refused","message":"refused: n2 is down"}}`,
		}, exitError, nil, "n2 is down"},
		{"partition move partition-1 --from n1", nil, exitUsage, nil, "--from and --to belong together"},
		{"partition move partition-1", nil, exitUsage, nil, "give --from and --to, --primary, or all"},
		{"partition verify partition-1", map[string]string{
			"POST /v1/partitions/partition-1/verify": `200 {"partition":"partition-1","position":"2.9","ok":true,"copies":[{"node":"n1","primary":true,"state":"ok","items":7,"digest":"00aa"}]}`,
		}, exitOK, []string{"partition-1     2.9           n1                ok                      7  00aa              primary"}, ""},
		{"partition verify --all", map[string]string{
			"GET /cluster":                           `200 {"leader":"n1"}`,
			"GET /partitions":                        `200 {"partitions":[{"id":"partition-0"},{"id":"partition-1"}]}`,
			"POST /v1/partitions/partition-0/verify": `200 {"position":"2.9","copies":[{"node":"n1","state":"differs","items":7,"digest":"00aa","remade":true}]}`,
			"POST /v1/partitions/partition-1/verify": `200 {"position":"2.9","ok":true,"copies":[{"node":"n1","state":"ok","items":8,"digest":"00ab"}]}`,
		}, exitUnequal, []string{"differs", "(it is made anew)", "00ab"}, "partition-0: not all copies are certainly equal"},
		{"partition verify partition-9", map[string]string{
			"POST /v1/partitions/partition-9/verify": `404 {"error":{"code":"not_found","message":"there is no partition"}}`,
		}, exitNotFound, nil, "there is no partition"},
		{"partition verify --all", map[string]string{"GET /cluster": `200 {"leader":"n1"}`, "GET /partitions": `200 {"partitions":[]}`}, exitOK, nil, ""},
		{"partition verify", nil, exitUsage, nil, "give one partition, like partition-5, or --all"},
		{"partition verify partition-0 --all", nil, exitUsage, nil, "give one partition, like partition-5, or --all"},
		{"migration pause", map[string]string{"POST /moves/pause": "204"}, exitOK, nil, ""},
		{"migration watch", map[string]string{"GET /moves": `200 {"version":3,"moves":[]}`, "GET /nodes": `200 {"nodes":[]}`}, exitOK, []string{"map 3: 0 moves left"}, ""},
		{"migration throttle", map[string]string{
			"GET /nodes":         `200 {"nodes":[{"id":"n2","ip":"SELF","alive":true}]}`,
			"GET /v1/migrations": `200 {"throttle":{"bytes_per_second":33554432,"copies":2,"p99_multiple":4,"rate":1048576,"p99_seconds":0.02,"baseline_p99_seconds":0.003,"override":{}}}`,
		}, exitOK, []string{"n2     32.0 MiB/s   1.0 MiB/s    2        4              20.0 ms   3.0 ms     the cluster"}, ""},
		{"migration throttle --bytes-per-second 8MiB", map[string]string{`PUT /v1/migrations/throttle {"bytes_per_second":8388608}`: "204"}, exitOK, nil, ""},
		{"migration throttle --bytes-per-second 0 --copies 3 --p99-multiple 0", map[string]string{`PUT /v1/migrations/throttle {"bytes_per_second":0,"copies":3,"p99_multiple":0}`: "204"}, exitOK, nil, ""},
		{"migration throttle --copies 0", map[string]string{`PUT /v1/migrations/throttle {"copies":0}`: `400 {"error":{"code":"bad_request","message":"copies is 0: give 1 to 64"}}`}, exitError, nil, "give 1 to 64"},
		{"migration throttle --bytes-per-second fast", nil, exitUsage, nil, "give a whole number of bytes"},
		{"migration throttle --reset", map[string]string{"DELETE /v1/migrations/throttle": "204"}, exitOK, nil, ""},
		{"cluster wait", map[string]string{"GET /partitions/stats": stats}, exitOK, nil, ""},
		{"cluster wait --for balanced --timeout 50ms", map[string]string{"GET /partitions/stats": stats}, exitUnhealthy, nil, "1 of 2 partitions are not where they should be"},
		{"cluster wait --for ever", nil, exitUsage, nil, "give healthy or balanced"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			got := kvctlRun(t, "", append([]string{"--endpoints", script(t, tc.answers)}, strings.Fields(tc.args)...)...)
			if got.code != tc.code || !strings.Contains(got.stderr, tc.stderr) {
				t.Errorf("%+v, want code %d and %q", got, tc.code, tc.stderr)
			}
			if tc.stdout == nil && got.stdout != "" {
				t.Errorf("printed\n%sand has nothing to say", got.stdout)
			}
			for _, want := range tc.stdout {
				if !strings.Contains(got.stdout, want) {
					t.Errorf("printed\n%swithout %q", got.stdout, want)
				}
			}
		})
	}
}

func TestAdministrationAsksTheNextNode(t *testing.T) {
	var asked atomic.Int32
	busy := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		asked.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
		io.WriteString(w, `{"error":{"code":"no_leader","message":"none is elected"}}`)
	})
	ready := script(t, map[string]string{"POST /nodes/n1/drain": "204"})
	if got := kvctlRun(t, "", "--endpoints", busy+","+ready, "node", "drain", "n1"); got.code != exitOK || asked.Load() != 1 {
		t.Errorf("%+v, the first was asked %d times", got, asked.Load())
	}
	if got := kvctlRun(t, "", "--endpoints", busy, "--timeout", "250ms", "node", "drain", "n1"); got.code != exitUnavailable || !strings.Contains(got.stderr, "none is elected") {
		t.Errorf("%+v", got)
	}
	if got := kvctlRun(t, "", "--endpoints", answering(t, api.CodeForbidden), "node", "drain", "n1"); got.code != exitAuthentication {
		t.Errorf("%+v", got)
	}
}
