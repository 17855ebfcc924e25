package clusterkit

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/gorilla/mux"
	"github.com/hashicorp/raft"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

const maxJoinBody = 64 << 10

// errorBody is the body of every answer that is not a success.
type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Code    code   `json:"code"`
	Message string `json:"message"`
	// Founder is, in the answer to a join request, the server ID of a node
	// that may found a cluster itself.
	Founder string `json:"founder,omitempty"`
	// Lease is the cluster's LeaseDuration, in the refusal of a node ID that is
	// in use.
	Lease time.Duration `json:"lease_ns,omitempty"`
}

// Handler returns the HTTP API: the endpoints of DESIGN.md. It may be mounted
// on the application's own router, at its root, and answers from the moment
// that [NewClusterKit] has returned.
func (ck *ClusterKit) Handler() http.Handler { return ck.handler }

func (ck *ClusterKit) routes() http.Handler {
	r := mux.NewRouter()
	get := func(path string, h http.HandlerFunc) { r.HandleFunc(path, h).Methods(http.MethodGet, http.MethodHead) }
	get("/cluster", ck.withMap(ck.serveCluster))
	get("/partitions", ck.withMap(servePartitions))
	get("/partitions/stats", ck.withMap(func(w http.ResponseWriter, _ *http.Request, m *Map) {
		writeJSON(w, http.StatusOK, summarize(m))
	}))
	get("/partitions/key", ck.withMap(ck.serveKey))
	get("/consensus/leader", ck.serveLeader)
	get("/consensus/stats", ck.serveConsensus)
	get("/health", ck.serveHealth)
	get("/health/detailed", ck.serveHealthDetailed)
	get("/livez", ck.serveHealth)
	get("/readyz", ck.serveReady)
	if ck.opts.Gatherer != nil {
		r.Handle("/metrics", promhttp.HandlerFor(ck.opts.Gatherer, promhttp.HandlerOpts{})).Methods(http.MethodGet, http.MethodHead)
	}
	r.HandleFunc("/cluster/join", ck.serveJoin).Methods(http.MethodPost)
	r.NotFoundHandler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		writeError(w, http.StatusNotFound, "not_found", "there is no such endpoint")
	})
	r.MethodNotAllowedHandler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		writeError(w, http.StatusMethodNotAllowed, "method_not_allowed", req.Method+" is not allowed here")
	})
	return r
}

func (ck *ClusterKit) withMap(h func(http.ResponseWriter, *http.Request, *Map)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		m := ck.Map()
		if m == nil {
			writeError(w, http.StatusServiceUnavailable, codeNoCluster, ErrNotReady.Error())
			return
		}
		h(w, r, m)
	}
}

func (ck *ClusterKit) serveCluster(w http.ResponseWriter, _ *http.Request, m *Map) {
	leader, _ := ck.leaderNode()
	writeJSON(w, http.StatusOK, struct {
		ClusterName string `json:"cluster_name"`
		ClusterUUID string `json:"cluster_uuid"`
		Version     uint64 `json:"version"`
		Config      Config `json:"config"`
		Leader      string `json:"leader"`
		Nodes       []Node `json:"nodes"`
	}{m.Config.ClusterName, m.ClusterUUID, m.Version, m.Config, leader, m.Nodes})
}

func servePartitions(w http.ResponseWriter, _ *http.Request, m *Map) {
	writeJSON(w, http.StatusOK, struct {
		Version    uint64      `json:"version"`
		Partitions []Partition `json:"partitions"`
	}{m.Version, m.Partitions})
}

func (ck *ClusterKit) serveKey(w http.ResponseWriter, r *http.Request, m *Map) {
	key := r.URL.Query().Get("key")
	if key == "" {
		writeError(w, http.StatusBadRequest, codeBadRequest, "the parameter key is missing or empty: ask for /partitions/key?key=...")
		return
	}
	p := &m.Partitions[partitionOf(m.Config.Hash, key, len(m.Partitions))]
	replicas := ck.GetReplicas(p)
	if replicas == nil {
		replicas = []Node{}
	}
	writeJSON(w, http.StatusOK, struct {
		Key       string     `json:"key"`
		Partition *Partition `json:"partition"`
		Primary   *Node      `json:"primary"`
		Replicas  []Node     `json:"replicas"`
	}{key, p, ck.GetPrimary(p), replicas})
}

func (ck *ClusterKit) serveLeader(w http.ResponseWriter, _ *http.Request) {
	id, addr := ck.leaderNode()
	if id == "" {
		writeError(w, http.StatusServiceUnavailable, codeNoLeader, "no Raft leader is known to this node at the moment")
		return
	}
	writeJSON(w, http.StatusOK, struct {
		Leader   string `json:"leader"`
		RaftAddr string `json:"raft_addr"`
		IsSelf   bool   `json:"is_self"`
	}{id, addr, id == ck.opts.NodeID})
}

