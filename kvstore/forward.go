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
	"strings"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

const (
	// forwardTimeout covers the patience of the other node and a little more.
	forwardTimeout = routePatience + commitPatience + 2*time.Second
	// readTimeout is how long a read waits for one node; it may be tried again
	// with whoever the map names then.
	readTimeout = time.Second
	// maxForwarded bounds an answer: that to a batch, in JSON.
	maxForwarded = 8 << 20
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
	body, header, err := f.do(ctx, http.MethodGet, addr, api.PathKV+url.PathEscape(string(key)), nil)
	ttl, _ := strconv.ParseInt(header.Get(api.HeaderTTL), 10, 64) // without it the value stays for ever
	return Value{Data: body, Version: parseVersion(header.Get(api.HeaderVersion)), TTL: ttl}, err
}

func (f *forwarder) execute(ctx context.Context, addr string, b api.Batch) ([]api.Result, error) {
	request, err := json.Marshal(b)
	if err != nil {
		return nil, &retryable{err}
	}
	body, _, err := f.do(ctx, http.MethodPost, addr, api.PathBatch, request)
	if err != nil {
		return nil, err
	}
	var answer api.BatchAnswer
	if err := json.Unmarshal(body, &answer); err != nil || len(answer.Results) != len(b.Commands) {
		return nil, api.Errorf(api.CodeOutcomeUnknown, "the primary at %s answered something that cannot be understood", addr)
	}
	return answer.Results, nil
}

// scan asks for a page of a scan, which begins or goes on at the cursor.
func (f *forwarder) scan(ctx context.Context, addr string, req ScanRequest, c cursor) (answer api.ScanAnswer, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	query := url.Values{api.QueryCursor: {c.encode()}, api.QueryLimit: {strconv.Itoa(req.Limit)}, api.QueryNewer: {strconv.FormatBool(req.Newer)}}
	body, _, err := f.do(ctx, http.MethodGet, addr, api.PathScan+"?"+query.Encode(), nil)
	if err != nil {
		return answer, err
	}
	if err := json.Unmarshal(body, &answer); err != nil {
		return api.ScanAnswer{}, &retryable{fmt.Errorf("unexpected answer of %s: %w", addr, err)}
	}
	return answer, nil
}

// do sends one request, once. A write that may have reached the primary and
// has no answer is of unknown outcome.
func (f *forwarder) do(ctx context.Context, method, addr, path string, request []byte) (body []byte, header http.Header, err error) {
	// The transport repeats a write only if it has written nothing of it: POST
	// without an idempotency key is not replayable to net/http.
	var sent atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { sent.Store(false) },
		WroteHeaders: func() { sent.Store(true) },
	})
	req, err := http.NewRequestWithContext(ctx, method, "http://"+addr+path, bytes.NewReader(request))
	if err != nil {
		return nil, nil, &retryable{err}
	}
	req.Header.Set(api.HeaderNoForward, "1")
	if deadline, ok := ctx.Deadline(); ok {
		req.Header.Set(api.HeaderTimeout, strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10))
	}
	resp, err := f.http.Do(req)
	if err == nil {
		body, err = io.ReadAll(io.LimitReader(resp.Body, maxForwarded))
		err = errors.Join(err, resp.Body.Close())
		if err == nil && resp.StatusCode < 300 {
			return body, resp.Header, nil
		}
		if err == nil {
			return nil, nil, answered(method, resp, body)
		}
	}
	if method == http.MethodGet || !sent.Load() {
		return nil, nil, &retryable{err}
	}
	return nil, nil, api.Errorf(api.CodeOutcomeUnknown, "the primary at %s did not answer; the write may or may not have been executed", addr)
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
func FormatVersion(v partition.Position) string { return command.Position(v).String() }

// parseVersion reads a version, zero when there is none.
func parseVersion(version string) partition.Position {
	epoch, lsn, _ := strings.Cut(version, ".")
	e, errEpoch := strconv.ParseUint(epoch, 10, 64)
	l, errLSN := strconv.ParseUint(lsn, 10, 64)
	if errEpoch != nil || errLSN != nil {
		return partition.Position{}
	}
	return partition.Position{Epoch: e, LSN: l}
}
