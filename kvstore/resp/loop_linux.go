package resp

import (
	"errors"
	"net"
	"runtime"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// loop serves many clients from one goroutine, by a state machine each: a
// goroutine for each client would be woken and put to sleep for every command.
// It goes round: it reads what clients have sent, begins it as one turn, and
// answers what has been committed. It never waits for a disk or another node;
// clients that need that are given to a goroutine and come back.
type loop struct {
	server *Server
	poller *poller
	turn   Turn

	mu sync.Mutex
	// arrived are clients that are new or have come back, and told those whose
	// pipelines have told of something.
	arrived, told []*client
	// asleep is true while the loop waits for events, for whatever comes in, and
	// not once the poller is closed.
	asleep bool
	// stopping and killing are what the loop has been told to do, told of news
	// when it has not heard of it yet. A failed loop takes no clients.
	stopping, killing, news, failed bool

	// The rest is the goroutine's.
	clients map[int32]*client // by descriptor
	// due clients are served in this round, and leaving ones given away at its
	// end.
	due, leaving []*client
	// served and newcomers are due and arrived clients that are being dealt with.
	served, newcomers []*client
	// away is how many clients goroutines of their own have.
	away int
	// awaited is how many clients need a commit.
	awaited int
	// ending clients send no more.
	ending bool
	now    time.Time
	sweeps time.Time // the next
}

// polled is what a loop knows of a client.
type polled struct {
	*polledConn
	// need is what the client has needed since then, when so many bytes had gone
	// over its connection.
	need  need
	since time.Time
	bytes uint64
	// due, away: it is in the loop's lists.
	due, away, closed bool
	// told: it is in the loop's list of that name, and belongs to its lock.
	told bool
}

func newLoop(s *Server) (*loop, error) {
	p, err := newPoller()
	if err != nil {
		return nil, err
	}
	return &loop{server: s, poller: p, turn: s.opts.Turn(), clients: map[int32]*client{}}, nil
}

// take returns the client of a new connection, which the loop serves from now
// on, or nil if the connection is not of a kind that it can serve.
func (l *loop) take(conn net.Conn, id int64) *client {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.failed {
		return nil
	}
	fd := detach(conn)
	if fd < 0 {
		return nil
	}
	own := &polledConn{fd: fd}
	c := newClient(l.server, own, id)
	c.polled.polledConn = own
	c.pipeline = l.turn.NewPipeline(l.server.opts.Patience, func() { l.tell(c) })
	l.arrived = append(l.arrived, c)
	l.rouse()
	return c
}

// comeBack hands a client that was away to the loop's goroutine.
func (l *loop) comeBack(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.arrived = append(l.arrived, c)
	l.rouse()
}

// tell has the loop look at a client again.
func (l *loop) tell(c *client) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.polled.told {
		c.polled.told = true
		l.told = append(l.told, c)
		l.rouse()
	}
}

// rouse ends the loop's sleep; the caller holds its lock.
func (l *loop) rouse() {
	if l.asleep {
		l.asleep = false
		l.poller.wake()
	}
}

// stop has the clients end as soon as what they have sent has been answered,
// and the loop with the last of them.
func (l *loop) stop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping, l.news = true, true
	l.rouse()
}

// kill has the connections of all clients closed at once.
func (l *loop) kill() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.stopping, l.killing, l.news = true, true, true
	l.rouse()
}

// fail has all connections closed, and later clients served by goroutines.
func (l *loop) fail(err error) {
	l.mu.Lock()
	first := !l.failed
	l.failed = true
	l.mu.Unlock()
	if first {
		l.server.opts.Logger.Error("the connections of RESP clients are closed", "err", err)
		l.kill()
	}
}

// run goes round until it has been stopped and the last client has ended.
func (l *loop) run() {
	defer l.poller.close()
	for {
		events, err := l.wait()
		if err != nil {
			l.fail(err)
		}
		l.now = time.Now()
		for i := range events {
			l.hear(&events[i])
		}
		killing := l.receive()
		if l.now.After(l.sweeps) {
			l.sweep()
		}
		if l.ending {
			l.dismiss(killing)
		}
		l.serve()
		l.turn.End()
		l.give()
		if l.ending && len(l.clients) == 0 && l.away == 0 {
			return
		}
	}
}

// wait returns what has happened to connections. It waits for that, for others
// to rouse the loop, or for the next sweep, unless there is something to do.
func (l *loop) wait() ([]unix.EpollEvent, error) {
	if len(l.due) > 0 {
		return l.poller.wait(0)
	}
	events, err := l.poller.wait(0)
	if len(events) > 0 || err != nil {
		return events, err
	}
	if l.awaited > 0 || l.away > 0 {
		runtime.Gosched() // who is to answer may be waiting for this processor
	}
	timeout := l.sleep()
	events, err = l.poller.wait(timeout)
	if timeout != 0 {
		l.mu.Lock()
		l.asleep = false
		l.mu.Unlock()
	}
	return events, err
}

// sleep returns for how many milliseconds the loop may wait to be roused.
func (l *loop) sleep() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.arrived) > 0 || len(l.told) > 0 || l.news {
		return 0
	}
	l.asleep = true
	if len(l.clients) == 0 {
		return -1
	}
	return int(max(0, time.Until(l.sweeps)).Milliseconds()) + 1
}

