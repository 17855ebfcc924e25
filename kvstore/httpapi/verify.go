package httpapi

import (
	"context"
	"net/http"

	"github.com/gorilla/mux"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// Verifier compares the copies of a partition, which may take minutes. Its
// errors are of package api.
type Verifier interface {
	Verify(ctx context.Context, partition string, noForward bool) (api.Verification, error)
}

// RegisterVerify adds the route of [api.PathPartitions].
func RegisterVerify(r *mux.Router, v Verifier) {
	sub := r.Path(api.PathPartitions + "{id}" + api.Verify).Subrouter()
	sub.Methods(http.MethodPost).HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		verdict, err := v.Verify(r.Context(), mux.Vars(r)["id"], r.Header.Get(api.HeaderNoForward) != "")
		if err != nil {
			fail(w, err)
			return
		}
		writeJSON(w, verdict)
	})
	sub.NewRoute().HandlerFunc(notAllowed("POST"))
}
