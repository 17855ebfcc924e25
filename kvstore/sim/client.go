package sim

import (
	"fmt"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

// outcome is how a write ended.
type outcome uint8

const (
	done outcome = iota
	unknown
)

// client runs one operation after the other.
type client struct {
	w   *world
	id  int
	seq int
}

// act runs an operation on a key, against the node that leads or any other.
func (c *client) act() {
	w := c.w
	if w.healing {
		return
	}
	target := w.nodes[w.rng.IntN(len(w.nodes))]
	if i := w.control.nodeOf(w.control.view.Primary); w.chance(0.8) {
		target = w.nodes[i]
	}
	key := string(rune('a' + w.rng.IntN(w.opt.Keys)))
	c.seq++
	op := &operation{key: key, call: w.now}
	finished := false
	finish := func(record bool) {
		if finished {
			return
		}
		finished = true
		if record {
			op.end = w.now
			w.history = append(w.history, *op)
		}
		w.after(w.between(0, 20*time.Millisecond), c.act)
	}
	if w.chance(0.5) {
		op.write, op.value = true, fmt.Sprintf("%d.%d", c.id, c.seq)
		c.write(target, op, finish)
	} else {
		c.read(target, op, finish)
	}
}

func (c *client) write(target *node, op *operation, finish func(record bool)) {
	w := c.w
	proposed := false
	end := func(o outcome) {
		if op.unknown = o == unknown; op.unknown {
			w.result.Unknown++
		} else {
			w.result.Acked++
		}
		finish(true)
	}
	w.after(w.between(0, time.Millisecond), func() {
		target.receive(func() {
			pos, err := target.replica.Propose([]byte(op.key + op.value))
			if err != nil {
				finish(false)
				return
			}
			proposed = true
			target.waiting[pos.LSN] = func(o outcome) {
				w.after(w.between(0, time.Millisecond), func() { end(o) })
			}
		})
	})
	w.after(time.Second, func() {
		if !proposed {
			// The request may still wait in a paused process; nothing in it
			// was executed yet, but it will be.
			op.unknown = true
			finish(target.up)
			return
		}
		op.unknown = true
		finish(true)
	})
}

func (c *client) read(target *node, op *operation, finish func(record bool)) {
	w := c.w
	answer := func(value string, ok bool) {
		w.after(w.between(0, time.Millisecond), func() {
			if op.value = value; ok {
				w.result.Reads++
			}
			finish(ok)
		})
	}
	w.after(w.between(0, time.Millisecond), func() {
		target.receive(func() {
			if role, _ := target.replica.Role(); role != partition.Serving {
				answer("", false)
				return
			}
			value := target.state[op.key]
			if target.leased() || w.opt.Planted.Breaks(planted.ReadWithoutLease) {
				answer(value, true)
				return
			}
			ticket, err := target.replica.Confirm()
			if err != nil {
				answer("", false)
				return
			}
			target.reads[ticket] = func(ok bool) { answer(value, ok) }
		})
	})
	w.after(4*time.Second, func() { finish(false) })
}
