package httpapi

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// patientStore tells how long it may take.
type patientStore struct {
	Store
	patience time.Duration
	bounded  bool
}

func (s *patientStore) Execute(ctx context.Context, _ kvstore.Request, _ api.Batch) ([]api.Result, error) {
	var end time.Time
	if end, s.bounded = ctx.Deadline(); s.bounded {
		s.patience = time.Until(end)
	}
	return []api.Result{{}}, nil
}

// A request ends before the client's patience does.
func TestClientsPatience(t *testing.T) {
	for _, tc := range []struct {
		header  string
		status  int
		bounded bool
		atMost  time.Duration
	}{
		{"", http.StatusNoContent, false, 0},
		{"800", http.StatusNoContent, true, 700 * time.Millisecond},
		{"60000", http.StatusNoContent, true, 59800 * time.Millisecond},
		{"0", http.StatusBadRequest, false, 0},
		{"-5", http.StatusBadRequest, false, 0},
		{"soon", http.StatusBadRequest, false, 0},
		{"99999999999999999999", http.StatusBadRequest, false, 0},
	} {
		t.Run(tc.header, func(t *testing.T) {
			store := &patientStore{}
			r := mux.NewRouter().UseEncodedPath().SkipClean(true)
			Register(r, store)
			req := httptest.NewRequest(http.MethodDelete, api.PathKV+"k", nil)
			if tc.header != "" {
				req.Header.Set(api.HeaderTimeout, tc.header)
			}
			w := httptest.NewRecorder()
			r.ServeHTTP(w, req)
			if w.Code != tc.status || store.bounded != tc.bounded || store.patience > tc.atMost {
				t.Errorf("status %d, bounded %v by %v; want %d, %v by at most %v", w.Code, store.bounded, store.patience, tc.status, tc.bounded, tc.atMost)
			}
		})
	}
}
