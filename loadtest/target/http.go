package target

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

const (
	dialTimeout = time.Second
	// shunned is how long a node is left out that did not take a connection.
	shunned       = 500 * time.Millisecond
	maxAnswer     = 8 << 20
	idleFor       = 15 * time.Second
	idleUnlimited = 1 << 16
)

// httpTarget is the store as any HTTP client sees it.
type httpTarget struct {
	nodes     []*httpNode
	next      atomic.Uint64
	timeout   time.Duration
	transport *http.Transport
}

type httpNode struct {
	addr string
	// back is when the node is to be tried again, in nanoseconds of Unix time.
	back atomic.Int64
}

func newHTTP(o Options) *httpTarget {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	t := &httpTarget{timeout: o.Timeout, transport: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		Protocols:           protocols,
		DisableCompression:  true,
		MaxIdleConnsPerHost: idleUnlimited,
		IdleConnTimeout:     idleFor,
	}}
	for _, addr := range o.Endpoints {
		t.nodes = append(t.nodes, &httpNode{addr: addr})
	}
	return t
}

func (t *httpTarget) Supports(k Kind) bool { return k != Scan }

func (t *httpTarget) Close() error {
	t.transport.CloseIdleConnections()
	return nil
}

func (t *httpTarget) Do(ctx context.Context, op Op) (Result, error) {
	ctx, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	if op.Kind == ScanPrefix {
		return t.scan(ctx, op)
	}
	request, err := requestOf(op)
	if err != nil {
		return Result{}, err
	}
	answer, err := t.send(ctx, request)
	if err == nil {
		return answer.result(op)
	}
	if op.Kind.IsRead() {
		err = failed(err)
	}
	return Result{}, err
}

// httpRequest is an operation in HTTP.
type httpRequest struct {
	method, path string
	header       http.Header
	body         []byte
}

func requestOf(op Op) (httpRequest, error) {
	r := httpRequest{method: http.MethodGet, path: api.PathKV + url.PathEscape(op.Key)}
	var (
		body any
		err  error
	)
	switch op.Kind {
	case Get:
	case Set, Create, CompareAndSet:
		r.method, r.body = http.MethodPut, op.Value
		switch op.Kind {
		case Create:
			r.header = http.Header{"If-None-Match": {"*"}}
		case CompareAndSet:
			r.header = http.Header{"If-Match": {`"` + op.Version + `"`}}
		}
	case Delete:
		r.method = http.MethodDelete
	case Increment:
		r.method = http.MethodPost
		r.path += fmt.Sprintf("?%s=%s&%s=%d", api.QueryOp, api.OpIncrement, api.QueryDelta, op.Delta)
	case Append:
		r.method, r.body = http.MethodPost, op.Value
		r.path += fmt.Sprintf("?%s=%s", api.QueryOp, api.OpAppend)
	case MGet:
		keys := api.Keys{Keys: make([][]byte, len(op.Ops))}
		for i, o := range op.Ops {
			keys.Keys[i] = []byte(o.Key)
		}
		r.method, r.path, body = http.MethodPost, api.PathMGet, keys
	case Batch:
		r.method, r.path = http.MethodPost, api.PathBatch
		b := api.Batch{}
		b.Commands, err = commandsOf(op.Ops)
		body = b
	default:
		err = unsupported(op.Kind)
	}
	if err == nil && body != nil {
		r.body, err = json.Marshal(body)
	}
	return r, err
}

// httpAnswer is a whole answer.
type httpAnswer struct {
	status  int
	version string
	body    []byte
}

// send sends a request to one node. Only when that does not take the connection
// does the next one get it.
func (t *httpTarget) send(ctx context.Context, r httpRequest) (httpAnswer, error) {
	var err error
	for range t.nodes {
		n := t.node()
		var (
			answer httpAnswer
			sent   bool
		)
		answer, sent, err = t.sendTo(ctx, n, r)
		if err == nil {
			return answer, nil
		}
		n.back.Store(time.Now().Add(shunned).UnixNano())
		if sent {
			return answer, err
		}
		err = failed(err)
		if ctx.Err() != nil {
			break
		}
	}
	return httpAnswer{}, err
}

