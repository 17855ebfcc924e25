package client

import (
	"errors"
	"net/http"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// An attempt that begins just before the deadline could only make a certain
// outcome unknown.
func TestNoLateAttemptOfWrite(t *testing.T) {
	refusing, requests := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { fail(w, api.CodeUnavailable) })
	c := newClientWith(t, Config{Endpoints: []string{refusing}, Timeout: minWriteTime})
	if err := c.Delete(t.Context(), "k"); !errors.Is(err, api.ErrUnavailable) || requests.Load() > 1 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
	c = newClientWith(t, Config{Endpoints: []string{refusing}, Timeout: 2 * time.Second})
	requests.Store(0)
	if err := c.Delete(t.Context(), "k"); !errors.Is(err, api.ErrUnavailable) || requests.Load() < 2 {
		t.Errorf("%v after %d requests", err, requests.Load())
	}
}
