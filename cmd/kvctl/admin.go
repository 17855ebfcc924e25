package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

const (
	// adminRetry is how long admin waits before it asks the next node.
	adminRetry = 100 * time.Millisecond
	// adminAttempt bounds one attempt that should be answered at once.
	adminAttempt  = 6 * time.Second
	maxAdminBytes = 64 << 20
)

// admin asks the nodes of a cluster for what concerns the cluster. All such
// requests may be repeated, so whatever fails at one node is asked of the next,
// until the context ends.
type admin struct {
	endpoints []string
	http      *http.Client
}

// withAdmin calls do within the timeout.
func (k *kvctl) withAdmin(ctx context.Context, do func(context.Context, *admin) error) error {
	if err := k.checkTimeout(); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, k.timeout)
	defer cancel()
	return k.asAdmin(ctx, do)
}

// asAdmin calls do, which ends by itself or with the context.
func (k *kvctl) asAdmin(ctx context.Context, do func(context.Context, *admin) error) error {
	if len(k.endpoints) == 0 {
		return fmt.Errorf("%w: --endpoints is empty: give host:port of a node", errUsage)
	}
	transport := &http.Transport{}
	defer transport.CloseIdleConnections()
	return do(ctx, &admin{k.endpoints, &http.Client{Transport: transport}})
}

// call sends the request with the body in JSON, nil for none, and decodes the
// answer into the value that to points to, nil for none. It returns the status
// of a success; errors are those of package api.
func (a *admin) call(ctx context.Context, method, path string, body, to any) (status int, err error) {
	var encoded []byte
	if body != nil {
		if encoded, err = json.Marshal(body); err != nil {
			return 0, err
		}
	}
	var last error
	for i := 0; ; i++ {
		addr := a.endpoints[i%len(a.endpoints)]
		status, err := a.ask(ctx, addr, method, path, encoded, to)
		if err == nil || !errors.Is(err, errAskAgain) {
			return status, err
		}
		if last == nil || ctx.Err() == nil {
			last = err
		}
		select {
		case <-ctx.Done():
			return 0, fmt.Errorf("%w: %w", api.ErrUnavailable, last)
		case <-time.After(adminRetry):
		}
	}
}

// errAskAgain marks what another node, or the same one later, may answer.
var errAskAgain = errors.New("no node could answer in time")

func (a *admin) ask(ctx context.Context, addr, method, path string, body []byte, to any) (status int, err error) {
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, bytes.NewReader(body))
	if err != nil {
		return 0, fmt.Errorf("%w: --endpoints: %w", errUsage, err)
	}
	req.Header.Set("Content-Type", "application/json")
	resp, err := a.http.Do(req)
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", errAskAgain, addr, err)
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxAdminBytes))
	if err != nil {
		return 0, fmt.Errorf("%w: %s: %w", errAskAgain, addr, err)
	}
	if resp.StatusCode >= http.StatusBadRequest {
		return 0, refusal(addr, resp, answer)
	}
	if to != nil && len(answer) > 0 {
		if err := json.Unmarshal(answer, to); err != nil {
			return 0, fmt.Errorf("%s answered something that cannot be understood: %w", addr, err)
		}
	}
	return resp.StatusCode, nil
}

// absent is an answer by which there is no such node or partition. The control
// plane has codes of its own for these.
type absent struct{ answer *api.Error }

func (a *absent) Error() string   { return a.answer.Error() }
func (a *absent) Unwrap() []error { return []error{a.answer, api.ErrNotFound} }

// refusal puts an answer that is no success into words.
func refusal(addr string, resp *http.Response, body []byte) error {
	var e api.ErrorBody
	if json.Unmarshal(body, &e) != nil || e.Error == nil {
		return fmt.Errorf("%s answered %s: is it the HTTP address of a node?", addr, resp.Status)
	}
	switch resp.StatusCode {
	case http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return fmt.Errorf("%w: %s: %w", errAskAgain, addr, e.Error)
	case http.StatusNotFound:
		return &absent{e.Error}
	default:
		return e.Error
	}
}
