package resp

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// maxEvents is how many sockets one call tells of.
const maxEvents = 256

// poller tells which sockets have become readable or writable.
type poller struct {
	fd     int
	events [maxEvents]unix.EpollEvent
	// alarm ends a call of wait.
	alarm int
}

func newPoller() (*poller, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, err
	}
	alarm, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err == nil {
		err = unix.EpollCtl(fd, unix.EPOLL_CTL_ADD, alarm, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(alarm)})
	}
	p := &poller{fd: fd, alarm: alarm}
	if err != nil {
		p.close()
		return nil, err
	}
	return p, nil
}

// add has the poller tell of a socket whenever something has changed there.
func (p *poller) add(fd int) error {
	return unix.EpollCtl(p.fd, unix.EPOLL_CTL_ADD, fd, &unix.EpollEvent{
		Events: unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET, Fd: int32(fd),
	})
}

// wait returns what has happened, and waits for it so many milliseconds, or
// without end if they are negative. The events are valid until the next call.
func (p *poller) wait(milliseconds int) ([]unix.EpollEvent, error) {
	n, err := unix.EpollWait(p.fd, p.events[:], milliseconds)
	if errors.Is(err, unix.EINTR) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return p.events[:n], nil
}

// wake ends a call of wait, this one or the next. Any goroutine may call it until
// the poller is closed.
func (p *poller) wake() {
	var one [8]byte
	binary.NativeEndian.PutUint64(one[:], 1)
	_, _ = unix.Write(p.alarm, one[:]) // one that is full is heard anyway
}

// woken reports whether the event is that of wake, which is over then.
func (p *poller) woken(e *unix.EpollEvent) bool {
	if int(e.Fd) != p.alarm {
		return false
	}
	var count [8]byte
	_, _ = unix.Read(p.alarm, count[:])
	return true
}

func (p *poller) close() {
	_ = unix.Close(p.alarm)
	_ = unix.Close(p.fd)
}

// polledConn is a connection that never waits.
type polledConn struct {
	fd int
	// readable is false when all that had come was read; hungUp is true when no
	// more comes.
	readable, hungUp bool
	// moved is how many bytes have been read and written.
	moved uint64
}

// detach takes a connection from Go's own poller, which would otherwise hear of
// all that happens to it, and closes it. It returns -1 for one without a
// descriptor.
func detach(conn net.Conn) int {
	s, ok := conn.(syscall.Conn)
	if !ok {
		return -1
	}
	raw, err := s.SyscallConn()
	if err != nil {
		return -1
	}
	own := -1
	err = raw.Control(func(fd uintptr) {
		if dup, err := unix.FcntlInt(fd, unix.F_DUPFD_CLOEXEC, 0); err == nil {
			own = dup
		}
	})
	if err != nil || own < 0 {
		return -1
	}
	conn.Close()
	return own
}

// transfer reads or writes without telling Go's scheduler, which would get ready
// for a call that takes long: a polled connection never waits.
func transfer(call uintptr, fd int, b []byte) (int, error) {
	n, _, errno := unix.RawSyscall(call, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// Read returns errWait when nothing has come.
func (c *polledConn) Read(b []byte) (int, error) {
	for {
		n, err := transfer(unix.SYS_READ, c.fd, b)
		switch {
		case n > 0:
			c.moved += uint64(n)
			// The end of the stream may have been told of with what came before.
			c.readable = n == len(b) || c.hungUp
			return n, nil
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EAGAIN):
			c.readable = false
			return 0, errWait
		case err != nil:
			return 0, err
		default:
			return 0, io.EOF
		}
	}
}

// Write returns errWait when the connection takes no more.
func (c *polledConn) Write(b []byte) (int, error) {
	for {
		n, err := transfer(unix.SYS_WRITE, c.fd, b)
		c.moved += uint64(n)
		switch {
		case err == nil && n == len(b):
			return n, nil
		case err == nil, errors.Is(err, unix.EAGAIN):
			return n, errWait
		case errors.Is(err, unix.EINTR):
		default:
			return n, err
		}
	}
}
