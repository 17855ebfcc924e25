package execute_test

import (
	"errors"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/execute"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
)

// primary executes batches one after the other, and commits when it is told to.
type primary struct {
	t         *testing.T
	clock     uint64
	pending   execute.Pending
	log       [][]op.Op
	committed map[string]command.Item
}

func newPrimary(t *testing.T) *primary {
	return &primary{t: t, clock: 1000, committed: map[string]command.Item{}}
}

// Item implements execute.Committed.
func (p *primary) Item(key []byte) (command.Item, error) { return p.committed[string(key)], nil }

func (p *primary) execute(b api.Batch) execute.Execution {
	p.t.Helper()
	x, err := p.pending.Evaluate(b, p.clock, p)
	if err != nil {
		p.t.Fatal(err)
	}
	if len(x.Ops()) > 0 {
		p.log = append(p.log, x.Ops())
		p.pending.Appended(&x, command.Position{Epoch: 1, LSN: uint64(len(p.log))})
	}
	return x
}

func (p *primary) commit(lsn uint64) {
	for _, o := range p.log[lsn-1] {
		p.committed[string(o.Key)] = command.ItemOf(o, command.Position{Epoch: 1, LSN: lsn})
	}
	p.pending.Committed(lsn)
}

func batch(c api.Command) api.Batch {
	c.Key = []byte("k")
	return api.Batch{Commands: []api.Command{c}}
}

func TestWhatAnAnswerWaitsFor(t *testing.T) {
	set := batch(api.Command{Op: api.OpSet, Value: []byte("v")})
	setIfAbsent := batch(api.Command{Op: api.OpSet, Value: []byte("v"), If: api.IfAbsent})
	identified := batch(api.Command{Op: api.OpIncrement, Delta: 1})
	identified.ID = &api.RequestID{Client: "c", Seq: 1}
	get := batch(api.Command{Op: api.OpGet})
	for name, tt := range map[string]struct {
		first, then api.Batch
		committed   bool
		after       uint64
		read        bool
		err         error
	}{
		"a write waits for its own entry":                            {first: get, then: set, after: 1},
		"a write that saw a pending one waits for its own":           {first: set, then: batch(api.Command{Op: api.OpAppend, Value: []byte("+")}), after: 2},
		"a read of a pending value waits for it":                     {first: set, then: get, after: 1, read: true},
		"a read of a committed value waits for nothing":              {first: set, committed: true, then: get, read: true},
		"a failed condition waits for the pending value that it saw": {first: set, then: setIfAbsent, after: 1, read: true, err: api.ErrConditionFailed},
		"a failed condition on a committed value is a read":          {first: set, committed: true, then: setIfAbsent, read: true, err: api.ErrConditionFailed},
		"a repetition waits for the pending first":                   {first: identified, then: identified, after: 1, read: true},
		"a repetition of a committed request is a read":              {first: identified, committed: true, then: identified, read: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPrimary(t)
			p.execute(tt.first)
			if tt.committed {
				p.commit(1)
			}
			x := p.execute(tt.then)
			if x.After != tt.after || x.IsRead() != tt.read || x.OutcomeUnknown() == tt.read {
				t.Errorf("after %d, read %t, unknown %t", x.After, x.IsRead(), x.OutcomeUnknown())
			}
			if _, err := x.Answer(); !errors.Is(err, tt.err) {
				t.Errorf("answer: %v", err)
			}
		})
	}
}

// Who gives up waiting for an entry that only deletes what has expired, or
// remembers a refusal, knows that nothing of the batch is executed.
func TestWhatIsCertain(t *testing.T) {
	expiring := batch(api.Command{Op: api.OpSet, Value: []byte("v"), TTL: 1})
	present := batch(api.Command{Op: api.OpSet, If: api.IfPresent})
	identified := present
	identified.ID = &api.RequestID{Client: "c", Seq: 1}
	for name, tt := range map[string]struct {
		clock   uint64
		batch   api.Batch
		unknown bool
	}{
		"a read of an expired value":           {clock: 2000, batch: batch(api.Command{Op: api.OpGet})},
		"a condition on an expired value":      {clock: 2000, batch: present},
		"a refusal that is remembered":         {clock: 2000, batch: identified},
		"a write in place of an expired value": {clock: 2000, batch: batch(api.Command{Op: api.OpIncrement}), unknown: true},
		"a write":                              {clock: 1000, batch: batch(api.Command{Op: api.OpDelete}), unknown: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPrimary(t)
			p.execute(expiring)
			p.commit(1)
			p.clock = tt.clock
			x := p.execute(tt.batch)
			if x.After != 2 || x.IsRead() || x.OutcomeUnknown() != tt.unknown {
				t.Errorf("after %d, read %t, unknown %t", x.After, x.IsRead(), x.OutcomeUnknown())
			}
		})
	}
}

func TestWhatIsPendingIsForgotten(t *testing.T) {
	p := newPrimary(t)
	get := batch(api.Command{Op: api.OpGet})
	for range 3 {
		p.execute(batch(api.Command{Op: api.OpIncrement, Delta: 1}))
	}
	p.commit(1)
	p.commit(2)
	if x := p.execute(get); x.After != 3 {
		t.Errorf("with one write pending a read waits for %d", x.After)
	}
	p.pending.Clear()
	x := p.execute(get)
	if r, err := x.Answer(); err != nil || string(r[0].Value) != "2" || x.After != 0 {
		t.Errorf("after the role ended: %+v, %v, after %d", r, err, x.After)
	}
}

var errTest = errors.New("cannot be read")

type unreadable struct{}

func (unreadable) Item([]byte) (command.Item, error) { return command.Item{}, errTest }

func TestWhatCannotBeReadIsNoAnswer(t *testing.T) {
	var p execute.Pending
	if _, err := p.Evaluate(batch(api.Command{Op: api.OpGet}), 1, unreadable{}); !errors.Is(err, errTest) {
		t.Errorf("%v", err)
	}
}
