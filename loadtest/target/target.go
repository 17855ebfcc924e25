// Package target is one key-value store under test, by whatever protocol: this
// cluster by HTTP or with its Go client, a server or a cluster that speaks
// Redis's protocol, or a store in memory whose faults are chosen.
//
// No target repeats by itself what may have been executed, unless the store
// recognizes repetitions; so every operation is executed at most once.
package target

import (
	"context"
	"errors"
	"fmt"
)

// Kind names what an [Op] does.
type Kind string

// The kinds. Which of them a store has is said by [Target].Supports.
const (
	// Get reads a key.
	Get Kind = "get"
	// Set gives a key a value.
	Set Kind = "set"
	// Delete removes a key, whether it is there or not.
	Delete Kind = "delete"
	// Create sets a key that is absent.
	Create Kind = "create"
	// CompareAndSet sets a key whose value has the Version.
	CompareAndSet Kind = "compare-and-set"
	// Increment adds Delta to a number, an absent key counting as 0.
	Increment Kind = "increment"
	// Append appends Value to the value, an absent key counting as empty.
	Append Kind = "append"
	// MGet executes the gets in Ops, each by itself.
	MGet Kind = "mget"
	// Batch executes gets, sets, deletes, increments and appends in Ops, as a
	// whole or not at all. Their keys must share a {tag}.
	Batch Kind = "batch"
	// Scan reads up to Limit keys from Key on, in the order of the keys.
	Scan Kind = "scan"
	// ScanPrefix reads all keys that begin with Key, as of one instant. Key has a
	// whole {tag}, and Ops are gets of the keys that may be there.
	ScanPrefix Kind = "scan-prefix"
)

var kinds = []Kind{Get, Set, Delete, Create, CompareAndSet, Increment, Append, MGet, Batch, Scan, ScanPrefix}

// IsRead reports whether operations of this kind have no effect. A batch is
// taken to have one.
func (k Kind) IsRead() bool { return k == Get || k == MGet || k == Scan || k == ScanPrefix }

// Op is one operation.
type Op struct {
	Kind Kind
	Key  string
	// Value belongs to Set, Create, CompareAndSet and Append.
	Value []byte
	// Delta belongs to Increment.
	Delta int64
	// Version belongs to CompareAndSet: one that was read before, to be compared
	// for equality only.
	Version string
	// Limit belongs to Scan.
	Limit int
	// Ops belong to MGet, Batch and ScanPrefix.
	Ops []Op
}

// Result is the answer to an Op that was executed.
type Result struct {
	// Found reports whether Get found a value.
	Found bool
	// Value is what Get found.
	Value []byte
	// Version identifies the value that Get, Set, Create or CompareAndSet left.
	// A store without versions has the value itself for it.
	Version string
	// Number is the sum of an Increment, and the length after an Append.
	Number int64
	// Met reports whether the condition of Create or CompareAndSet was met. If
	// not, the operation had no effect.
	Met bool
	// Results are one for each of the Ops, or for each value that Scan found. Those
	// of ScanPrefix are more if there is anything beside the Ops.
	Results []Result
}

// Target is a store. It is safe for concurrent use.
type Target interface {
	// Do executes an operation. What an error says about its effect is told by
	// [OutcomeOf]. It waits for an answer no longer than ctx lasts, and than the
	// target's own timeout.
	Do(ctx context.Context, op Op) (Result, error)
	// Supports reports whether the store has operations of a kind.
	Supports(Kind) bool
	// Close ends the connections. No operation may be under way.
	Close() error
}

// Outcome is what is known of the effect of an operation.
type Outcome int

// The outcomes.
const (
	// OK is executed.
	OK Outcome = iota
	// Failed is certainly not executed, now or later. A read that got no answer
	// counts among these, because it has no effect.
	Failed
	// Unknown may have been executed, or may yet be.
	Unknown
)

func (o Outcome) String() string { return [...]string{"ok", "failed", "unknown"}[o] }

// FailedError is the error of an operation that was certainly not executed.
type FailedError struct{ Err error }

func (e *FailedError) Error() string { return e.Err.Error() }
func (e *FailedError) Unwrap() error { return e.Err }

// OutcomeOf returns the outcome that an error of [Target].Do stands for. An
// error that proves nothing is [Unknown].
func OutcomeOf(err error) Outcome {
	if err == nil {
		return OK
	}
	if _, ok := errors.AsType[*FailedError](err); ok {
		return Failed
	}
	return Unknown
}

// ErrUnsupported is returned, as a failure, for an operation that the store
// does not have.
var ErrUnsupported = errors.New("the store has no such operation")

// ErrUnreachable is returned when a store does not answer as it is opened.
var ErrUnreachable = errors.New("it does not answer")

func failed(err error) error { return &FailedError{err} }

func failedf(format string, args ...any) error { return failed(fmt.Errorf(format, args...)) }

func unsupported(k Kind) error { return failedf("%w: %s", ErrUnsupported, k) }

// inBatch reports whether an operation may be part of a batch.
func (op Op) inBatch() bool {
	switch op.Kind {
	case Get, Set, Delete, Increment, Append:
		return true
	default:
		return false
	}
}
