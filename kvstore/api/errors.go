package api

import (
	"errors"
	"fmt"
	"net/http"
)

// Code is the stable name of an error, the same in Go and on the wire.
type Code string

// Every code but [CodeOutcomeUnknown] is certain: the operation was not
// executed and may be retried by anyone.
const (
	CodeBadRequest      Code = "bad_request"
	CodeNotFound        Code = "not_found"
	CodeConditionFailed Code = "condition_failed"
	CodeNotPrimary      Code = "not_primary"
	CodeUnavailable     Code = "unavailable"
	CodeTooLarge        Code = "too_large"
	CodeUnauthenticated Code = "unauthenticated"
	CodeForbidden       Code = "forbidden"
	CodeConflict        Code = "conflict"
	CodeSnapshotGone    Code = "snapshot_gone"
	CodeOutcomeUnknown  Code = "outcome_unknown"
)

// Sentinels to hold against an error with [errors.Is]; an [*Error] matches
// the sentinel of its code, whatever its message, also when it was decoded
// from a response.
var (
	ErrBadRequest      = &Error{Code: CodeBadRequest, Message: "bad request"}
	ErrNotFound        = &Error{Code: CodeNotFound, Message: "key not found"}
	ErrConditionFailed = &Error{Code: CodeConditionFailed, Message: "condition failed"}
	ErrNotPrimary      = &Error{Code: CodeNotPrimary, Message: "this node is not the primary of the key"}
	ErrUnavailable     = &Error{Code: CodeUnavailable, Message: "the partition is not serving"}
	ErrTooLarge        = &Error{Code: CodeTooLarge, Message: "too large"}
	ErrUnauthenticated = &Error{Code: CodeUnauthenticated, Message: "unauthenticated"}
	ErrForbidden       = &Error{Code: CodeForbidden, Message: "forbidden"}
	ErrConflict        = &Error{Code: CodeConflict, Message: "conflict"}
	// ErrSnapshotGone is returned to a scan that cannot go on with the snapshot
	// that it began with.
	ErrSnapshotGone = &Error{Code: CodeSnapshotGone, Message: "the snapshot of the cursor is gone"}
	// ErrOutcomeUnknown is returned when a write may or may not have been, or
	// may yet be, executed. It must never be retried blindly nor reported as
	// a failure.
	ErrOutcomeUnknown = &Error{Code: CodeOutcomeUnknown, Message: "the outcome of the write is unknown"}
)

// Error is an error of the key-value API. Its JSON form stands under "error"
// in the body of every answer that is not a success.
type Error struct {
	Code    Code   `json:"code"`
	Message string `json:"message"`
	// Details are facts for programs: "primary" and "address" with
	// CodeNotPrimary, "limit" with CodeTooLarge, "version" with
	// CodeConditionFailed if there is a value, "command", the index of the one in
	// the batch that failed, and "reason" with the CodeBadRequest of an increment.
	Details map[string]string `json:"details,omitempty"`
}

// The reasons why an increment is impossible.
const (
	ReasonNotANumber = "not_a_number"
	ReasonOverflow   = "overflow"
)

// Errorf returns an error of the given code.
func Errorf(code Code, format string, args ...any) *Error {
	return &Error{Code: code, Message: fmt.Sprintf(format, args...)}
}

// With returns a copy of e with one more detail.
func (e *Error) With(name, value string) *Error {
	c := &Error{Code: e.Code, Message: e.Message, Details: map[string]string{name: value}}
	for k, v := range e.Details {
		if k != name {
			c.Details[k] = v
		}
	}
	return c
}

func (e *Error) Error() string { return e.Message }

// Is reports whether target is an [*Error] of the same code.
func (e *Error) Is(target error) bool {
	var t *Error
	return errors.As(target, &t) && t.Code == e.Code
}

// ErrorBody is the body of every answer that is not a success.
type ErrorBody struct {
	Error *Error `json:"error"`
}

// Status returns the HTTP status of the code; unknown codes read as 500.
func (c Code) Status() int {
	switch c {
	case CodeBadRequest:
		return http.StatusBadRequest
	case CodeNotFound:
		return http.StatusNotFound
	case CodeConditionFailed:
		return http.StatusPreconditionFailed
	case CodeNotPrimary:
		return http.StatusMisdirectedRequest
	case CodeUnavailable:
		return http.StatusServiceUnavailable
	case CodeTooLarge:
		return http.StatusRequestEntityTooLarge
	case CodeUnauthenticated:
		return http.StatusUnauthorized
	case CodeForbidden:
		return http.StatusForbidden
	case CodeConflict:
		return http.StatusConflict
	case CodeSnapshotGone:
		return http.StatusGone
	case CodeOutcomeUnknown:
		return http.StatusGatewayTimeout
	default:
		return http.StatusInternalServerError
	}
}
