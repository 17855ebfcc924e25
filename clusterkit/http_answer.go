package clusterkit

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"
)

// answerTimeout is how long a client may take to send a request and to take
// the answer.
const answerTimeout = 30 * time.Second

// endpoint answers a request, or returns why it does not.
type endpoint func(w *responder, r *http.Request) error

// responder remembers of an answer what is counted.
type responder struct {
	http.ResponseWriter
	status int
	// waits is set where the time that the answer takes is the client's wish.
	waits bool
}

// handler runs the endpoint, answers in its place where it fails, and counts
// the answer under the route.
func (a *api) handler(route string, e endpoint) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		began := time.Now()
		w := &responder{ResponseWriter: rw}
		w.within(0)
		err := a.origins.Check(r)
		if err != nil {
			err = httpError{codeForbidden, err.Error() + ": a page of another site cannot change the cluster"}
		} else {
			err = e(w, r)
		}
		if err != nil {
			w.fail(err)
		}
		a.requests.count(route, r.Method, w, time.Since(began))
	})
}

// within lets the answer take so much longer than others.
func (w *responder) within(wait time.Duration) {
	// Where it is not supported, the server bounds answers by its own means; a
	// connection that has gone shows at the write.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(wait + answerTimeout))
	w.waits = w.waits || wait > 0
}

func (w *responder) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responder) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(b)
}

// Unwrap is for [http.ResponseController].
func (w *responder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responder) json(status int, body any) error {
	encoded, err := encodeJSON(body)
	if err != nil {
		return err
	}
	w.encoded(status, encoded)
	return nil
}

func encodeJSON(body any) ([]byte, error) {
	encoded, err := json.Marshal(body)
	return append(encoded, '\n'), err
}

func (w *responder) encoded(status int, body []byte) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	// Nothing can be told to a client that is gone.
	_, _ = w.Write(body)
}

// done answers a change that was made, or returns why it was not.
func (w *responder) done(err error) error {
	if err == nil {
		w.WriteHeader(http.StatusNoContent)
	}
	return err
}

// errorBody is the body of every answer that is not a success.
type errorBody struct {
	Error errorDetail `json:"error"`
}

type errorDetail struct {
	Code    code   `json:"code"`
	Message string `json:"message"`
	// Founder is, in the answer to a join request, the server ID of a node
	// that may found a cluster itself.
	Founder string `json:"founder,omitempty"`
	// Lease is the cluster's LeaseDuration, in the refusal of a node ID that is
	// in use.
	Lease time.Duration `json:"lease_ns,omitempty"`
	// Checks are those of a verbose probe.
	Checks []check `json:"checks,omitempty"`
}

// httpError is an error that only a request can meet.
type httpError struct {
	code    code
	message string
}

func (e httpError) Error() string { return e.message }

// statuses has the status of each code that an answer can carry. All but
// [ErrUnknown] are certain: nothing was changed.
var statuses = map[code]int{
	codeBadRequest:    http.StatusBadRequest,
	codeForbidden:     http.StatusForbidden,
	codeNotFound:      http.StatusNotFound,
	codeNoNode:        http.StatusNotFound,
	codeNoPartition:   http.StatusNotFound,
	codeMethod:        http.StatusMethodNotAllowed,
	codeRefused:       http.StatusConflict,
	codeRefusedChange: http.StatusConflict,
	codeConflict:      http.StatusConflict,
	codeElsewhere:     http.StatusConflict,
	codeStale:         http.StatusConflict,
	codeTooLarge:      http.StatusRequestEntityTooLarge,
	codeNoCluster:     http.StatusServiceUnavailable,
	codeNoLeader:      http.StatusServiceUnavailable,
	codeNotReady:      http.StatusServiceUnavailable,
	codeStopped:       http.StatusServiceUnavailable,
	codeUnknown:       http.StatusGatewayTimeout,
}

// answerTo is the only place where an error becomes an answer.
func answerTo(err error) (status int, body errorBody) {
	d := errorDetail{Code: codeOf(err), Message: err.Error()}
	if e, ok := errors.AsType[httpError](err); ok {
		d.Code = e.code
	} else if errors.Is(err, ErrStopped) {
		d.Code = codeStopped
	}
	if e, ok := errors.AsType[nodeIDInUse](err); ok {
		d.Lease = e.lease
	}
	if e, ok := errors.AsType[noClusterError](err); ok {
		d.Founder = e.founder
	}
	if e, ok := errors.AsType[failedProbe](err); ok {
		d.Code, d.Checks = codeNotReady, e.checks
	}
	status, known := statuses[d.Code]
	if !known {
		status, d.Code = http.StatusGatewayTimeout, codeUnknown
	}
	return status, errorBody{Error: d}
}

func (w *responder) fail(err error) {
	status, body := answerTo(err)
	// It consists of strings and numbers.
	_ = w.json(status, body)
}
