package sim

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

const (
	// thinking is how long a client waits at most before its next operation.
	thinking = 40 * time.Millisecond
	// patience is how long an operation is tried.
	patience = 1500 * time.Millisecond
	// impatience is how long a client waits for the answer of one node.
	impatience = 600 * time.Millisecond
)

// outcome is how an operation ended.
type outcome uint8

const (
	succeeded outcome = iota
	// refused: a condition was not met.
	refused
	// unknown: it was executed, will be, or never is.
	unknown
	// notExecuted is certain.
	notExecuted
)

// operation is what a client asked for, as it saw it.
type operation struct {
	unit  *unit
	steps []step
	batch api.Batch
	// single: a read that is served without evaluating a batch. stale: by
	// whatever node.
	// scan: a read of all keys of the unit, a page for each.
	single, stale, scan bool

	// appended are the entries that executing it has made; the client does not
	// know.
	appended []partition.Position

	outcome   outcome
	results   []api.Result
	call, end time.Duration
}

func (o *operation) isRead() bool {
	for i := range o.steps {
		if o.steps[i].Op != api.OpGet {
			return false
		}
	}
	return true
}

// String describes the operation and its answer.
func (o *operation) String() string {
	var s strings.Builder
	fmt.Fprintf(&s, "%12v - %12v %s", o.call, o.end, [...]string{"succeeded", "refused", "unknown", "not executed"}[o.outcome])
	if o.stale {
		s.WriteString(" stale")
	}
	if o.scan {
		s.WriteString(" scan")
	}
	if o.batch.ID != nil {
		fmt.Fprintf(&s, " %s%d", o.batch.ID.Client, o.batch.ID.Seq)
	}
	for i := range o.steps {
		c := &o.steps[i]
		fmt.Fprintf(&s, " | %s %s %q %d", c.Op, c.Key, c.Value, c.Delta)
		if c.If != api.IfAny {
			fmt.Fprintf(&s, " if %s %q", c.If, c.expect)
		}
		if c.TTL != 0 || c.KeepTTL {
			fmt.Fprintf(&s, " for %d ms, keep %t", c.TTL, c.KeepTTL)
		}
		if o.outcome == succeeded {
			fmt.Fprintf(&s, " -> %t %q %s", o.results[i].Found, o.results[i].Value, o.results[i].Version)
		}
	}
	return s.String()
}

// seen is what a client knows of a key.
type seen struct{ version, value string }

// client runs one operation after the other. It repeats an attempt that proves
// that nothing was executed, and one that does not only if it reads or has a
// request ID.
type client struct {
	w     *world
	id    int
	seq   uint64
	marks int
	seen  map[string]seen

	op        *operation // nil between operations
	attempt   int        // counts up, so that late answers are not taken
	deadline  time.Duration
	ambiguous bool
}

func newClient(w *world, id int) *client { return &client{w: w, id: id, seen: map[string]seen{}} }

// act begins an operation.
func (c *client) act() {
	if !c.w.healing {
		c.begin(c.draw())
	}
}

func (c *client) draw() *operation {
	w := c.w
	u := pick(w, w.units...)
	if w.chance(0.1) {
		return &operation{unit: u, steps: []step{u.get(w.rng.IntN(len(u.keys)))}, stale: true}
	}
	op := &operation{unit: u, steps: u.draw(c, u)}
	if op.isRead() && w.chance(0.3) {
		return u.scan()
	}
	op.single = len(op.steps) == 1 && op.isRead() && w.chance(0.7)
	if w.chance(0.35) {
		c.seq++
		op.batch.ID = &api.RequestID{Client: string(rune('a' + c.id)), Seq: c.seq}
	}
	return op
}

func (c *client) begin(op *operation) {
	op.batch.Commands = make([]api.Command, len(op.steps))
	for i := range op.steps {
		op.batch.Commands[i] = op.steps[i].Command
	}
	op.call = c.w.now
	c.op, c.ambiguous, c.deadline = op, false, c.w.now+patience
	c.try()
}

