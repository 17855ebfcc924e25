package clusterkit

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

// join takes the request to the leader. Only a refusal is final.
func (a *api) join(w *responder, r *http.Request) error {
	var req joinRequest
	if err := readFromNode(w, r, &req); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), joinTimeout-time.Second)
	defer cancel()
	resp, err := a.ck.admitAnywhere(ctx, req)
	if err == nil {
		err = resp.err()
	}
	if err != nil {
		return err
	}
	return w.json(http.StatusOK, resp)
}

// announce answers a node that knows an HTTP address of this one.
func (a *api) announce(w *responder, r *http.Request) error {
	var req announceRequest
	if err := readFromNode(w, r, &req); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(r.Context(), announceTimeout)
	defer cancel()
	resp, err := a.ck.heardFrom(ctx, req)
	if err != nil {
		return err
	}
	return w.json(http.StatusOK, resp)
}

// readFromNode decodes what another node has sent, which may have fields that
// this version does not know.
func readFromNode(w *responder, r *http.Request, into any) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%w: the body is not the request of a node: %w", errBadRequest, err)
	}
	return nil
}
