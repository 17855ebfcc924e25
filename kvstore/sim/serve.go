package sim

import (
	"errors"
	"slices"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/execute"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

var (
	// errNotServing: nothing was executed.
	errNotServing = errors.New("not serving")
	// errUnknown: the role ended while the write was being replicated.
	errUnknown = errors.New("outcome unknown")
)

// request is a request under way at a node.
type request struct {
	node  *node
	op    *operation
	epoch uint64 // in which it was begun
	// covered: the lease was found valid before, where that rule is broken.
	covered bool
	// settled, when set, is all that the entry is waited for.
	settled func()
	x       execute.Execution
	answer  func([]api.Result, error)
}

// waiter is a request that waits until an entry is committed.
type waiter struct {
	lsn uint64
	req *request
}

// ticket is a request that waits until the epoch is confirmed.
type ticket struct {
	number uint64
	req    *request
}

// serving returns the epoch in which the node serves, 0 when it does not.
func (n *node) servingEpoch() uint64 {
	if role, epoch := n.replica.Role(); role == partition.Serving {
		return epoch
	}
	return 0
}

// holdsLease reports whether the lease of the node's session holds.
func (n *node) holdsLease() bool {
	return n.leaseFor == n.incarnation && n.viewOf >= n.incarnation && n.clock() < n.leaseEnd
}

// leased reports whether the lease of the node's session covers the epoch.
func (n *node) leased(epoch uint64) bool {
	if !n.holdsLease() {
		return false
	}
	return (n.view.Epoch == epoch || n.w.opt.Rules.Breaks(planted.LeaseOfAnyEpoch)) && n.servingEpoch() == epoch
}

// covers reports whether the lease covers a request begun in the epoch. With the
// rule broken it is what was found for the request before.
func (n *node) covers(epoch uint64) bool {
	leased, before := n.leased(epoch), n.wasLeased
	if n.wasLeased = 0; leased {
		n.wasLeased = epoch
	}
	if n.w.opt.Rules.Breaks(planted.LeaseBeforeRequest) {
		return before == epoch
	}
	return leased
}

// Item returns the committed state of a key.
func (n *node) Item(key []byte) (command.Item, error) { return n.items[string(key)], nil }

// execute executes a batch.
func (n *node) execute(op *operation, answer func([]api.Result, error)) {
	req := &request{node: n, op: op, epoch: n.servingEpoch(), answer: answer}
	if req.epoch == 0 {
		answer(nil, errNotServing)
		return
	}
	if n.w.opt.Rules.Breaks(planted.LeaseBeforeRead) {
		req.covered = n.leased(req.epoch)
	}
	n.soon(req.evaluate)
}

func (req *request) evaluate() {
	n := req.node
	clock := n.expiryNow()
	x, err := n.pending.Evaluate(req.op.batch, clock, n)
	if err != nil {
		n.w.violate(Start, "%s cannot evaluate %+v: %v", n.name, req.op.batch, err)
	}
	if len(x.Ops()) > 0 {
		pos, err := n.replica.Propose(op.Append(nil, op.Entry{Clock: clock, Ops: x.Ops()}))
		if err != nil {
			req.answer(nil, errNotServing)
			return
		}
		n.pending.Appended(&x, command.Position(pos))
		req.op.appended = append(req.op.appended, pos)
	}
	if req.x = x; x.After != 0 {
		n.wait(x.After, req)
		return
	}
	n.soon(req.cover)
}

func (n *node) wait(lsn uint64, req *request) {
	at := len(n.waiting)
	for at > 0 && n.waiting[at-1].lsn > lsn {
		at--
	}
	n.waiting = slices.Insert(n.waiting, at, waiter{lsn, req})
}

// answerThrough goes on with those who waited for entries through lsn.
func (n *node) answerThrough(lsn uint64) {
	for len(n.waiting) > 0 && n.waiting[0].lsn <= lsn {
		req := n.waiting[0].req
		n.waiting = n.waiting[1:]
		if req.settled != nil {
			n.soon(req.settled)
		} else if req.x.IsRead() {
			n.soon(req.cover)
		} else {
			req.answer(req.x.Answer())
		}
	}
}

// cover answers a read once nobody else can lead the partition.
func (req *request) cover() {
	n := req.node
	if req.covered || n.covers(req.epoch) || n.w.opt.Rules.Breaks(planted.ReadWithoutLease) {
		req.answer(req.x.Answer())
		return
	}
	number, err := n.replica.Confirm()
	if err != nil {
		req.answer(nil, errNotServing)
		return
	}
	n.more = true
	n.reads = append(n.reads, ticket{number, req})
}

func (n *node) confirmed(c partition.Confirmed) {
	for len(n.reads) > 0 && n.reads[0].number <= c.Ticket {
		req := n.reads[0].req
		n.reads = n.reads[1:]
		if !c.OK {
			req.answer(nil, errNotServing)
			continue
		}
		n.w.count(confirmed)
		req.answer(req.x.Answer())
	}
}

// roleEnded answers those whose writes the next primary may or may not commit.
func (n *node) roleEnded() {
	n.pending.Clear()
	waiting := n.waiting
	n.waiting = nil
	for _, w := range waiting {
		if w.req.x.OutcomeUnknown() {
			w.req.answer(nil, errUnknown)
		} else {
			w.req.answer(nil, errNotServing)
		}
	}
}

// get reads one committed value: it is taken, and then the lease is checked.
func (n *node) get(op *operation, answer func([]api.Result, error)) {
	key := op.steps[0].Key
	epoch := n.servingEpoch()
	if epoch == 0 {
		answer(nil, errNotServing)
		return
	}
	covered := n.w.opt.Rules.Breaks(planted.LeaseBeforeRead) && n.leased(epoch)
	take := func() {
		item := n.items[string(command.UserKey(key))]
		if item.Expires != 0 && item.Expires <= n.expiryNow() {
			n.w.count(expirations)
			n.w.ambush(expiring, n)
			n.execute(op, answer)
			return
		}
		req := &request{node: n, epoch: epoch, covered: covered, answer: answer}
		req.answer = func(_ []api.Result, err error) { answer(value(item), err) }
		n.soon(req.cover)
	}
	if covered {
		n.soon(take)
		return
	}
	take()
}

// stale returns what the node has committed, whoever leads.
func (n *node) stale(key []byte) []api.Result { return value(n.items[string(command.UserKey(key))]) }

func value(item command.Item) []api.Result {
	r := api.Result{Found: item.Found, Value: item.Data}
	if item.Found {
		r.Version = item.Version.String()
	}
	return []api.Result{r}
}
