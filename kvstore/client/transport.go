package client

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

const (
	pathLive = "/livez"
	// probeTimeout bounds the question whether a node answers, beside a
	// quarter of what is left of the operation.
	probeTimeout = 500 * time.Millisecond
)

// transport carries the attempts of all operations. It sends a write only to
// a node that has answered lately: the kernel of a node whose process hangs
// still takes the connection and the request, and the outcome of a write that
// is waiting there is unknown.
type transport struct {
	http *http.Transport
	ring *endpoints
}

// newTransport returns the one transport that writes may pass through: the
// proof that a request was not sent rests on its connection hooks, and that
// it is sent once rests on HTTP/1 without proxy. This is why [Config] takes
// no http.Client.
func newTransport(dialTimeout time.Duration, ring *endpoints) *transport {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &transport{ring: ring, http: &http.Transport{
		DialContext:         (&net.Dialer{Timeout: dialTimeout}).DialContext,
		Protocols:           protocols,
		DisableCompression:  true,
		MaxIdleConnsPerHost: idleConns,
		IdleConnTimeout:     idleConnTimeout,
	}}
}

// CloseIdleConnections is what [http.Client.CloseIdleConnections] looks for.
func (t *transport) CloseIdleConnections() { t.http.CloseIdleConnections() }

// RoundTrip implements [http.RoundTripper] for the requests of operations.
func (t *transport) RoundTrip(req *http.Request) (*http.Response, error) {
	op := operationOf(req.Context())
	place := op.place
	if op.probe && !t.ring.answeredLately(place) {
		if err := t.probe(req.Context(), req.URL.Host); err != nil {
			if req.Body != nil {
				_ = req.Body.Close()
			}
			return nil, err
		}
		t.ring.answered(place)
	}
	resp, err := t.http.RoundTrip(withTimeLeft(req))
	if err != nil {
		t.ring.silent(place)
		return nil, err
	}
	t.ring.answered(place)
	if resp.Close && t.ring.size() > 1 {
		// A node that is about to stop closes its connections.
		t.ring.failed(place)
	}
	return resp, nil
}

// withTimeLeft returns req with a header that says how long it will wait.
func withTimeLeft(req *http.Request) *http.Request {
	deadline, ok := req.Context().Deadline()
	if !ok {
		return req
	}
	timed := *req
	timed.Header = req.Header.Clone()
	timed.Header.Set(api.HeaderTimeout, strconv.FormatInt(max(1, time.Until(deadline).Milliseconds()), 10))
	return &timed
}

// probe returns nil if the node answers, whatever it says. The connection is
// kept for the write that follows.
func (t *transport) probe(ctx context.Context, addr string) error {
	bound := probeTimeout
	if deadline, ok := ctx.Deadline(); ok {
		bound = min(bound, time.Until(deadline)/4)
	}
	probing, cancel := context.WithTimeout(untraced{ctx}, bound)
	defer cancel()
	req, err := http.NewRequestWithContext(probing, http.MethodGet, "http://"+addr+pathLive, http.NoBody)
	if err != nil {
		return err
	}
	resp, err := t.http.RoundTrip(req)
	switch {
	case err == nil:
		_, _ = io.Copy(io.Discard, io.LimitReader(resp.Body, maxErrorBytes))
		return resp.Body.Close()
	case ctx.Err() == nil && probing.Err() != nil:
		return fmt.Errorf("no answer to %s %s within %v", req.Method, pathLive, bound.Round(time.Millisecond))
	default:
		return err
	}
}

// untraced hides the values of a context, so that a probe is not taken for
// the attempt that it precedes.
type untraced struct{ context.Context }

func (untraced) Value(any) any { return nil }
