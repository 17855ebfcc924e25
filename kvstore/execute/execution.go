// Package execute holds the rules by which a primary answers what clients ask
// for: what a batch of commands may see, what has to happen before it is
// answered, and what the answer is when the role ends before that. It is
// arithmetic, without a clock, a lock or I/O, so that a simulator can drive
// the same rules as the server does.
//
// A batch sees everything that has been appended, committed or not. One that
// has effects is appended in turn and answered when that is committed, even if
// it is refused: what it found expired is deleted first, and the refusal may
// have to be remembered. One that has none is a read, also if it was refused or
// is the repetition of an earlier one: what it saw must be committed, and
// afterwards the lease must still cover the epoch, or everyone who may count
// confirm it.
//
//	Evaluate --> has Ops: append, Appended --> After is committed ----------> Answer
//	        \--> has none --> After is committed, or 0 --> lease or confirmed --> Answer
package execute

import (
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// Committed is the committed state of a partition.
type Committed interface {
	// Item returns the state of a key, as [command.UserKey] has it. Its error
	// ends the evaluation; [command.ErrRetry] says that it cannot tell now.
	Item(key []byte) (command.Item, error)
}

// Execution is a batch that was evaluated.
type Execution struct {
	// After is the LSN of the entry that has to be committed before the answer
	// may be given: the batch's own, or the last that it saw. 0 is none.
	After uint64

	outcome  command.Outcome
	appended bool
}

// Evaluate evaluates a batch against what is pending and what is committed, at
// the clock in milliseconds. The caller appends the effects, if there are any,
// before anything else is evaluated. Errors are those of committed, and of a
// remembered answer that cannot be read.
func (p *Pending) Evaluate(b api.Batch, clock uint64, committed Committed) (Execution, error) {
	var saw uint64
	outcome, err := command.Evaluate(b, clock, func(key []byte) (command.Item, error) {
		if w, ok := p.keys[string(key)]; ok {
			saw = max(saw, w.at.LSN)
			return w.item(), nil
		}
		return committed.Item(key)
	})
	x := Execution{After: saw, outcome: outcome}
	p.breakRules(b, &x)
	return x, err
}

// breakRules does what must not be done, where a test asks for it.
func (p *Pending) breakRules(b api.Batch, x *Execution) {
	if p.Breaks(planted.ExpireLocally) && b.ID == nil && !x.outcome.Changes {
		x.outcome.Ops = nil
	}
	rule := planted.AnswerUncommitted
	if b.ID != nil {
		rule = planted.RepeatUncommitted
	}
	if p.Breaks(rule) && len(x.outcome.Ops) == 0 {
		x.After = 0
	}
}

// Ops are the effects of the batch: one entry of the log, none if it has no
// effects.
func (x *Execution) Ops() []op.Op { return x.outcome.Ops }

// Appended takes that the effects have been appended as the entry at the
// position.
func (p *Pending) Appended(x *Execution, at command.Position) {
	x.outcome.Written(at)
	x.appended, x.After = true, at.LSN
	p.add(at, x.outcome.Ops)
}

// IsRead reports whether the answer rests on what others wrote: then it may be
// given only under a lease that still covers the epoch in which the batch was
// evaluated, or when the epoch is confirmed by requests sent after it was.
func (x *Execution) IsRead() bool { return !x.appended }

// OutcomeUnknown reports whether the batch may or may not be executed, and
// must be reported so, when it is given up before After is committed.
// Otherwise it is certain that nothing was executed, nor will be.
func (x *Execution) OutcomeUnknown() bool { return x.appended && x.outcome.Changes }

// Answer is the answer to the batch.
func (x *Execution) Answer() ([]api.Result, error) {
	if x.outcome.Refused != nil {
		return nil, x.outcome.Refused
	}
	return x.outcome.Results, nil
}
