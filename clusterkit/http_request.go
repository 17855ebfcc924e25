package clusterkit

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gorilla/mux"
)

// maxBody bounds the body of a request. It is a little more than the JSON of
// the largest metadata value, or of all partitions, can take.
const maxBody = 512 << 10

// readJSON decodes the body of a request. Fields that it does not know are
// refused, so that a misspelt one does not go by unnoticed; example is what a
// body should look like.
func readJSON(w *responder, r *http.Request, example string, into any) error {
	body, err := readBody(w, r)
	if err != nil {
		return err
	}
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	err = dec.Decode(into)
	if err == nil && dec.More() {
		err = errors.New("there is something after the JSON value")
	}
	if err != nil {
		return fmt.Errorf("%w: the body: %s: send %s", errBadRequest, explain(err), example)
	}
	return nil
}

// readOptionalJSON leaves the value as it is where the body is empty.
func readOptionalJSON(w *responder, r *http.Request, example string, into any) error {
	if r.ContentLength == 0 {
		return nil
	}
	return readJSON(w, r, example, into)
}

// readBody reads no more of the body than it may have.
func readBody(w *responder, r *http.Request) ([]byte, error) {
	tooLarge := httpError{codeTooLarge, fmt.Sprintf("the body has more than %d bytes", maxBody)}
	if r.ContentLength > maxBody {
		return nil, tooLarge
	}
	deadline := http.NewResponseController(w.ResponseWriter)
	if deadline.SetReadDeadline(time.Now().Add(answerTimeout)) == nil {
		// Afterwards the server reads on, to see a client that goes away.
		defer func() { _ = deadline.SetReadDeadline(time.Time{}) }()
	}
	body, err := io.ReadAll(http.MaxBytesReader(w.ResponseWriter, r.Body, maxBody))
	switch {
	case errors.As(err, new(*http.MaxBytesError)):
		return nil, tooLarge
	case err != nil:
		return nil, fmt.Errorf("%w: the body ended early: %w", errBadRequest, err)
	default:
		return body, nil
	}
}

// explain says in the caller's terms why JSON was not accepted.
func explain(err error) string {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return fmt.Sprintf("field %q cannot be a %s", wrong.Field, wrong.Value)
	}
	if errors.Is(err, io.EOF) {
		return "it is empty"
	}
	return strings.TrimPrefix(err.Error(), "json: ")
}

// missing is the error of a field that has to be there.
func missing(field, example string) error {
	return fmt.Errorf("%w: field %q is missing: send %s", errBadRequest, field, example)
}

// duration returns a parameter between 0 and most, the default if it is not
// there.
func duration(r *http.Request, name string, otherwise, most time.Duration) (time.Duration, error) {
	value := r.URL.Query().Get(name)
	if value == "" {
		return otherwise, nil
	}
	d, err := time.ParseDuration(value)
	if err != nil || d < 0 || d > most {
		return 0, fmt.Errorf("%w: the parameter %s is %q: use 0s to %s", errBadRequest, name, value, most)
	}
	return d, nil
}

// pathVar returns what stands in the path in that place.
func pathVar(r *http.Request, name string) string {
	// The router matches the path as it was sent.
	encoded := mux.Vars(r)[name]
	if value, err := url.PathUnescape(encoded); err == nil {
		return value
	}
	return encoded
}

// partition returns the partition of that ID.
func (m *Map) partition(id string) (*Partition, error) {
	for i := range m.Partitions {
		if p := &m.Partitions[i]; p.ID == id {
			return p, nil
		}
	}
	return nil, fmt.Errorf("%w: %q: they are %s to %s", ErrNoPartition, id, m.Partitions[0].ID, m.Partitions[len(m.Partitions)-1].ID)
}
