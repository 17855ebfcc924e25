package clusterkit

import (
	"context"
	"errors"
	"net/http"
	"time"
)

// A decommission is waited for this long, and at most this long.
const (
	decommissionWait    = time.Minute
	maxDecommissionWait = time.Hour
)

// change makes a change that needs no more than the request.
func change(do func(context.Context) error) endpoint {
	return func(w *responder, r *http.Request) error { return w.done(do(r.Context())) }
}

// onNode makes a change of the node that the path names.
func onNode(do func(ctx context.Context, nodeID string) error) endpoint {
	return func(w *responder, r *http.Request) error { return w.done(do(r.Context(), pathVar(r, "id"))) }
}

// drainingAnswer says that a node is not empty yet.
type drainingAnswer struct {
	Node string `json:"node"`
	// Copies are those it still holds.
	Copies  int    `json:"copies"`
	Message string `json:"message"`
}

func (a *api) decommission(w *responder, r *http.Request) error {
	id := pathVar(r, "id")
	return a.awaitRemoval(w, r, id, func(ctx context.Context) error { return a.ck.Decommission(ctx, id) })
}

// leave decommissions this node. The application stops it when Done is closed.
func (a *api) leave(w *responder, r *http.Request) error {
	return a.awaitRemoval(w, r, a.ck.opts.NodeID, a.ck.depart)
}

// awaitRemoval answers 204 when the node is removed, and 202 when it will still
// take a while to be empty.
func (a *api) awaitRemoval(w *responder, r *http.Request, id string, remove func(context.Context) error) error {
	wait, err := duration(r, "timeout", decommissionWait, maxDecommissionWait)
	if err != nil {
		return err
	}
	w.within(wait)
	ctx, cancel := context.WithTimeout(r.Context(), wait)
	defer cancel()
	defer context.AfterFunc(a.polls, cancel)()
	err = remove(ctx)
	if !errors.Is(err, ErrDraining) {
		return w.done(err)
	}
	answer := drainingAnswer{Node: nodeIDOf(id), Message: err.Error() + ": repeat the request to wait for its end"}
	if m := a.ck.Map(); m != nil {
		answer.Copies = m.copiesOn(answer.Node)
	}
	return w.json(http.StatusAccepted, answer)
}

func (a *api) setWeight(w *responder, r *http.Request) error {
	const example = `{"weight":2}`
	var body struct {
		Weight *int `json:"weight"`
	}
	if err := readJSON(w, r, example, &body); err != nil {
		return err
	}
	if body.Weight == nil {
		return missing("weight", example)
	}
	return w.done(a.ck.SetWeight(r.Context(), pathVar(r, "id"), *body.Weight))
}

func (a *api) setReplicationFactor(w *responder, r *http.Request) error {
	const example = `{"replication_factor":3}`
	var body struct {
		ReplicationFactor *int `json:"replication_factor"`
	}
	if err := readJSON(w, r, example, &body); err != nil {
		return err
	}
	if body.ReplicationFactor == nil {
		return missing("replication_factor", example)
	}
	return w.done(a.ck.SetReplicationFactor(r.Context(), *body.ReplicationFactor))
}

// acceptDataLoss takes nothing for granted: the operator names the node, and
// the epoch that the decision was based on.
func (a *api) acceptDataLoss(w *responder, r *http.Request) error {
	const example = `{"node":"node-1","epoch":7}, the epoch being the partition's in GET /partitions`
	var body struct {
		Node  string  `json:"node"`
		Epoch *uint64 `json:"epoch"`
	}
	if err := readJSON(w, r, example, &body); err != nil {
		return err
	}
	switch {
	case body.Node == "":
		return missing("node", example)
	case body.Epoch == nil:
		return missing("epoch", example)
	}
	p, err := a.partition(pathVar(r, "id"))
	if err != nil {
		return err
	}
	return w.done(a.ck.AcceptDataLoss(r.Context(), p.Index, *body.Epoch, body.Node))
}

func (a *api) partition(id string) (*Partition, error) {
	m := a.ck.Map()
	if m == nil {
		return nil, ErrNotReady
	}
	return m.partition(id)
}

func (a *api) setMetadata(w *responder, r *http.Request) error {
	const example = `{"value":"any text"}`
	var body struct {
		Value *string `json:"value"`
	}
	if err := readJSON(w, r, example, &body); err != nil {
		return err
	}
	if body.Value == nil {
		return missing("value", example)
	}
	return w.done(a.ck.SetMetadata(r.Context(), pathVar(r, "key"), *body.Value))
}

func (a *api) deleteMetadata(w *responder, r *http.Request) error {
	return w.done(a.ck.DeleteMetadata(r.Context(), pathVar(r, "key")))
}
