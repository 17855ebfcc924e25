package sim

import (
	"math"
	"strconv"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// cell is what a key holds, by the model: a value, "" if there is none.
type cell struct {
	value string
	// may and must are when the value may have expired, and when it must have;
	// 0 for never.
	may, must time.Duration
}

// state is that of a unit.
type state [2]cell

// forever is when operations end whose outcome is unknown.
const forever = time.Duration(math.MaxInt64)

// model is what the keys of a unit do. An operation of unknown outcome takes
// effect if it can; if it cannot, it is as if it had never been executed, which
// is always possible after everything else.
func (w *world) model(u *unit) porcupine.Model {
	if u.expires {
		// Whether a value had expired is not always told by the answer.
		return (&porcupine.NondeterministicModel{
			Init: func() []any { return []any{state{}} },
			Step: func(s, input, _ any) []any {
				var next []any
				for _, n := range w.steps(s.(state), input.(*operation)) {
					next = append(next, n)
				}
				return next
			},
		}).ToModel()
	}
	return porcupine.Model{
		Init: func() any { return state{} },
		Step: func(s, input, _ any) (bool, any) {
			next, ok := w.apply(s.(state), input.(*operation))
			return ok, next
		},
	}
}

// steps returns the states in which an operation may leave a state, depending
// on whether a value had expired before.
func (w *world) steps(s state, o *operation) (next []state) {
	before := s[0]
	if before.must == 0 {
		if n, ok := w.apply(s, o); ok {
			next = append(next, n)
		}
		return next
	}
	if o.call < before.must {
		if n, ok := w.apply(s, o); ok {
			next = append(next, n)
		}
	}
	if o.end >= before.may {
		s[0] = cell{}
		if n, ok := w.apply(s, o); ok && (len(next) == 0 || next[0] != n) {
			next = append(next, n)
		}
	}
	return next
}

// apply returns the state in which an operation leaves a state, and whether it
// can have been answered as it was.
func (w *world) apply(before state, o *operation) (after state, ok bool) {
	after = before
	for i := range o.steps {
		s := &o.steps[i]
		c := &after[s.cell]
		if !s.met(c.value) {
			return before, o.outcome != succeeded
		}
		var r *api.Result
		if o.outcome == succeeded {
			r = &o.results[i]
			if !s.answered(c.value, r) {
				return before, false
			}
		}
		w.effect(s, c, o)
	}
	return after, o.outcome != refused
}

// met reports whether the condition of a step is met.
func (s *step) met(value string) bool {
	switch s.If {
	case api.IfAbsent:
		return value == ""
	case api.IfPresent:
		return value != ""
	case api.IfVersion:
		return value == s.expect
	default:
		return true
	}
}

// answered reports whether a step on a value can have had the result.
func (s *step) answered(value string, r *api.Result) bool {
	switch s.Op {
	case api.OpGet:
		return r.Found == (value != "") && string(r.Value) == value
	case api.OpSet, api.OpDelete:
		return !s.Report || r.Found == (value != "") && string(r.Value) == value
	case api.OpIncrement:
		return r.Number == number(value)+s.Delta
	case api.OpAppend:
		return string(r.Value) == value+string(s.Value)
	default:
		return r.Found == (value != "")
	}
}

func number(value string) int64 {
	n, _ := strconv.ParseInt(value, 10, 64) // "" is 0
	return n
}

// effect does what a step does to a cell.
func (w *world) effect(s *step, c *cell, o *operation) {
	switch s.Op {
	case api.OpSet:
		c.value = string(s.Value)
		if !s.KeepTTL {
			w.expire(s, c, o)
		}
	case api.OpDelete:
		*c = cell{}
	case api.OpIncrement:
		c.value = strconv.FormatInt(number(c.value)+s.Delta, 10)
	case api.OpAppend:
		c.value += string(s.Value)
	case api.OpExpire:
		if c.value != "" {
			w.expire(s, c, o)
		}
	}
}

func (w *world) expire(s *step, c *cell, o *operation) {
	c.may, c.must = 0, 0
	if s.TTL == 0 {
		return
	}
	c.may, c.must = w.expiryWindow(o.call, o.end, time.Duration(s.TTL)*time.Millisecond)
	if o.end == forever {
		c.must = forever
	}
}
