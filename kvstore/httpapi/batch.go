package httpapi

import (
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"strings"
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
		return api.Errorf(api.CodeBadRequest, "body: it is not the JSON that belongs here: %s", inWords(err))
	}
	return nil
}

// inWords says what is wrong with a body, in terms of JSON rather than of Go.
func inWords(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok {
		return fmt.Sprintf("%s is of type %s: give %s", cmp.Or(wrong.Field, "the whole"), wrong.Value, nameOf(wrong.Type))
	}
	if _, ok := errors.AsType[base64.CorruptInputError](err); ok {
		return fmt.Sprintf("keys and values are in base64: %v", err)
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// nameOf is what JSON calls a type.
func nameOf(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.Pointer:
		return nameOf(t.Elem())
	case t.Kind() == reflect.Slice && t.Elem().Kind() == reflect.Uint8:
		return "a string in base64"
	case t.Kind() == reflect.Slice:
		return "an array"
	case t.Kind() == reflect.Struct:
		return "an object"
	case t.Kind() == reflect.Bool:
		return "true or false"
	case t.Kind() == reflect.String:
		return "a string"
	default:
		return "a whole number"
	}
}
