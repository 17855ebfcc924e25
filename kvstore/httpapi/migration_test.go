package httpapi_test

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/gorilla/mux"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/httpapi"
)

// fakeMigrations has one copy, and notes how the throttle was changed.
type fakeMigrations struct {
	change api.Throttle
	reset  bool
	err    error
}

func (f *fakeMigrations) Migrations() api.Migrations {
	return api.Migrations{Node: "n1", Migrations: []api.Migration{{Partition: "partition-3", Phase: "waiting"}}, Giving: []api.Giving{}}
}

func (f *fakeMigrations) Throttle(_ context.Context, change api.Throttle) error {
	f.change = change
	return f.err
}

func (f *fakeMigrations) ResetThrottle(context.Context) error {
	f.reset = true
	return f.err
}

func TestMigrations(t *testing.T) {
	for _, tc := range []struct {
		method, path, body string
		header             http.Header
		err                error
		status             int
		answer             string
	}{
		{method: "GET", path: api.PathMigrations, status: 200, answer: `"phase":"waiting"`},
		{method: "POST", path: api.PathMigrations, status: 405, answer: "use GET"},
		{method: "PUT", path: api.PathThrottle, body: `{"bytes_per_second":1048576}`, status: 204},
		{method: "PUT", path: api.PathThrottle, body: `{"bytes_per_second":1}`, status: 400, answer: "bytes_per_second is 1: give 65536"},
		{method: "PUT", path: api.PathThrottle, body: `{"rate":1}`, status: 400, answer: "rate"},
		{method: "PUT", path: api.PathThrottle, body: strings.Repeat(" ", 5000), status: 413, answer: "4096"},
		{method: "PUT", path: api.PathThrottle, body: `{}`, err: api.ErrUnavailable, status: 503, answer: "unavailable"},
		{method: "PUT", path: api.PathThrottle, body: `{}`, err: api.ErrOutcomeUnknown, status: 504, answer: "outcome_unknown"},
		{method: "PUT", path: api.PathThrottle, body: `{}`, header: http.Header{"Sec-Fetch-Site": {"cross-site"}}, status: 403, answer: "another site"},
		{method: "DELETE", path: api.PathThrottle, status: 204},
		{method: "GET", path: api.PathThrottle, status: 405, answer: "use PUT, DELETE"},
	} {
		t.Run(tc.method+" "+tc.path+" "+tc.answer, func(t *testing.T) {
			of := &fakeMigrations{err: tc.err}
			r := mux.NewRouter()
			httpapi.RegisterMigrations(r, of)
			req := httptest.NewRequestWithContext(t.Context(), tc.method, tc.path, strings.NewReader(tc.body))
			maps.Copy(req.Header, tc.header)
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			body := w.Body.String()
			if w.Code != tc.status || !strings.Contains(body, tc.answer) {
				t.Errorf("answered %d %s, want %d %s", w.Code, body, tc.status, tc.answer)
			}
			if tc.status >= 400 && !json.Valid([]byte(body)) {
				t.Errorf("the error is %q", body)
			}
			changed := of.reset || of.change != api.Throttle{}
			if changed != (tc.status == 204) {
				t.Errorf("changed: %v", changed)
			}
		})
	}
}