func (ck *ClusterKit) serveConsensus(w http.ResponseWriter, _ *http.Request) {
	type server struct {
		ID    raft.ServerID `json:"id"`
		Addr  string        `json:"raft_addr"`
		Voter bool          `json:"voter"`
	}
	var stats struct {
		State        string   `json:"state"`
		Term         uint64   `json:"term"`
		LastIndex    uint64   `json:"last_index"`
		CommitIndex  uint64   `json:"commit_index"`
		AppliedIndex uint64   `json:"applied_index"`
		Leader       string   `json:"leader"`
		Servers      []server `json:"servers"`
	}
	stats.State, stats.Servers = "Stopped", []server{}
	stats.Leader, _ = ck.leaderNode()
	if r := ck.book.raft.Load(); r != nil {
		stats.State, stats.Term = r.State().String(), r.CurrentTerm()
		stats.LastIndex, stats.CommitIndex, stats.AppliedIndex = r.LastIndex(), r.CommitIndex(), r.AppliedIndex()
		for _, s := range r.GetConfiguration().Configuration().Servers {
			addr, err := ck.book.ServerAddr(s.ID)
			if err != nil {
				addr = s.Address
			}
			_, host := splitPeerAddr(string(addr))
			stats.Servers = append(stats.Servers, server{ID: s.ID, Addr: host, Voter: s.Suffrage == raft.Voter})
		}
	}
	writeJSON(w, http.StatusOK, stats)
}

func (ck *ClusterKit) serveHealth(w http.ResponseWriter, _ *http.Request) {
	writeJSON(w, http.StatusOK, map[string]string{"status": "ok", "node_id": ck.opts.NodeID})
}

func (ck *ClusterKit) serveHealthDetailed(w http.ResponseWriter, _ *http.Request) {
	self := ck.Self()
	health := struct {
		Status      string          `json:"status"`
		Node        Node            `json:"node"`
		Ready       bool            `json:"ready"`
		HoldsLease  bool            `json:"holds_lease"`
		Leader      string          `json:"leader"`
		MapVersion  uint64          `json:"map_version"`
		ClusterUUID string          `json:"cluster_uuid"`
		Partitions  *partitionStats `json:"partitions,omitempty"`
	}{Status: "ok", Node: self, HoldsLease: ck.HoldsLease()}
	health.Leader, _ = ck.leaderNode()
	health.Ready = health.HoldsLease
	if m := ck.Map(); m != nil {
		stats := summarize(m)
		health.MapVersion, health.ClusterUUID, health.Partitions = m.Version, m.ClusterUUID, &stats
		if stats.WithoutPrimary > 0 || stats.UnderReplicated > 0 {
			health.Status = "degraded"
		}
	}
	if !health.Ready {
		health.Status = "not_ready"
	}
	writeJSON(w, http.StatusOK, health)
}

func (ck *ClusterKit) serveReady(w http.ResponseWriter, _ *http.Request) {
	if !ck.HoldsLease() {
		writeError(w, http.StatusServiceUnavailable, "not_ready", "this node holds no lease: it has not joined yet, or has lost the control plane")
		return
	}
	writeJSON(w, http.StatusOK, map[string]string{"status": "ready", "node_id": ck.opts.NodeID})
}

// serveJoin takes the request to the leader. Only a refusal is final.
func (ck *ClusterKit) serveJoin(w http.ResponseWriter, r *http.Request) {
	var req joinRequest
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxJoinBody)).Decode(&req); err != nil {
		writeError(w, http.StatusBadRequest, codeBadRequest, "the body is not a join request: "+err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), joinTimeout-time.Second)
	defer cancel()
	resp, err := ck.admitAnywhere(ctx, req)
	if err == nil {
		err = resp.err()
	}
	var noCluster noClusterError
	var inUse nodeIDInUse
	switch {
	case err == nil:
		writeJSON(w, http.StatusOK, resp)
	case errors.As(err, &inUse):
		writeJSON(w, http.StatusConflict, errorBody{Error: errorDetail{Code: codeConflict, Message: err.Error(), Lease: inUse.lease}})
	case errors.Is(err, ErrJoinRefused):
		writeError(w, http.StatusConflict, codeRefused, err.Error())
	case errors.Is(err, errBadRequest):
		writeError(w, http.StatusBadRequest, codeBadRequest, err.Error())
	case errors.As(err, &noCluster):
		writeJSON(w, http.StatusServiceUnavailable, errorBody{Error: errorDetail{Code: codeNoCluster, Message: err.Error(), Founder: noCluster.founder}})
	case errors.Is(err, ErrNoLeader), errors.Is(err, ErrNotReady):
		writeError(w, http.StatusServiceUnavailable, codeOf(err), err.Error())
	default:
		writeError(w, http.StatusGatewayTimeout, codeOf(err), err.Error())
	}
}

func writeJSON(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	// Nothing can be told to a client that is gone.
	_ = json.NewEncoder(w).Encode(body)
}

func writeError(w http.ResponseWriter, status int, c code, message string) {
	writeJSON(w, status, errorBody{Error: errorDetail{Code: c, Message: message}})
}
