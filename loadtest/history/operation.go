// Package history records what clients asked of a store and what they were
// answered, on one clock, and drives the contended workloads whose histories
// are worth checking.
package history

import (
	"math"
	"strings"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// Forever is when an operation of unknown outcome returns: it may take effect
// at any later time.
const Forever = time.Duration(math.MaxInt64)

// Operation is one operation as its client saw it.
type Operation struct {
	// Client is who asked. It has at most one operation under way, and is not
	// heard of again after an unknown outcome.
	Client int
	// Call and Return are since the recorder began, by a clock that never goes
	// back. Return is Forever if the outcome is unknown.
	Call, Return time.Duration
	Outcome      target.Outcome
	Op           target.Op
	// Expect is the value that had the Version of a compare-and-set.
	Expect []byte
	// Result is the answer, if the outcome is OK.
	Result target.Result
	// Err says what went wrong, if anything did.
	Err string
	// Final marks a read after the load had ended and the store was whole again.
	Final bool
}

// Steps returns the operations on single keys that make up an operation.
func (o *Operation) Steps() []target.Op {
	if o.whole() {
		return o.Op.Ops
	}
	return []target.Op{o.Op}
}

// Answer returns the result of the i-th of the steps.
func (o *Operation) Answer(i int) target.Result {
	if !o.whole() {
		return o.Result
	}
	if i < len(o.Result.Results) {
		return o.Result.Results[i]
	}
	return target.Result{}
}

// whole reports whether the Ops of an operation are executed at one instant.
func (o *Operation) whole() bool { return o.Op.Kind == target.Batch || o.Op.Kind == target.ScanPrefix }

// Unit names what an operation belongs to: its key, or the {tag} that keys
// share which are written together. Units are independent of one another.
func (o *Operation) Unit() string {
	key := o.Op.Key
	if o.Op.Kind == target.Batch && len(o.Op.Ops) > 0 {
		key = o.Op.Ops[0].Key
	}
	return UnitOf(key)
}

// UnitOf returns the unit that a key belongs to.
func UnitOf(key string) string {
	if begin := strings.IndexByte(key, '{'); begin >= 0 {
		if length := strings.IndexByte(key[begin+1:], '}'); length > 0 {
			return key[begin : begin+length+2]
		}
	}
	return key
}
