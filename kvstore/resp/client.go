package resp

import (
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

const (
	// maxBegun bounds how many commands of one client are under way.
	maxBegun = 1024
	// writeAt is how much of an answer is gathered before it is sent; a longer
	// one leaves no buffer behind.
	writeAt = 64 << 10
)

// client is one connection. Everything but stop belongs to its goroutine.
type client struct {
	server   *Server
	conn     net.Conn
	id       int64
	name     string
	in       *reader
	out      []byte
	pipeline Pipeline
	// answers are for what is under way in the pipeline, in its order.
	answers []answer
	// request is scratch for the command at hand.
	request     request
	transaction *transaction

	stopping atomic.Bool
	quit     bool
	// The deadlines of the connection were set at these times.
	readDeadline, writeDeadline time.Time
}

// answer is how a request is answered once its results are known.
type answer struct {
	met   func(dst []byte, results []api.Result) []byte
	unmet func(dst []byte) []byte
	slot  int
}

func newClient(s *Server, conn net.Conn, id int64) *client {
	return &client{server: s, conn: conn, id: id, in: newReader(conn), pipeline: s.opts.Pipeline(s.opts.Patience)}
}

// stop makes the client end as soon as what it has sent has been answered.
func (c *client) stop() {
	c.stopping.Store(true)
	_ = c.conn.SetReadDeadline(time.Unix(1, 0))
}

// serve answers commands until the connection ends. Commands that have arrived
// together are begun together and answered together.
func (c *client) serve() {
	for {
		args, err := c.in.next()
		switch fatal := protocolError(""); {
		case errors.As(err, &fatal):
			c.settle()
			c.out = appendError(c.out, "ERR "+fatal.Error())
			_ = c.flush()
			return
		case err != nil:
			c.refuse(refusal("ERR the command is too large"))
		case args != nil:
			c.execute(args)
		default:
			c.settle()
			if c.flush() != nil || c.quit || c.fill() != nil {
				return
			}
			continue
		}
		if len(c.out) >= writeAt && c.flush() != nil || c.quit {
			_ = c.flush()
			return
		}
	}
}

// fill waits for more from the client. Setting a deadline is not free, so one
// serves for many reads.
func (c *client) fill() error {
	now := time.Now()
	if idle := c.server.opts.IdleTimeout; now.Sub(c.readDeadline) > idle/8 {
		c.readDeadline = now
		if err := c.conn.SetReadDeadline(now.Add(idle)); err != nil {
			return err
		}
	}
	if c.stopping.Load() {
		return net.ErrClosed
	}
	return c.in.fill()
}

// flush sends the answers that are ready.
func (c *client) flush() error {
	if len(c.out) == 0 {
		return nil
	}
	now := time.Now()
	if timeout := c.server.opts.WriteTimeout; now.Sub(c.writeDeadline) > timeout/8 {
		c.writeDeadline = now
		if err := c.conn.SetWriteDeadline(now.Add(timeout)); err != nil {
			return err
		}
	}
	_, err := c.conn.Write(c.out)
	if c.out = c.out[:0]; cap(c.out) > writeAt {
		c.out = nil
	}
	return err
}

// execute executes one command, or begins it.
func (c *client) execute(args [][]byte) {
	cmd := c.server.lookup(args[0])
	switch {
	case cmd == nil:
		c.refuse(errUnknown(args[0]))
	case !cmd.takes(len(args)):
		c.refuse(errArity(cmd.name))
	case c.transaction != nil && !cmd.ends:
		c.queue(cmd, args)
	case cmd.control != nil:
		c.settle()
		cmd.control(c, args)
	case cmd.get && c.pipeline.Len() == 0 && c.get(args[1]):
	default:
		c.ask(cmd, args)
	}
}

// get answers a get that needs no patience.
func (c *client) get(key []byte) bool {
	value, found, ok := c.pipeline.Get(key)
	switch {
	case !ok:
		return false
	case found:
		c.out = appendBulk(c.out, value)
	default:
		c.out = appendNil(c.out)
	}
	return true
}

// ask asks the store.
func (c *client) ask(cmd *command, args [][]byte) {
	q := &c.request
	q.reset(cmd.name)
	err := cmd.ask(q, args)
	if err == nil {
		err = q.sameSlot()
	}
	if err != nil {
		c.refuse(err)
		return
	}
	c.submit(api.Batch{Commands: q.commands}, answer{met: q.answer, unmet: q.unmet})
}

// submit begins a batch, or executes it when that takes patience.
func (c *client) submit(b api.Batch, a answer) {
	if len(c.answers) == maxBegun {
		c.settle()
	}
	a.slot = clusterkit.Slot(string(b.Commands[0].Key))
	if c.pipeline.Begin(b) {
		c.answers = append(c.answers, a)
		return
	}
	c.settle()
	results, err := c.pipeline.Execute(c.server.ctx, b)
	c.answer(a, results, err)
}

// settle answers everything that is under way.
func (c *client) settle() {
	for i := range c.answers {
		results, err := c.pipeline.Wait()
		c.answer(c.answers[i], results, err)
	}
	c.answers = c.answers[:0]
}

func (c *client) answer(a answer, results []api.Result, err error) {
	switch {
	case err == nil:
		c.out = a.met(c.out, results)
	case a.unmet != nil && errors.Is(err, api.ErrConditionFailed):
		c.out = a.unmet(c.out)
	default:
		c.out = appendError(c.out, wording(err, a.slot, c.server.opts.Map()))
	}
}

// refuse answers a command that was not even begun, in its turn.
func (c *client) refuse(err error) {
	if c.transaction != nil {
		c.transaction.broken = true
	}
	c.settle()
	c.out = appendError(c.out, wording(err, 0, nil))
}
