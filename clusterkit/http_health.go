package clusterkit

import (
	"fmt"
	"net/http"
	"strings"
)

// probeAnswer is the answer of a probe that succeeds.
type probeAnswer struct {
	Status string `json:"status"`
	NodeID string `json:"node_id"`
	// Checks are there if the request has the parameter verbose.
	Checks []check `json:"checks,omitempty"`
}

// check is one of the conditions of a probe.
type check struct {
	Name string `json:"name"`
	// Status is "ok" or "failed".
	Status string `json:"status"`
	// Reason says why it failed.
	Reason string `json:"reason,omitempty"`
}

const (
	checkOK     = "ok"
	checkFailed = "failed"
)

func checked(name string, ok bool, reason string) check {
	if ok {
		return check{Name: name, Status: checkOK}
	}
	return check{Name: name, Status: checkFailed, Reason: reason}
}

// failedProbe is the error of a probe with a check that failed.
type failedProbe struct {
	reasons []string
	checks  []check
}

func (e failedProbe) Error() string { return strings.Join(e.reasons, "; ") }

// probe answers with the status if no check has failed.
func (a *api) probe(w *responder, r *http.Request, status string, checks []check) error {
	var failed failedProbe
	for _, c := range checks {
		if c.Status == checkFailed {
			failed.reasons = append(failed.reasons, c.Name+": "+c.Reason)
		}
	}
	if !r.URL.Query().Has("verbose") {
		checks = nil
	}
	if len(failed.reasons) > 0 {
		failed.checks = checks
		return failed
	}
	return w.json(http.StatusOK, probeAnswer{status, a.ck.opts.NodeID, checks})
}

func (a *api) health(w *responder, _ *http.Request) error {
	return w.json(http.StatusOK, probeAnswer{Status: "ok", NodeID: a.ck.opts.NodeID})
}

// live fails only where no waiting helps this process: what is wrong with other
// nodes, or with the network, is no reason to end it.
func (a *api) live(w *responder, r *http.Request) error {
	return a.probe(w, r, "ok", []check{a.ck.checkMembership()})
}

func (a *api) ready(w *responder, r *http.Request) error {
	return a.probe(w, r, "ready", a.ck.readiness())
}

func (ck *ClusterKit) checkMembership() check {
	err := ck.Err()
	return checked("membership", err == nil, fmt.Sprintf("this node is out of the cluster for good: %v", err))
}

// readiness takes apart what [ClusterKit.HoldsLease] says in one word.
func (ck *ClusterKit) readiness() []check {
	m := ck.Map()
	return []check{
		checked("running", !ck.stopping.Load() && ck.book.raft.Load() != nil, "this node was not started, or is stopping"),
		ck.checkMembership(),
		checked("map", m != nil, ErrNotReady.Error()),
		checked("session", m != nil && ck.joined(m), "this node has no open session: it was silent for too long, or has not registered yet"),
		checked("lease", ck.session.holdsIn(m), "this node holds no lease: it has not joined yet, or has lost the control plane"),
	}
}

// healthAnswer is this node's view of itself and of the partitions.
type healthAnswer struct {
	// Status is "ok", "degraded" where a partition has no primary or too few
	// copies, or "not_ready" where this node holds no lease.
	Status      string          `json:"status"`
	Node        Node            `json:"node"`
	Ready       bool            `json:"ready"`
	HoldsLease  bool            `json:"holds_lease"`
	Leader      string          `json:"leader"`
	MapVersion  uint64          `json:"map_version"`
	ClusterUUID string          `json:"cluster_uuid"`
	Partitions  *partitionStats `json:"partitions,omitempty"`
	// Copies are those on this node that hooks are called for.
	Copies []copyStats `json:"copies"`
}

func (a *api) healthDetailed(w *responder, _ *http.Request) error {
	health := healthAnswer{Status: "ok", Node: a.ck.Self(), HoldsLease: a.ck.HoldsLease(), Copies: a.ck.ownCopies()}
	health.Leader, _ = a.ck.leaderNode()
	health.Ready = health.HoldsLease
	if m := a.ck.Map(); m != nil {
		stats := summarize(m)
		health.MapVersion, health.ClusterUUID, health.Partitions = m.Version, m.ClusterUUID, &stats
		if stats.WithoutPrimary > 0 || stats.UnderReplicated > 0 {
			health.Status = "degraded"
		}
	}
	if !health.Ready {
		health.Status = "not_ready"
	}
	return w.json(http.StatusOK, health)
}
