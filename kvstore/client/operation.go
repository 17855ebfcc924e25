package client

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

	"github.com/hashicorp/go-retryablehttp"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// maxErrorBytes bounds the body of an answer that is not a success.
const maxErrorBytes = 64 << 10

// repeatFor bounds the time in which a write is sent again under its ID, well
// within that in which the cluster remembers it.
const repeatFor = api.RememberedFor / 2 * time.Millisecond

// operation is one call of the client, over all its attempts. Only the
// goroutine of the call uses it, but for sent.
type operation struct {
	write bool
	// probe asks for attempts only at nodes that answer: writes for their
	// outcome, others to leave silent nodes sooner.
	probe     bool
	want      want
	maxAnswer int
	// id, when set, makes it safe to send a write again.
	id *api.RequestID
	// decode reads the body of a success, if something is wanted of it.
	decode func(body []byte) error
	place  uint64
	addr   string
	// sent is set by the connection's write loop when the header of the
	// current attempt is complete.
	sent atomic.Bool

	verdict verdict
	// unsure is true when an attempt under the ID may have been executed.
	unsure bool
	answer *answer
	// cause is the last of the failures that say the most.
	cause error
	says  weight
}

// weight orders failures by how much they say about the cluster.
type weight int

const (
	timeUp weight = iota
	noAnswer
	answered
)

type operationKey struct{}

func (c *Client) read(ctx context.Context, path string, maxAnswer int) (*answer, error) {
	return c.do(ctx, c.reads, http.MethodGet, path, nil, &operation{want: wantVersion, maxAnswer: maxAnswer})
}

func (c *Client) write(ctx context.Context, method, path string, body []byte, op *operation) (*answer, error) {
	op.write, op.probe = true, true
	return c.do(ctx, c.writes, method, path, body, op)
}

func (c *Client) do(ctx context.Context, r retrier, method, path string, body []byte, op *operation) (*answer, error) {
	timeout := c.timeout
	if op.id != nil {
		timeout = min(timeout, repeatFor)
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	op.verdict = again
	op.place, op.addr = c.endpoints.pick()
	ctx = context.WithValue(op.trace(ctx), operationKey{}, op)

	var raw any
	if len(body) > 0 {
		raw = body
	}
	req, err := retryablehttp.NewRequestWithContext(ctx, method, "http://"+op.addr+path, raw)
	if err != nil {
		return nil, err
	}
	if op.id != nil {
		req.Header.Set(api.HeaderClient, op.id.Client)
		req.Header.Set(api.HeaderSeq, strconv.FormatUint(op.id.Seq, 10))
	}
	if _, err := r.Do(req); err != nil && op.cause == nil {
		op.cause = err
	}
	return op.result(ctx)
}

// result puts the last verdict into words.
func (op *operation) result(ctx context.Context) (*answer, error) {
	switch op.verdict {
	case succeeded:
		return op.answer, nil
	case refused:
		return nil, op.cause
	case again:
		if !op.unsure {
			return nil, op.gaveUp(ctx)
		}
		fallthrough
	default:
		if errors.Is(op.cause, api.ErrOutcomeUnknown) {
			return nil, op.cause
		}
		return nil, fmt.Errorf("%w: %w", api.ErrOutcomeUnknown, op.cause)
	}
}

// gaveUp is the error of an operation that had no effect in time.
func (op *operation) gaveUp(ctx context.Context) error {
	reason := api.Errorf(api.CodeUnavailable, "not executed, no node could serve it in time")
	ending := ctx.Err()
	switch {
	case ending == nil:
		ending = context.DeadlineExceeded // it is too near for another attempt
	case errors.Is(ending, context.Canceled):
		reason = api.Errorf(api.CodeUnavailable, "not executed, interrupted before a node could serve it")
	}
	return because{fmt.Errorf("%w: %w", reason, op.cause), ending}
}

// trace returns a context that watches whether an attempt is sent. The
// transport connects anew by itself only when it has written nothing, or for
// a read.
func (op *operation) trace(ctx context.Context) context.Context {
	return httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		GetConn:      func(string) { op.sent.Store(false) },
		WroteHeaders: func() { op.sent.Store(true) },
	})
}

// settle judges the attempt that has just ended.
func (op *operation) settle(resp *http.Response, err error) {
	a := attempt{write: op.write, want: op.want}
	if err == nil {
		a.answer, err = op.receive(resp)
	}
	a.sent, a.err = op.sent.Load(), err
	op.answer = a.answer
	op.verdict, err = a.judge()
	if op.verdict == unknown && op.id != nil {
		op.verdict, op.unsure = again, true
	}
	if err != nil {
		op.blame(a, err)
	}
}

// blame makes err the cause of the operation's failure, unless the operation
// goes on and an earlier failure said more.
func (op *operation) blame(a attempt, err error) {
	says := noAnswer
	switch {
	case a.answer != nil:
		says = answered
	case isContextError(err):
		says = timeUp
	}
	if op.verdict == again && op.cause != nil && says < op.says {
		return
	}
	op.says = says
	if op.verdict == refused && a.answer.apiErr != nil {
		op.cause = err
		return
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	switch {
	case errors.Is(err, context.Canceled):
		err = because{errors.New("interrupted before it answered"), err}
	case errors.Is(err, context.DeadlineExceeded):
		err = because{errors.New("no answer in time"), err}
	}
	op.cause = fmt.Errorf("%s: %w", op.addr, err)
}

// because is an error with a further cause, for programs, that its text leaves
// out.
type because struct {
	error
	cause error
}

func (b because) Unwrap() []error { return []error{b.error, b.cause} }

func isContextError(err error) bool {
	return errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// receive reads the whole answer, because one that breaks off is none, and
// closes its body.
func (op *operation) receive(resp *http.Response) (*answer, error) {
	defer resp.Body.Close()
	limit := op.maxAnswer
	if resp.StatusCode != http.StatusOK {
		limit = maxErrorBytes
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, int64(limit)+1))
	if err != nil {
		return nil, fmt.Errorf("read the answer: %w", err)
	}
	resp.Body = io.NopCloser(bytes.NewReader(nil))
	if len(body) > limit {
		return nil, fmt.Errorf("the answer is longer than %d bytes", limit)
	}
	a := &answer{status: resp.StatusCode, version: resp.Header.Get(api.HeaderVersion), body: body}
	if ms, err := strconv.ParseInt(resp.Header.Get(api.HeaderTTL), 10, 64); err == nil {
		a.ttl = time.Duration(ms) * time.Millisecond
	}
	switch {
	case resp.StatusCode >= http.StatusBadRequest:
		a.apiErr = decodeError(body)
	case resp.StatusCode == http.StatusOK && op.decode != nil:
		if err := op.decode(body); err != nil {
			return nil, fmt.Errorf("the answer is not what was asked for: %w", err)
		}
	}
	return a, nil
}

// decodeError returns the error in a body, nil if the body is not of that
// form.
func decodeError(body []byte) *api.Error {
	var b api.ErrorBody
	if err := json.Unmarshal(body, &b); err == nil && b.Error != nil && b.Error.Code != "" {
		return b.Error
	}
	return nil
}