// try makes one attempt at a node.
func (c *client) try() {
	w := c.w
	n := c.target()
	if !n.up {
		c.again()
		return
	}
	c.attempt++
	attempt, op := c.attempt, c.op
	answered := func(results []api.Result, err error) {
		c.wire(nil, func() {
			if c.attempt == attempt && c.op == op {
				c.answered(results, err)
			}
		})
	}
	c.wire(n, func() { n.take(op, answered) })
	w.after(impatience, func() {
		if c.attempt == attempt && c.op == op {
			c.answered(nil, errLost)
		}
	})
}

var errLost = errors.New("no answer")

// wire brings a request to a node, or an answer back. It may be late and get
// lost.
func (c *client) wire(to *node, do func()) {
	w := c.w
	d := w.between(50*time.Microsecond, time.Millisecond)
	switch {
	case w.healing:
	case w.chance(w.plan.loss):
		return
	case w.chance(w.plan.late):
		d = w.between(0, 2*impatience)
	}
	w.queue.push(event{at: w.now + d, node: to, do: do})
}

// take takes a request.
func (n *node) take(op *operation, answer func([]api.Result, error)) {
	switch {
	case op.stale:
		answer(n.stale(op.steps[0].Key), nil)
	case op.single:
		n.get(op, answer)
	case op.scan:
		n.scan(op, answer)
	default:
		n.execute(op, answer)
	}
}

// target draws the node to ask: the primary, one that thinks that it is, or
// any.
func (c *client) target() *node {
	w := c.w
	if c.op.stale {
		return pick(w, w.nodes...)
	}
	switch draw := w.rng.IntN(20); {
	case draw < 1:
		return pick(w, w.nodes...)
	case draw < 8:
		from := w.rng.IntN(len(w.nodes))
		for i := range w.nodes {
			if n := w.nodes[(from+i)%len(w.nodes)]; n.up && n.servingEpoch() != 0 {
				return n
			}
		}
	}
	return w.leader()
}

func (c *client) answered(results []api.Result, err error) {
	op := c.op
	if op.results = results; err == nil {
		c.learn(results)
		c.finish(succeeded)
		return
	}
	refusal := (*api.Error)(nil)
	switch {
	case errors.Is(err, errNotServing):
		c.again()
	case errors.As(err, &refusal) && refusal.Code == api.CodeConditionFailed:
		c.finish(refused)
	case refusal != nil:
		c.w.violate(Linearizability, "%+v is refused: %v", op.batch, err)
	case op.isRead():
		c.again()
	default:
		c.ambiguous = true
		if op.batch.ID != nil || c.w.opt.Rules.Breaks(planted.RetryUnknown) {
			c.w.count(repetitions)
			c.again()
		} else {
			c.finish(unknown)
		}
	}
}

// again tries once more if there is time.
func (c *client) again() {
	switch {
	case c.w.now < c.deadline:
		c.attempt++
		attempt := c.attempt
		c.w.after(c.w.between(0, 50*time.Millisecond), func() {
			if c.attempt == attempt {
				c.try()
			}
		})
	case c.ambiguous:
		c.finish(unknown)
	default:
		c.finish(notExecuted)
	}
}

func (c *client) finish(o outcome) {
	w, op := c.w, c.op
	c.op = nil
	op.end, op.outcome = w.now, o
	if o != notExecuted {
		w.history = append(w.history, op)
	}
	switch {
	case op.stale:
		w.count(staleReads)
	case o == refused:
		w.count(refusals)
	case o == unknown:
		w.count(unknowns)
	case o == succeeded && op.isRead():
		w.count(reads)
	case o == succeeded:
		w.count(acked)
	}
	w.note("ends", c.id, uint64(o), uint64(op.call), uint64(len(op.steps)))
	w.after(w.between(0, thinking), c.act)
}

// learn remembers the versions of values that conditions can be put on.
func (c *client) learn(results []api.Result) {
	for i, s := range c.op.steps {
		r := results[i]
		switch {
		case r.Version == "":
			delete(c.seen, string(s.Key))
		case s.Op == api.OpSet:
			c.seen[string(s.Key)] = seen{r.Version, string(s.Value)}
		case s.Op != api.OpExpire:
			c.seen[string(s.Key)] = seen{r.Version, string(r.Value)}
		default:
			delete(c.seen, string(s.Key))
		}
	}
}
