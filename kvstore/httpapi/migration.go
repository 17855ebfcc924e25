package httpapi

import (
	"context"
	"io"
	"net/http"
	"time"

	"github.com/gorilla/mux"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/migration"
)

// maxThrottleBytes bounds the body of a change of the throttle.
const maxThrottleBytes = 4 << 10

// Migrations are the copies that a node makes; a [kvstore.Node] has them.
type Migrations interface {
	Migrations() api.Migrations
	Throttle(ctx context.Context, change api.Throttle) error
	ResetThrottle(ctx context.Context) error
}

// RegisterMigrations adds the routes of [api.PathMigrations].
func RegisterMigrations(r *mux.Router, of Migrations) {
	m := migrations{of}
	list := r.Path(api.PathMigrations).Subrouter()
	list.Use(limitTime)
	list.Methods(http.MethodGet, http.MethodHead).HandlerFunc(m.list)
	list.NewRoute().HandlerFunc(notAllowed("GET, HEAD"))
	throttle := r.Path(api.PathThrottle).Subrouter()
	throttle.Use(limitTime, sameOrigin)
	throttle.Methods(http.MethodPut).HandlerFunc(m.throttle)
	throttle.Methods(http.MethodDelete).HandlerFunc(m.reset)
	throttle.NewRoute().HandlerFunc(notAllowed("PUT, DELETE"))
}

type migrations struct{ of Migrations }

// sameOrigin refuses what a browser sends for a page of another site, as the
// control plane does.
func sameOrigin(next http.Handler) http.Handler {
	protection := http.NewCrossOriginProtection()
	protection.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		fail(w, api.Errorf(api.CodeForbidden, "a browser sent this for a page of another site"))
	}))
	return protection.Handler(next)
}

func (m migrations) list(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, m.of.Migrations())
}

func (m migrations) throttle(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTimeout)); err == nil {
		defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxThrottleBytes))
	if err != nil {
		fail(w, api.Errorf(api.CodeTooLarge, "the body has more than %d bytes, or ended early: %v", maxThrottleBytes, err))
		return
	}
	change, err := migration.Decode(body)
	if err != nil {
		fail(w, api.Errorf(api.CodeBadRequest, "%v", err))
		return
	}
	answerEmpty(w, m.of.Throttle(r.Context(), change))
}

func (m migrations) reset(w http.ResponseWriter, r *http.Request) {
	answerEmpty(w, m.of.ResetThrottle(r.Context()))
}

// answerEmpty answers a change.
func answerEmpty(w http.ResponseWriter, err error) {
	if err != nil {
		fail(w, err)
		return
	}
	w.WriteHeader(http.StatusNoContent)
}
