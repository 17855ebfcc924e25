package resp

import (
	"net"
	"sync/atomic"
	"time"
)

// patiently serves a client from a goroutine of its own, where there is no loop
// that could.
func (c *client) patiently() {
	c.patient = true
	for c.serve() == input {
		if c.in.fill() != nil {
			return
		}
	}
}

// timedConn is a connection whose reads and writes end in time.
type timedConn struct {
	net.Conn
	idleTimeout, writeTimeout time.Duration
	// The deadlines were set at these times: setting one is not free, so it
	// serves for many reads.
	readDeadline, writeDeadline time.Time
	stopping                    atomic.Bool
}

func (c *timedConn) Read(b []byte) (int, error) {
	if now := time.Now(); now.Sub(c.readDeadline) > c.idleTimeout/8 {
		c.readDeadline = now
		if err := c.SetReadDeadline(now.Add(c.idleTimeout)); err != nil {
			return 0, err
		}
	}
	if c.stopping.Load() {
		return 0, net.ErrClosed
	}
	return c.Conn.Read(b)
}

func (c *timedConn) Write(b []byte) (int, error) {
	if now := time.Now(); now.Sub(c.writeDeadline) > c.writeTimeout/8 {
		c.writeDeadline = now
		if err := c.SetWriteDeadline(now.Add(c.writeTimeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(b)
}

// stop makes a client end as soon as what it has sent has been answered.
func (c *timedConn) stop() {
	c.stopping.Store(true)
	_ = c.SetReadDeadline(time.Unix(1, 0))
}