// hear has the client served to which something has happened.
func (l *loop) hear(e *unix.EpollEvent) {
	if l.poller.woken(e) {
		return
	}
	c := l.clients[e.Fd]
	if c == nil {
		return
	}
	const over = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
	if e.Events&(unix.EPOLLIN|over) != 0 {
		c.polled.readable = true
	}
	if e.Events&over != 0 {
		c.polled.hungUp = true
	}
	l.enqueue(c)
}

// enqueue has a client served in this round.
func (l *loop) enqueue(c *client) {
	if p := &c.polled; !p.due && !p.away && !p.closed {
		p.due = true
		l.due = append(l.due, c)
	}
}

// receive takes in who has come, what pipelines have told of, and what the loop
// has been told to do.
func (l *loop) receive() (killing bool) {
	l.mu.Lock()
	l.newcomers, l.arrived = l.arrived, l.newcomers[:0]
	for _, c := range l.told {
		c.polled.told = false
		if c.polled.need == commit {
			l.enqueue(c)
		}
	}
	clear(l.told)
	l.told = l.told[:0]
	l.ending, killing, l.news = l.stopping, l.killing, false
	l.mu.Unlock()
	for _, c := range l.newcomers {
		l.welcome(c)
	}
	clear(l.newcomers)
	return killing
}

// welcome has a client served that is new, or has come back.
func (l *loop) welcome(c *client) {
	p := &c.polled
	if p.away {
		p.away = false
		l.away--
	} else {
		l.clients[int32(p.fd)] = c
		if err := l.poller.add(p.fd); err != nil {
			l.server.opts.Logger.Warn("a RESP client was not accepted", "err", err)
			l.close(c)
			return
		}
	}
	l.enqueue(c)
}

// serve serves the clients that are due, each as far as it goes without waiting
// and without keeping the others waiting.
func (l *loop) serve() {
	l.due, l.served = l.served[:0], l.due
	for _, c := range l.served {
		c.polled.due = false
		if !c.polled.closed {
			l.rest(c, l.advance(c))
		}
	}
	clear(l.served)
}

// advance serves one client, with what one read of its connection has.
func (l *loop) advance(c *client) need {
	n := c.serve()
	switch {
	case n == again:
		l.enqueue(c)
		return n
	case n == input && l.ending:
		return end
	case n != input || !c.polled.readable:
		return n
	}
	switch err := c.in.fill(); {
	case errors.Is(err, errWait):
		return input
	case err != nil:
		return end
	}
	if n = c.serve(); n == again || n == input && c.polled.readable {
		l.enqueue(c)
	}
	return n
}

// rest leaves a client that needs something.
func (l *loop) rest(c *client, n need) {
	if p := &c.polled; p.need != n || p.bytes != p.moved {
		p.since, p.bytes = l.now, p.moved
	}
	l.needs(c, n)
	switch n {
	case end:
		l.close(c)
	case patience:
		c.polled.away = true
		l.away++
		l.leaving = append(l.leaving, c)
	default:
	}
}

// needs takes what a client needs.
func (l *loop) needs(c *client, n need) {
	if c.polled.need == commit {
		l.awaited--
	}
	if n == commit {
		l.awaited++
	}
	c.polled.need = n
}

// give gives the clients that need patience to goroutines.
func (l *loop) give() {
	for i, c := range l.leaving {
		l.leaving[i] = nil
		l.server.wg.Go(func() {
			c.patient = true
			c.serve()
			c.pipeline.End()
			c.patient = false
			l.comeBack(c)
		})
	}
	l.leaving = l.leaving[:0]
}

// sweepsPerTimeout is how many sweeps there are within the shortest of the
// times that a client may take.
const sweepsPerTimeout = 25

// sweep ends what has taken too long.
func (l *loop) sweep() {
	o := &l.server.opts
	l.sweeps = l.now.Add(min(o.Patience, o.IdleTimeout, o.WriteTimeout) / sweepsPerTimeout)
	for _, c := range l.clients {
		if c.polled.away || c.polled.due {
			continue
		}
		switch waited := l.now.Sub(c.polled.since); {
		case c.polled.need == commit:
			l.enqueue(c)
		case c.polled.need == input && waited > o.IdleTimeout, c.polled.need == room && waited > o.WriteTimeout:
			l.close(c)
		}
	}
}

// dismiss closes the connections of clients that have been answered, or of all.
func (l *loop) dismiss(all bool) {
	for _, c := range l.clients {
		switch {
		case all && c.polled.away:
			// Its goroutine may be sending.
			_ = unix.Shutdown(c.polled.fd, unix.SHUT_RDWR)
		case all, c.polled.need == input && !c.polled.away:
			l.close(c)
		}
	}
}

// close ends a client. Batches of it that are under way hold on to it until they
// are committed, and so it lets go of what it has.
func (l *loop) close(c *client) {
	c.polled.closed = true
	l.needs(c, end)
	c.in, c.out, c.answers, c.pipeline, c.transaction = nil, nil, nil, nil, nil
	c.request, c.asked, c.held = request{}, asked{}, held{}
	delete(l.clients, int32(c.polled.fd))
	_ = unix.Close(c.polled.fd)
	l.server.forget(c)
}
