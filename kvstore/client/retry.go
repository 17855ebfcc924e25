package client

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"

	"github.com/hashicorp/go-retryablehttp"
)

const (
	minBackoff = 10 * time.Millisecond
	maxBackoff = 250 * time.Millisecond

	// minWriteTime is what must be left of a write for another attempt. One
	// that is sent and not answered in time would make a certain outcome
	// unknown.
	minWriteTime = 50 * time.Millisecond
)

var errNoTimeLeft = errors.New("no time is left for another attempt")

// retrier repeats a request, rotating over the endpoints, for as long as the
// verdict on it is again and its context lives.
type retrier = *retryablehttp.Client

// newRetrier returns a retrier whose attempts last perAttempt at most, 0
// meaning as long as the request's context.
//
// The library repeats any method on connection errors and on 5xx answers by
// default; for a write that is a lost update, so [operation] decides instead.
// Redirects are not followed, because 307 and 308 would send a write again.
func newRetrier(transport http.RoundTripper, perAttempt time.Duration, ring *endpoints, logger *slog.Logger) retrier {
	return &retryablehttp.Client{
		HTTPClient: &http.Client{
			Transport: transport,
			Timeout:   perAttempt,
			CheckRedirect: func(*http.Request, []*http.Request) error {
				return http.ErrUseLastResponse
			},
		},
		RetryMax: math.MaxInt,
		CheckRetry: func(ctx context.Context, resp *http.Response, err error) (bool, error) {
			op := operationOf(ctx)
			op.settle(resp, err)
			if op.verdict == again || op.verdict == unknown {
				ring.failed(op.place)
			}
			return op.verdict == again && ctx.Err() == nil, nil
		},
		PrepareRetry: func(req *http.Request) error {
			op := operationOf(req.Context())
			if deadline, ok := req.Context().Deadline(); ok && op.write && time.Until(deadline) < minWriteTime {
				return errNoTimeLeft
			}
			logger.Debug("retrying", "method", req.Method, "endpoint", op.addr, "cause", op.cause)
			op.place, op.addr = ring.pick()
			op.sent.Store(false)
			retarget(req, op.addr)
			return nil
		},
		Backoff: func(_, _ time.Duration, attempt int, _ *http.Response) time.Duration {
			return backoff(attempt/ring.size(), rand.Float64())
		},
	}
}

// operationOf returns the operation that a request belongs to.
func operationOf(ctx context.Context) *operation {
	return ctx.Value(operationKey{}).(*operation)
}

// retarget points a request at another node. The URL is replaced, not
// changed: an earlier attempt may still be reading it.
func retarget(req *http.Request, addr string) {
	u := new(url.URL)
	*u = *req.URL
	u.Host = addr
	req.URL, req.Host = u, addr
}

// backoff returns how long to wait after the given round over all endpoints,
// doubling each time up to maxBackoff. jitter, in [0,1), spreads the result
// over its upper half, so that clients that failed together come back apart.
func backoff(round int, jitter float64) time.Duration {
	d := maxBackoff
	if round < 16 {
		d = min(d, minBackoff<<round)
	}
	return d/2 + time.Duration(jitter*float64(d/2))
}
