package kvstore

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

const (
	// forwardTimeout covers the patience of the other node and a little more.
	forwardTimeout = routePatience + commitPatience + 2*time.Second
	// readTimeout is how long a read waits for one node; it may be tried again
	// with whoever the map names then.
	readTimeout = time.Second
)

// retryable is a failure that proves that nothing was executed.
type retryable struct{ cause error }

func (r *retryable) Error() string { return r.cause.Error() }
func (r *retryable) Unwrap() error { return r.cause }

// forwarder sends requests to the primary that another node is.
type forwarder struct{ http *http.Client }

func newForwarder() *forwarder {
	return &forwarder{&http.Client{
		Timeout:       forwardTimeout,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 256,
			IdleConnTimeout:     time.Minute,
		},
	}}
}

func (f *forwarder) close() { f.http.CloseIdleConnections() }

func (f *forwarder) get(ctx context.Context, addr string, key []byte) (Value, error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	return f.do(ctx, http.MethodGet, addr, key, nil)
}

func (f *forwarder) write(ctx context.Context, addr string, o op.Op) (partition.Position, error) {
	method := http.MethodPut
	if o.Kind == op.Delete {
		method = http.MethodDelete
	}
	v, err := f.do(ctx, method, addr, o.Key, o.Value)
	return v.Version, err
}

// do sends one request, once. A write that may have reached the primary and
// has no answer is of unknown outcome.
func (f *forwarder) do(ctx context.Context, method, addr string, key, value []byte) (Value, error) {
	// The transport repeats a write only if it has written nothing of it: PUT
	// and DELETE without an idempotency key are not replayable to net/http.
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { sent.Store(false) },
		WroteHeaders: func() { sent.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+api.PathKV+url.PathEscape(string(key)), bytes.NewReader(value))
	if err != nil {
		return Value{}, &retryable{err}
	}
	req.Header.Set(api.HeaderNoForward, "1")
	if deadline, ok := ctx.Deadline(); ok {
		req.Header.Set(api.HeaderTimeout, strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10))
	}
	resp, err := f.http.Do(req)
	if err == nil {
		body, readErr := io.ReadAll(io.LimitReader(resp.Body, api.MaxValueBytes+1))
		err = errors.Join(readErr, resp.Body.Close())
		if err == nil && resp.StatusCode < 300 {
			return Value{Data: body, Version: parseVersion(resp)}, nil
		}
		if err == nil {
			return Value{}, answered(method, resp, body)
		}
	}
	if method == http.MethodGet || !sent.Load() {
		return Value{}, &retryable{err}
	}
	return Value{}, api.Errorf(api.CodeOutcomeUnknown, "the primary at %s did not answer; the write may or may not have been executed", addr)
}

// answered returns the error of an answer that is no success.
func answered(method string, resp *http.Response, body []byte) error {
	var e api.ErrorBody
	if err := json.Unmarshal(body, &e); err != nil || e.Error == nil {
		if method == http.MethodGet {
			return &retryable{fmt.Errorf("unexpected answer of the primary: %s", resp.Status)}
		}
		e.Error = api.Errorf(api.CodeOutcomeUnknown, "unexpected answer of the primary: %s", resp.Status)
	}
	switch e.Error.Code {
	case api.CodeNotPrimary, api.CodeUnavailable:
		return &retryable{e.Error}
	default:
		return e.Error
	}
}

// FormatVersion writes a version as [api.HeaderVersion] has it.
func FormatVersion(v partition.Position) string { return fmt.Sprintf("%d.%d", v.Epoch, v.LSN) }

// parseVersion reads the version of an answer, zero when there is none.
func parseVersion(resp *http.Response) (v partition.Position) {
	if _, err := fmt.Sscanf(resp.Header.Get(api.HeaderVersion), "%d.%d", &v.Epoch, &v.LSN); err != nil {
		return partition.Position{}
	}
	return v
}
