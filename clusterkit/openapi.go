package clusterkit

import (
	_ "embed"
	"net/http"
)

// openAPI describes the HTTP API. The tests hold it against the handlers.
//
//go:embed openapi.json
var openAPI []byte

func serveOpenAPI(w *responder, _ *http.Request) error {
	w.encoded(http.StatusOK, openAPI)
	return nil
}
