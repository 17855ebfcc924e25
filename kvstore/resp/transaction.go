package resp

import (
	"fmt"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// transaction is what a client has queued between MULTI and EXEC. It is
// executed as one batch.
type transaction struct {
	requests []request
	// commands and bytes are what the requests come to.
	commands, bytes int
	// broken transactions had a command that was refused.
	broken bool
}

func (c *client) multi([][]byte) {
	if c.transaction != nil {
		c.out = appendError(c.out, "ERR MULTI calls can not be nested")
		return
	}
	c.transaction = &transaction{}
	c.out = appendOK(c.out)
}

func (c *client) discard([][]byte) {
	if c.transaction == nil {
		c.out = appendError(c.out, "ERR DISCARD without MULTI")
		return
	}
	c.transaction = nil
	c.out = appendOK(c.out)
}

// watch is refused: a condition on the version of a value does the same, over
// HTTP.
func (c *client) watch([][]byte) { c.refuse(refusal("ERR WATCH is not supported")) }

func (c *client) unwatch([][]byte) { c.out = appendOK(c.out) }

// queue puts a command off until EXEC.
func (c *client) queue(cmd *command, args [][]byte) {
	if err := c.enqueue(cmd, args); err != nil {
		c.refuse(err)
		return
	}
	c.out = append(c.out, "+QUEUED\r\n"...)
}

func (c *client) enqueue(cmd *command, args [][]byte) error {
	if cmd.ask == nil {
		return refusal(fmt.Sprintf("ERR '%s' is not supported in a transaction", cmd.name))
	}
	q := request{name: cmd.name}
	if err := cmd.ask(&q, clone(args)); err != nil {
		return err
	}
	if q.unmet != nil {
		return refusal("ERR conditions are not supported in a transaction: one that is not met would undo the whole of it")
	}
	t := c.transaction
	first := q.commands[0].Key
	if len(t.requests) > 0 {
		first = t.requests[0].commands[0].Key
	}
	for i := range q.commands {
		if slotOf(q.commands[i].Key) != slotOf(first) {
			return errCrossSlot
		}
		t.bytes += len(q.commands[i].Key) + len(q.commands[i].Value)
	}
	if t.commands += len(q.commands); t.commands > api.MaxBatchCommands || t.bytes > api.MaxBatchBytes {
		return refusal("ERR the transaction is too large")
	}
	if err := c.server.elsewhere(slotOf(first)); err != nil {
		return err
	}
	t.requests = append(t.requests, q)
	return nil
}

// clone copies arguments, which are valid only while they are executed.
func clone(args [][]byte) [][]byte {
	size := 0
	for _, arg := range args {
		size += len(arg)
	}
	memory, own := make([]byte, 0, size), make([][]byte, len(args))
	for i, arg := range args {
		begin := len(memory)
		memory = append(memory, arg...)
		own[i] = memory[begin:len(memory):len(memory)]
	}
	return own
}

func (c *client) exec([][]byte) {
	t := c.transaction
	c.transaction = nil
	switch {
	case t == nil:
		c.out = appendError(c.out, "ERR EXEC without MULTI")
	case t.broken:
		c.out = appendError(c.out, "EXECABORT Transaction discarded because of previous errors.")
	case len(t.requests) == 0:
		c.out = appendArray(c.out, 0)
	default:
		c.submit(t.batch(), answer{met: t.answer})
	}
}

func (t *transaction) batch() (b api.Batch) {
	b.Commands = make([]api.Command, 0, t.commands)
	for i := range t.requests {
		b.Commands = append(b.Commands, t.requests[i].commands...)
	}
	return b
}

func (t *transaction) answer(dst []byte, results []api.Result) []byte {
	dst = appendArray(dst, len(t.requests))
	for i := range t.requests {
		n := len(t.requests[i].commands)
		dst = t.requests[i].answer(dst, results[:n])
		results = results[n:]
	}
	return dst
}
