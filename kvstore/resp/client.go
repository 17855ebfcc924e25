package resp

import (
	"errors"
	"io"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

const (
	// maxBegun bounds how many commands of one client are under way.
	maxBegun = 1024
	// writeAt is how much of an answer is gathered before it is sent; a longer
	// one leaves no buffer behind.
	writeAt = 64 << 10
	// visit is how many commands of one client are executed while others wait to be
	// served; so many bytes of an answer count as one more.
	visit      = 128
	visitBytes = 16 << 10
)

// errWait is returned by connections that do not wait, in place of waiting.
var errWait = errors.New("it would have to wait")

// client is one connection, and what has been asked on it. It belongs to one
// goroutine at a time: that of a loop, which serves many clients and never
// waits for one, or one of its own, which is patient.
type client struct {
	server   *Server
	conn     io.ReadWriter
	id       int64
	name     string
	in       *reader
	pipeline Pipeline
	patient  bool
	// spent is what of a visit is over.
	spent int
	// polled is what a loop knows of the client.
	polled polled

	// out are answers, of which so many bytes have been sent.
	out  []byte
	sent int
	// answers are for what is under way in the pipeline, in its order, from
	// answered on.
	answers  []answer
	answered int
	// request is scratch for the command at hand, and asked what is asked of the
	// store for it, until that is begun.
	request request
	asked   asked
	// held is a command that waits until what is under way has been answered.
	held        held
	transaction *transaction
	quit        bool
}

// answer is how a request is answered once its results are known.
type answer struct {
	met   func(dst []byte, results []api.Result) []byte
	unmet func(dst []byte) []byte
	slot  int
}

type asked struct {
	batch  api.Batch
	answer answer
}

// held is what the reader has returned.
type held struct {
	args [][]byte
	err  error
}

// need is what has to come before a client can go on.
type need int

const (
	nothing need = iota
	// input: more commands.
	input
	// room for answers on the connection.
	room
	// commit: the pipeline tells when to go on.
	commit
	// patience: a goroutine that may wait.
	patience
	// again: nothing but that others are served first.
	again
	// end of the connection.
	end
)

func newClient(s *Server, conn io.ReadWriter, id int64) *client {
	return &client{server: s, conn: conn, id: id, in: newReader(conn)}
}

// serve answers commands as far as it goes, and returns what it needs to go on.
// Commands that have arrived together are begun together and answered together.
// A patient client never needs a commit or patience, nor another visit.
func (c *client) serve() (n need) {
	c.spent = 0
	for n == nothing {
		switch {
		case c.spent >= visit && !c.patient:
			n = again
		case len(c.out) >= writeAt:
			n = c.flush()
		case len(c.asked.batch.Commands) > 0:
			n = c.carryOut()
		case c.quit:
			if n = c.flush(); n == nothing {
				n = end
			}
		default:
			n = c.next()
		}
	}
	return n
}

// next executes the next command that has arrived, or begins it.
func (c *client) next() (n need) {
	h := c.held
	if h.args == nil && h.err == nil {
		h.args, h.err = c.in.next()
	}
	switch {
	case h.err != nil:
		n = c.fail(h.err)
	case h.args != nil:
		n = c.execute(h.args)
	default:
		return c.rest()
	}
	c.spent++
	if n == nothing {
		h = held{}
	}
	c.held = h
	return n
}

// rest answers what is under way when nothing more has arrived.
func (c *client) rest() need {
	if n := c.settle(); n != nothing {
		return n
	}
	if n := c.flush(); n != nothing {
		return n
	}
	c.in.release()
	c.request.reset("")
	return input
}

// fail answers what is no command.
func (c *client) fail(err error) need {
	if n := c.settle(); n != nothing {
		return n
	}
	if fatal := protocolError(""); errors.As(err, &fatal) {
		c.out = appendError(c.out, "ERR "+fatal.Error())
		c.quit = true
	} else {
		c.refuse(refusal("ERR the command is too large"))
	}
	return nothing
}

// flush sends the answers that are ready.
func (c *client) flush() need {
	for c.sent < len(c.out) {
		n, err := c.conn.Write(c.out[c.sent:])
		c.sent += n
		c.spent += n / visitBytes
		switch {
		case errors.Is(err, errWait):
			return room
		case err != nil:
			return end
		}
	}
	if c.out, c.sent = c.out[:0], 0; cap(c.out) > writeAt {
		c.out = nil
	}
	return nothing
}

// execute executes one command, or has it asked of the store. Where it needs
// something first nothing has been done, and it is to be called again.
func (c *client) execute(args [][]byte) need {
	cmd := c.server.lookup(args[0])
	var err error
	switch {
	case cmd == nil:
		err = errUnknown(args[0])
	case !cmd.takes(len(args)):
		err = errArity(cmd.name)
	case c.transaction != nil && !cmd.ends:
		c.queue(cmd, args)
	case cmd.control != nil:
		if n := c.settle(); n != nothing {
			return n
		}
		cmd.control(c, args)
	case cmd.get && c.pipeline.Len() == 0 && c.get(args[1]):
	default:
		err = c.ask(cmd, args)
	}
	if err == nil {
		return nothing
	}
	if n := c.settle(); n != nothing {
		return n
	}
	c.refuse(err)
	return nothing
}

// get answers a get that needs no patience.
func (c *client) get(key []byte) bool {
	value, found, ok := c.pipeline.Get(key, c.patient)
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

// ask asks the store for what a command says.
func (c *client) ask(cmd *command, args [][]byte) error {
	q := &c.request
	q.reset(cmd.name)
	err := cmd.ask(q, args)
	if err == nil {
		err = q.sameSlot()
	}
	if err != nil {
		return err
	}
	c.submit(api.Batch{Commands: q.commands}, answer{met: q.answer, unmet: q.unmet})
	return nil
}

// submit has a batch begun as the next thing that is done.
func (c *client) submit(b api.Batch, a answer) {
	a.slot = clusterkit.Slot(string(b.Commands[0].Key))
	c.asked = asked{b, a}
}

// carryOut begins what is asked of the store, or executes it when that takes
// patience.
func (c *client) carryOut() need {
	if len(c.answers) == maxBegun {
		if n := c.settle(); n != nothing {
			return n
		}
	}
	switch {
	case c.pipeline.Begin(c.asked.batch, c.patient):
		c.answers = append(c.answers, c.asked.answer)
	case !c.patient:
		return patience
	default:
		if n := c.settle(); n != nothing {
			return n
		}
		results, err := c.pipeline.Execute(c.server.ctx, c.asked.batch)
		c.answer(c.asked.answer, results, err)
	}
	c.asked = asked{}
	return nothing
}

// settle answers everything that is under way.
func (c *client) settle() need {
	for ; c.answered < len(c.answers); c.answered++ {
		if len(c.out) >= writeAt {
			if n := c.flush(); n != nothing {
				return n
			}
			if c.spent >= visit && !c.patient {
				return again
			}
		}
		if !c.patient {
			switch ready, slow := c.pipeline.Ready(); {
			case slow:
				return patience
			case !ready:
				return commit
			}
		}
		results, err := c.pipeline.Wait()
		c.answer(c.answers[c.answered], results, err)
	}
	clear(c.answers)
	c.answers, c.answered = c.answers[:0], 0
	return nothing
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

// refuse answers a command that was not even begun, when nothing is under way.
func (c *client) refuse(err error) {
	if c.transaction != nil {
		c.transaction.broken = true
	}
	c.out = appendError(c.out, wording(err, 0, nil))
}
