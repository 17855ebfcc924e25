package clusterkit

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/gorilla/mux"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Handler returns the HTTP API: the endpoints of DESIGN.md, described by
// openapi.json. It answers from the moment that [NewClusterKit] has returned,
// and may be mounted on the application's own router, at its root. An
// application that does so has its server call [ClusterKit.EndPolls] when it
// shuts down.
//
// Whoever reaches it can change the cluster: it knows no users. It refuses what
// a web browser sends on behalf of a page from elsewhere, and nothing more. An
// application that listens on more than loopback sets ExternalHTTP and wraps
// the handler with a check of its own. Nodes send POST /cluster/join and
// /cluster/announce, without credentials.
func (ck *ClusterKit) Handler() http.Handler { return ck.api.router }

// EndPolls ends the requests that wait for a change of the map, now and from
// now on, so that a server need not wait for them: see
// [http.Server.RegisterOnShutdown].
func (ck *ClusterKit) EndPolls() { ck.api.endPolls() }

// api is the HTTP API of one node.
type api struct {
	ck       *ClusterKit
	router   *mux.Router
	origins  *http.CrossOriginProtection
	requests *requestMetrics
	// changed wakes those who wait for a newer map.
	changed *broadcast
	// polls ends when nobody may wait any more, at the latest with the node.
	polls    context.Context
	endPolls context.CancelFunc
}

func newAPI(ck *ClusterKit) *api {
	a := &api{ck: ck, origins: http.NewCrossOriginProtection(), requests: newRequestMetrics(), changed: newBroadcast()}
	a.polls, a.endPolls = context.WithCancel(ck.ctx)
	a.router = mux.NewRouter().UseEncodedPath()
	for _, r := range a.routes() {
		methods := []string{r.method}
		if r.method == http.MethodGet {
			methods = append(methods, http.MethodHead)
		}
		a.router.Handle(r.path, a.handler(r.path, r.endpoint)).Methods(methods...)
	}
	if gatherer := ck.opts.Gatherer; gatherer != nil {
		scrape := promhttp.HandlerFor(gatherer, promhttp.HandlerOpts{})
		a.router.Handle("/metrics", a.handler("/metrics", func(w *responder, r *http.Request) error {
			scrape.ServeHTTP(w, r)
			return nil
		})).Methods(http.MethodGet, http.MethodHead)
	}
	a.router.NotFoundHandler = a.handler(noRoute, noEndpoint)
	a.router.MethodNotAllowedHandler = a.handler(noRoute, a.wrongMethod)
	return a
}

type route struct {
	method, path string
	endpoint     endpoint
}

func (a *api) routes() []route {
	const get, put, post, del = http.MethodGet, http.MethodPut, http.MethodPost, http.MethodDelete
	ck := a.ck
	return []route{
		{get, "/cluster", a.viewWithLeader(viewCluster)},
		{post, pathJoinHTTP, a.join},
		{post, pathAnnounceHTTP, a.announce},
		{post, "/cluster/leave", a.leave},
		{put, "/cluster/replication-factor", a.setReplicationFactor},

		{get, "/nodes", a.view(viewNodes)},
		{get, "/nodes/{id}", a.viewOf(viewNode)},
		{del, "/nodes/{id}", onNode(ck.Remove)},
		{post, "/nodes/{id}/drain", onNode(ck.Drain)},
		{post, "/nodes/{id}/undrain", onNode(ck.Undrain)},
		{post, "/nodes/{id}/decommission", a.decommission},
		{put, "/nodes/{id}/weight", a.setWeight},

		{get, "/partitions", a.view(viewPartitions)},
		{get, "/partitions/stats", a.view(viewStats)},
		{get, "/partitions/key", a.viewOf(viewKey)},
		{post, "/partitions/{id}/accept-data-loss", a.acceptDataLoss},
		{post, "/partitions/{id}/move", a.relocate},

		{get, "/moves", a.view(viewMoves)},
		{post, "/moves/pause", change(ck.PauseMoves)},
		{post, "/moves/resume", change(ck.ResumeMoves)},
		{post, "/moves/cancel", a.cancelMoves},
		{post, "/moves/plan", a.plan},

		{get, "/metadata", a.view(viewMetadata)},
		{get, "/metadata/{key}", a.viewOf(viewEntry)},
		{put, "/metadata/{key}", a.setMetadata},
		{del, "/metadata/{key}", a.deleteMetadata},

		{get, "/consensus/leader", a.consensusLeader},
		{get, "/consensus/stats", a.consensusStats},
		{get, "/health", a.health},
		{get, "/health/detailed", a.healthDetailed},
		{get, "/livez", a.live},
		{get, "/readyz", a.ready},
		{get, "/openapi.json", serveOpenAPI},
	}
}

func noEndpoint(*responder, *http.Request) error {
	return httpError{codeNotFound, "there is no such endpoint: GET /openapi.json lists them"}
}

// wrongMethod finds out which methods the path has.
func (a *api) wrongMethod(w *responder, r *http.Request) error {
	var allowed []string
	for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodDelete} {
		probe := r.Clone(r.Context())
		probe.Method = method
		var match mux.RouteMatch
		if a.router.Match(probe, &match) && match.MatchErr == nil {
			allowed = append(allowed, method)
		}
	}
	methods := strings.Join(allowed, ", ")
	w.Header().Set("Allow", methods)
	return httpError{codeMethod, r.Method + " is not allowed here: use " + strings.Join(slices.DeleteFunc(allowed, func(m string) bool { return m == http.MethodHead }), " or ")}
}
