package httpapi

import (
	"errors"
	"net/http"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// fail answers with an error. One that is not of package api is a fault of
// this node: what happened to the request is not known.
func fail(w http.ResponseWriter, err error) {
	var e *api.Error
	if !errors.As(err, &e) {
		e = api.Errorf(api.CodeOutcomeUnknown, "internal error: %v", err)
	}
	writeError(w, e.Code.Status(), e)
}

func writeError(w http.ResponseWriter, status int, e *api.Error) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	writeJSON(w, api.ErrorBody{Error: e})
}
