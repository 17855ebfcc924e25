// Package httpapi serves the key-value API of package api over HTTP.
package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gorilla/mux"

	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

const (
	// bodyTimeout is how long a client may take to send a value.
	bodyTimeout = 10 * time.Second
	// answerTimeout is how long a request may take altogether, the client's
	// slowness in taking the answer included.
	answerTimeout = 30 * time.Second
	// answerMargin is how long before the end of a client's patience it is
	// answered, at most.
	answerMargin = 200 * time.Millisecond
	// maxDrained is how much of a body that is too large is read and thrown
	// away before the connection is closed on it.
	maxDrained = 8 << 20
)

// Store executes requests; a [kvstore.Router] is one.
type Store interface {
	Get(ctx context.Context, req kvstore.Request) (kvstore.Value, error)
	MGet(ctx context.Context, req kvstore.Request, keys [][]byte) ([]api.Result, error)
	Execute(ctx context.Context, req kvstore.Request, b api.Batch) ([]api.Result, error)
	Scan(ctx context.Context, req kvstore.ScanRequest) (api.ScanAnswer, error)
}

// Register adds the routes of package api. The router must have
// UseEncodedPath and SkipClean set, since any bytes are a key.
func Register(r *mux.Router, store Store) {
	s := server{store}
	kv := r.PathPrefix(api.PathKV).Subrouter()
	kv.Use(limitTime, heedClient)
	kv.Methods(http.MethodGet, http.MethodHead).HandlerFunc(s.get)
	kv.Methods(http.MethodPut).HandlerFunc(s.put)
	kv.Methods(http.MethodDelete).HandlerFunc(s.delete)
	kv.Methods(http.MethodPost).HandlerFunc(s.operate)
	kv.NewRoute().HandlerFunc(notAllowed("GET, HEAD, PUT, POST, DELETE"))
	for _, on := range []struct {
		path, method string
		handle       http.HandlerFunc
	}{
		{api.PathBatch, http.MethodPost, s.batch},
		{api.PathMGet, http.MethodPost, s.mget},
		{api.PathScan, http.MethodGet, s.scan},
	} {
		sub := r.Path(on.path).Subrouter()
		sub.Use(limitTime, heedClient)
		sub.Methods(on.method).HandlerFunc(on.handle)
		sub.NewRoute().HandlerFunc(notAllowed(on.method))
	}
}

// RegisterUnknown answers what no route before it has taken below /v1/, rather
// than to leave it to the control plane, which knows none of these endpoints.
func RegisterUnknown(r *mux.Router) {
	r.PathPrefix("/v1/").HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fail(w, api.Errorf(api.CodeNotFound, "%s: there is no such endpoint: those for keys are %sKEY, %s, %s and %s", r.URL.Path, api.PathKV, api.PathBatch, api.PathMGet, api.PathScan))
	})
}

// notAllowed answers a method that the path does not have.
func notAllowed(allowed string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allowed)
		writeError(w, http.StatusMethodNotAllowed, api.Errorf(api.CodeBadRequest, "method %s is not allowed here; use %s", r.Method, allowed))
	}
}

type server struct{ store Store }

// limitTime sets the deadline of the answer.
func limitTime(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := http.NewResponseController(w).SetWriteDeadline(time.Now().Add(answerTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return // the connection has gone
		}
		next.ServeHTTP(w, r)
	})
}

// heedClient gives up on a request before the client does, so that it learns
// what happened: without that, an end of its patience reads as an unknown
// outcome.
func heedClient(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ms, err := milliseconds(r.Header, api.HeaderTimeout)
		if err != nil {
			fail(w, err)
			return
		}
		if ms == 0 {
			next.ServeHTTP(w, r)
			return
		}
		patience := time.Duration(ms) * time.Millisecond
		ctx, cancel := context.WithTimeout(r.Context(), patience-min(patience/8, answerMargin))
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}

func (s server) get(w http.ResponseWriter, r *http.Request) {
	req, ok := request(w, r)
	if !ok {
		return
	}
	v, err := s.store.Get(r.Context(), req)
	if err != nil {
		fail(w, err)
		return
	}
	setVersion(w, kvstore.FormatVersion(v.Version))
	if v.TTL != 0 {
		w.Header().Set(api.HeaderTTL, strconv.FormatInt(v.TTL, 10))
	}
	w.Header().Set("Content-Type", "application/octet-stream")
	w.Header().Set("Content-Length", strconv.Itoa(len(v.Data)))
	_, _ = w.Write(v.Data) // a client that has gone needs no answer
}

// request reads the key from the path as it was sent.
func request(w http.ResponseWriter, r *http.Request) (kvstore.Request, bool) {
	key, err := url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), api.PathKV))
	if err != nil {
		fail(w, api.Errorf(api.CodeBadRequest, "key: %v; percent-encode the key", err))
		return kvstore.Request{}, false
	}
	return kvstore.Request{Key: []byte(key), NoForward: r.Header.Get(api.HeaderNoForward) != ""}, true
}

// readValue reads the body, refusing one that is too large before it is in
// memory.
func readValue(w http.ResponseWriter, r *http.Request) ([]byte, error) {
	tooLarge := api.Errorf(api.CodeTooLarge, "value: more than %d bytes", api.MaxValueBytes).With("limit", strconv.Itoa(api.MaxValueBytes))
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTimeout)); err == nil {
		// Afterwards the server reads on, to see a client that goes away.
		defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	}
	if r.ContentLength > api.MaxValueBytes {
		// Most clients look at the answer only when they have sent the body.
		_, _ = io.CopyN(io.Discard, r.Body, maxDrained)
		return nil, tooLarge
	}
	body := http.MaxBytesReader(w, r.Body, api.MaxValueBytes)
	if r.ContentLength >= 0 {
		value := make([]byte, r.ContentLength)
		if _, err := io.ReadFull(body, value); err != nil {
			return nil, api.Errorf(api.CodeBadRequest, "value: the body ended early: %v", err)
		}
		return value, nil
	}
	value, err := io.ReadAll(body)
	if limit := (*http.MaxBytesError)(nil); errors.As(err, &limit) {
		return nil, tooLarge
	} else if err != nil {
		return nil, api.Errorf(api.CodeBadRequest, "value: the body ended early: %v", err)
	}
	return value, nil
}
