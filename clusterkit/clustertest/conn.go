package clustertest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// window is how much may be under way in one direction of a connection before
// its sender waits.
const window = 64 << 10

var (
	errReset = os.NewSyscallError("read", syscall.ECONNRESET)
	errPipe  = os.NewSyscallError("write", syscall.EPIPE)
)

// conn is one end of a connection. Its fields are guarded by the network's lock.
type conn struct {
	host          *host
	local, remote addr
	peer          *conn
	// out is the way from here to the peer.
	out way
	// received has what the peer has sent and nobody here has read.
	received []byte
	// closed: this end was closed. broken: it was reset by the end of a
	// process. The peer notices when that reaches it.
	closed, broken bool
	reads, writes  deadline
	changed        *sync.Cond
}

// newConnPair is called with the lock held.
func newConnPair(from *host, local addr, to *host, remote addr) (near, far *conn) {
	near = &conn{host: from, local: local, remote: remote, out: way{from.name, to.name}, changed: sync.NewCond(&from.network.mu)}
	far = &conn{host: to, local: remote, remote: local, out: near.out.back(), changed: sync.NewCond(&from.network.mu)}
	near.peer, far.peer = far, near
	from.conns[near], to.conns[far] = struct{}{}, struct{}{}
	return near, far
}

func (c *conn) Read(b []byte) (int, error) {
	c.host.network.mu.Lock()
	defer c.host.network.mu.Unlock()
	for {
		arrives := !c.host.network.held(c.out.back())
		switch {
		case c.broken:
			return 0, c.failed("read", errReset)
		case c.closed:
			return 0, c.failed("read", net.ErrClosed)
		case c.reads.passed():
			return 0, c.failed("read", os.ErrDeadlineExceeded)
		case len(b) == 0:
			return 0, nil
		case arrives && c.peer.broken:
			return 0, c.failed("read", errReset)
		case arrives && len(c.received) > 0:
			n := copy(b, c.received)
			c.received = c.received[n:]
			c.peer.changed.Broadcast()
			return n, nil
		case arrives && c.peer.closed:
			return 0, io.EOF
		}
		c.changed.Wait()
	}
}

func (c *conn) Write(b []byte) (int, error) {
	c.host.network.mu.Lock()
	defer c.host.network.mu.Unlock()
	written := 0
	for {
		knows := !c.host.network.held(c.out.back())
		switch {
		case c.broken:
			return written, c.failed("write", errReset)
		case c.closed:
			return written, c.failed("write", net.ErrClosed)
		case c.writes.passed():
			return written, c.failed("write", os.ErrDeadlineExceeded)
		case knows && (c.peer.closed || c.peer.broken):
			return written, c.failed("write", errPipe)
		}
		n := min(len(b)-written, window-len(c.peer.received))
		c.peer.received = append(c.peer.received, b[written:written+n]...)
		c.peer.changed.Broadcast()
		if written += n; written == len(b) {
			return written, nil
		}
		c.changed.Wait()
	}
}

func (c *conn) failed(op string, err error) error {
	return &net.OpError{Op: op, Net: c.local.Network(), Source: c.local, Addr: c.remote, Err: err}
}

func (c *conn) Close() error {
	c.host.network.mu.Lock()
	defer c.host.network.mu.Unlock()
	if c.closed {
		return c.failed("close", net.ErrClosed)
	}
	c.closed = true
	c.end()
	return nil
}

// reset breaks the connection, with the lock held.
func (c *conn) reset() {
	c.broken = true
	c.end()
}

// end is called with the lock held.
func (c *conn) end() {
	delete(c.host.conns, c)
	c.reads.stop()
	c.writes.stop()
	c.changed.Broadcast()
	c.peer.changed.Broadcast()
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

func (c *conn) SetDeadline(t time.Time) error {
	return c.setDeadlines(t, &c.reads, &c.writes)
}

func (c *conn) SetReadDeadline(t time.Time) error  { return c.setDeadlines(t, &c.reads) }
func (c *conn) SetWriteDeadline(t time.Time) error { return c.setDeadlines(t, &c.writes) }

func (c *conn) setDeadlines(t time.Time, deadlines ...*deadline) error {
	c.host.network.mu.Lock()
	defer c.host.network.mu.Unlock()
	if c.closed || c.broken {
		return c.failed("set", net.ErrClosed)
	}
	for _, d := range deadlines {
		d.set(t, c.wake)
	}
	c.changed.Broadcast()
	return nil
}

func (c *conn) wake() {
	c.host.network.mu.Lock()
	defer c.host.network.mu.Unlock()
	c.changed.Broadcast()
}

// deadline is a moment after which an operation fails; the zero value is none.
type deadline struct {
	at    time.Time
	timer *time.Timer
}

// set has wake called at the moment.
func (d *deadline) set(at time.Time, wake func()) {
	d.stop()
	d.at = at
	if !at.IsZero() {
		d.timer = time.AfterFunc(time.Until(at), wake)
	}
}

func (d *deadline) stop() {
	if d.timer != nil {
		d.timer.Stop()
	}
}

func (d *deadline) passed() bool { return !d.at.IsZero() && !time.Now().Before(d.at) }
