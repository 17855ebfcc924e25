package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

const (
	maxValue = 1 << 20
	// patience bounds a request of a client.
	patience = 5 * time.Second
	// forwarded marks a request that comes from another node.
	forwarded = "Cache-Forwarded"
)

func (c *cache) routes() http.Handler {
	mux := http.NewServeMux()
	for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
		mux.HandleFunc(method+" /cache/{key}", c.serveKey)
	}
	mux.HandleFunc("POST /replica", serveNode(c, c.take))
	mux.HandleFunc("POST /copy", serveNode(c, c.give))
	mux.Handle("/", c.ck.Handler())
	return mux
}

// serveKey reads, writes or deletes a value, or has the primary do that.
func (c *cache) serveKey(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	key := r.PathValue("key")
	p, err := c.ck.GetPartition(key)
	if err != nil {
		fail(w, errRefused)
		return
	}
	if primary := c.ck.GetPrimary(p); primary != nil && primary.ID != c.ck.GetMyNodeID() && r.Header.Get(forwarded) == "" {
		r.Header.Set(forwarded, c.ck.GetMyNodeID())
		proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: primary.IP})
		proxy.Transport = c.transport
		proxy.ErrorHandler = func(w http.ResponseWriter, r *http.Request, err error) {
			if dial, ok := errors.AsType[*net.OpError](err); ok && dial.Op == "dial" || r.Method == http.MethodGet {
				fail(w, errRefused)
			} else {
				fail(w, errUnknown)
			}
		}
		proxy.ServeHTTP(w, r.WithContext(ctx))
		return
	}
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxValue))
	if err != nil {
		http.Error(w, err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	switch r.Method {
	case http.MethodGet:
		data, err = c.read(ctx, p.Index, key)
	case http.MethodPut:
		err = c.write(ctx, p.Index, key, data)
	case http.MethodDelete:
		err = c.write(ctx, p.Index, key, nil)
	}
	switch {
	case err != nil:
		fail(w, err)
	case r.Method != http.MethodGet:
		w.WriteHeader(http.StatusNoContent)
	case data == nil:
		http.NotFound(w, r)
	default:
		_, _ = w.Write(data) // to a client that may be gone
	}
}

// fail says whether anything may have been changed.
func fail(w http.ResponseWriter, err error) {
	status := http.StatusServiceUnavailable
	if errors.Is(err, errUnknown) {
		status = http.StatusGatewayTimeout
	}
	http.Error(w, err.Error(), status)
}

// serveNode answers another node.
func serveNode[T any](c *cache, do func(T) (any, bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		var body T
		if c.ck.Map() != nil && json.NewDecoder(r.Body).Decode(&body) == nil {
			if answer, ok := do(body); ok {
				_ = json.NewEncoder(w).Encode(answer) // to a node that may be gone
				return
			}
		}
		http.Error(w, "no such epoch, primary or copy here", http.StatusConflict)
	}
}

// call has another node do something.
func (c *cache) call(ctx context.Context, to *clusterkit.Node, path string, body, answer any) error {
	content, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+to.IP+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Transport: c.transport}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s%s: %s", to.ID, path, resp.Status)
	}
	return json.NewDecoder(resp.Body).Decode(answer)
}
