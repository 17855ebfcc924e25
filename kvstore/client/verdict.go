package client

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// verdict is what one attempt says about the operation.
type verdict int

const (
	// succeeded and refused are final, and both are certain.
	succeeded verdict = iota
	refused
	// again: the attempt had no effect and another one may succeed.
	again
	// unknown: the write may have been executed, or may yet be. Final.
	unknown
)

// want is what an answer must have, beside its status, to be a success.
type want int

const (
	wantNothing want = iota
	wantVersion
	// wantBody is a body that could be decoded.
	wantBody
)

// attempt is how one request to one node went: an answer, or an error.
type attempt struct {
	write bool
	want  want
	// sent is true when the header of the request may have left this machine.
	sent   bool
	answer *answer
	err    error
}

// answer is a complete HTTP answer.
type answer struct {
	status  int
	version string
	ttl     time.Duration
	body    []byte
	// apiErr is the decoded error of an answer that is not a success, nil if
	// there is none: then it was not a node that answered.
	apiErr *api.Error
}

// judge decides what an attempt means. The returned error says what went
// wrong, and is nil only for succeeded.
func (a attempt) judge() (verdict, error) {
	if a.err != nil {
		return a.unlessSent(), a.err
	}
	if a.isSuccess() {
		return succeeded, nil
	}
	if e := a.answer.apiErr; e != nil {
		switch e.Code {
		case api.CodeNotPrimary, api.CodeUnavailable:
			return again, e
		case api.CodeBadRequest, api.CodeNotFound, api.CodeConditionFailed, api.CodeTooLarge,
			api.CodeUnauthenticated, api.CodeForbidden, api.CodeConflict, api.CodeSnapshotGone:
			return refused, e
		default:
			return a.unlessSent(), a.ambiguous(e)
		}
	}
	err := fmt.Errorf("answered HTTP %d in a form that no node uses: is it one?", a.answer.status)
	switch {
	case a.answer.status >= http.StatusInternalServerError:
		return a.unlessSent(), err
	case a.write && a.answer.status < http.StatusMultipleChoices:
		return unknown, err
	default:
		return refused, err
	}
}

func (a attempt) isSuccess() bool {
	status := http.StatusOK
	if a.write && a.want != wantBody {
		status = http.StatusNoContent
	}
	return a.answer.status == status && (a.want != wantVersion || a.answer.version != "")
}

// unlessSent is the verdict on a failure that proves nothing.
func (a attempt) unlessSent() verdict {
	if a.write && a.sent {
		return unknown
	}
	return again
}

// ambiguous returns e without its code for a read, whose outcome is never
// unknown.
func (a attempt) ambiguous(e *api.Error) error {
	if a.write {
		return e
	}
	return errors.New(e.Message)
}

// IsCertain reports whether err proves that the operation was not executed.
// It is false for nil, and for an error that did not come from a node.
func IsCertain(err error) bool {
	var e *api.Error
	return errors.As(err, &e) && e.Code != api.CodeOutcomeUnknown && e.Code.Status() != http.StatusInternalServerError
}
