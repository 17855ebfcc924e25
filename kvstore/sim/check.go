package sim

import (
	"fmt"
	"maps"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// operation is one request of a client as it saw it.
type operation struct {
	key, value string
	write      bool
	unknown    bool
	call, end  time.Duration
}

type history []operation

// register is a key that is written and read; it begins empty.
var register = porcupine.Model{
	Init: func() any { return "" },
	Step: func(state, input, _ any) (bool, any) {
		if op := input.(operation); op.write {
			return true, op.value
		} else {
			return op.value == state, state
		}
	},
	DescribeOperation: func(input, _ any) string {
		op := input.(operation)
		return fmt.Sprintf("%s write=%v %q", op.key, op.write, op.value)
	},
}

// linearizable checks each key. A write of unknown outcome may take effect at
// any time after its call.
func (h history) linearizable() error {
	keys := map[string][]porcupine.Operation{}
	for i, op := range h {
		end := op.end
		if op.unknown {
			end = 1 << 62
		}
		keys[op.key] = append(keys[op.key], porcupine.Operation{ClientId: i, Input: op, Call: int64(op.call), Return: int64(end)})
	}
	for key, ops := range keys {
		if r := porcupine.CheckOperationsTimeout(register, ops, 30*time.Second); r != porcupine.Ok {
			return fmt.Errorf("history of key %q (%d operations): %s", key, len(ops), r)
		}
	}
	return nil
}

// heal ends all faults: everybody is up and reaches everybody.
func (w *world) heal() {
	w.healing = true
	clear(w.cuts)
	for _, n := range w.nodes {
		n.paused = 0
		if !n.up {
			n.start()
		}
	}
}

// checkEnd holds the healed cluster to what it promised.
func (w *world) checkEnd() {
	c := w.control
	if len(c.view.InSync) != len(w.nodes) {
		w.violate("healed, but in-sync are %v of %v", c.view.InSync, c.view.Members)
	}
	leader := w.nodes[c.nodeOf(c.view.Primary)]
	if role, epoch := leader.replica.Role(); role != partition.Serving || epoch != c.view.Epoch {
		w.violate("healed, but %s is %v of epoch %d and the map says %d", leader.name, role, epoch, c.view.Epoch)
	}
	for _, n := range w.nodes {
		if n.committed != uint64(len(w.log)) {
			w.violate("healed, but %s has committed %d of %d entries", n.name, n.committed, len(w.log))
		}
		if !maps.Equal(n.state, leader.state) || !maps.Equal(n.storage.data, leader.state) {
			w.violate("healed, but %s holds %v and %s holds %v", n.name, n.storage.data, leader.name, leader.state)
		}
	}
	for i := range w.opt.Keys {
		key := string(rune('a' + i))
		w.history = append(w.history, operation{key: key, value: leader.state[key], call: w.now, end: w.now + 1})
	}
	if err := w.history.linearizable(); err != nil {
		w.violate("%v", err)
	}
}
