package httpapi

import (
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// maxBatchBody is what the largest batch takes in JSON, and room for spaces.
const maxBatchBody = 2 * api.MaxBatchBytes

func (s server) batch(w http.ResponseWriter, r *http.Request) {
	var b api.Batch
	if err := readJSON(w, r, &b); err != nil {
		fail(w, err)
		return
	}
	results, err := s.store.Execute(r.Context(), kvstore.Request{NoForward: r.Header.Get(api.HeaderNoForward) != ""}, b)
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, api.BatchAnswer{Results: results})
}

func writeJSON(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // a client that has gone needs no answer
}

// readJSON reads a body that is one JSON value without unknown fields.
func readJSON(w http.ResponseWriter, r *http.Request, into any) error {
	rc := http.NewResponseController(w)
	if err := rc.SetReadDeadline(time.Now().Add(bodyTimeout)); err == nil {
		defer func() { _ = rc.SetReadDeadline(time.Time{}) }()
	}
	decoder := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxBatchBody))
	decoder.DisallowUnknownFields()
	err := decoder.Decode(into)
	if err == nil {
		if _, trailing := decoder.Token(); !errors.Is(trailing, io.EOF) {
			err = errors.New("there is more behind the first value")
		}
	}
	if limit := (*http.MaxBytesError)(nil); errors.As(err, &limit) {
		return api.Errorf(api.CodeTooLarge, "body: more than %d bytes", maxBatchBody)
	}
	if err != nil {
		return api.Errorf(api.CodeBadRequest, "body: it is not the JSON that belongs here: %v", err)
	}
	return nil
}
