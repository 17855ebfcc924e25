package main

import (
	"context"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore"
)

const (
	// standAsideTimeout bounds how long a stop waits until nobody needs the node.
	standAsideTimeout = 2 * time.Second
	// farewell is how long a node that is about to stop goes on at least, so that
	// clients with open connections hear of it by an answer. A connection that is
	// closed under a request leaves its outcome unknown.
	farewell = 300 * time.Millisecond
)

// lameDuck is the end of a node that stops in order: it gives its primaries to
// others, leaves the in-sync sets, and still answers every request, but for the last time on each
// connection.
type lameDuck struct{ begun atomic.Bool }

// wrap makes the answers of h say, once the end has begun, that the connection
// will be closed.
func (l *lameDuck) wrap(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if l.begun.Load() && r.Header.Get("Upgrade") == "" {
			w.Header().Set("Connection", "close")
		}
		h.ServeHTTP(w, r)
	})
}

// begin returns when the node can stop serving. What it could not hand over fails
// over when its session ends.
func (l *lameDuck) begin(ck *clusterkit.ClusterKit, node *kvstore.Node, log *slog.Logger) {
	l.begun.Store(true)
	said := time.NewTimer(farewell)
	defer said.Stop()
	ctx, cancel := context.WithTimeout(context.Background(), standAsideTimeout)
	defer cancel()
	err := ck.PrepareStop(ctx)
	if err == nil {
		err = node.StandAside(ctx)
	}
	if err != nil {
		log.Info("others still needed this node when it stopped", "error", err)
	}
	select {
	case <-said.C:
	case <-node.Failed():
	}
}