// node returns the next node that has not failed lately, or else simply the
// next one.
func (t *httpTarget) node() *httpNode {
	first := t.next.Add(1)
	now := time.Now().UnixNano()
	for i := range t.nodes {
		n := t.nodes[(first+uint64(i))%uint64(len(t.nodes))]
		if n.back.Load() <= now {
			return n
		}
	}
	return t.nodes[first%uint64(len(t.nodes))]
}

// sendTo reports in sent whether the request may have left this machine. The
// transport repeats nothing but reads.
func (t *httpTarget) sendTo(ctx context.Context, n *httpNode, r httpRequest) (a httpAnswer, sent bool, err error) {
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent = true }})
	var body io.Reader = http.NoBody
	if len(r.body) > 0 {
		body = bytes.NewReader(r.body)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, "http://"+n.addr+r.path, body)
	if err != nil {
		return a, false, err
	}
	maps.Copy(req.Header, r.header)
	if deadline, ok := ctx.Deadline(); ok {
		req.Header.Set(api.HeaderTimeout, strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10))
	}
	resp, err := t.transport.RoundTrip(req)
	if err != nil {
		return a, sent, fmt.Errorf("%s: %w", n.addr, err)
	}
	defer resp.Body.Close()
	a = httpAnswer{status: resp.StatusCode, version: resp.Header.Get(api.HeaderVersion)}
	if a.body, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer+1)); err == nil && len(a.body) > maxAnswer {
		err = fmt.Errorf("the answer is longer than %d bytes", maxAnswer)
	}
	if err != nil {
		return a, true, fmt.Errorf("%s: read the answer: %w", n.addr, err)
	}
	return a, true, nil
}

// result reads the answer to an operation.
func (a httpAnswer) result(op Op) (Result, error) {
	switch {
	case a.status == http.StatusNoContent && (op.Kind == Set || op.Kind == Delete):
		return Result{Version: a.version}, nil
	case a.status == http.StatusNoContent && (op.Kind == Create || op.Kind == CompareAndSet):
		return Result{Met: true, Version: a.version}, nil
	case a.status == http.StatusOK && op.Kind == Get:
		return Result{Found: true, Value: a.body, Version: a.version}, nil
	case a.status == http.StatusOK && (op.Kind == Increment || op.Kind == Append):
		var r api.Result
		if err := json.Unmarshal(a.body, &r); err != nil {
			return Result{}, fmt.Errorf("the answer is not a result: %w", err)
		}
		return resultOf(op, r), nil
	case a.status == http.StatusOK && (op.Kind == MGet || op.Kind == Batch):
		var r api.BatchAnswer
		if err := json.Unmarshal(a.body, &r); err != nil {
			return Result{}, fmt.Errorf("the answer is not a list of results: %w", err)
		}
		if len(r.Results) != len(op.Ops) {
			return Result{}, fmt.Errorf("%d results for %d operations", len(r.Results), len(op.Ops))
		}
		return Result{Results: resultsOf(op.Ops, r.Results)}, nil
	}
	var e api.ErrorBody
	err := fmt.Errorf("HTTP %d: %.200q", a.status, a.body)
	if json.Unmarshal(a.body, &e) == nil && e.Error != nil {
		err = fmt.Errorf("HTTP %d: %w", a.status, e.Error)
		switch {
		case e.Error.Code == api.CodeNotFound && op.Kind == Get:
			return Result{}, nil
		case e.Error.Code == api.CodeConditionFailed:
			return Result{}, nil
		}
	}
	if op.Kind.IsRead() || client.IsCertain(err) {
		err = failed(err)
	}
	return Result{}, err
}
