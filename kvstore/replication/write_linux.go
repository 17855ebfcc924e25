package replication

import (
	"net"
	"syscall"
)

// promptWriter gives a socket what it takes at once. It allocates nothing for
// that; one goroutine uses it at a time.
type promptWriter struct {
	conn syscall.RawConn
	send func(fd uintptr)

	p   []byte
	n   int
	err error
}

// newPromptWriter returns a writer to conn, which takes nothing if conn is no
// socket.
func newPromptWriter(conn net.Conn) *promptWriter {
	w := &promptWriter{}
	if c, ok := conn.(syscall.Conn); ok {
		w.conn, _ = c.SyscallConn()
	}
	w.send = func(fd uintptr) {
		w.n, w.err = syscall.SendmsgN(int(fd), w.p, nil, nil, syscall.MSG_DONTWAIT|syscall.MSG_NOSIGNAL)
	}
	return w
}

// write returns how much of p the socket has taken, and never waits. Why it has
// not taken the rest, a writer that waits will learn: it may be full, or broken.
func (w *promptWriter) write(p []byte) int {
	if w.conn == nil {
		return 0
	}
	w.p = p
	// RawConn.Write would wait for another writer, and fail once the deadline of
	// an earlier one has passed.
	err := w.conn.Control(w.send)
	w.p = nil
	if err != nil || w.err != nil {
		return 0
	}
	return w.n
}
