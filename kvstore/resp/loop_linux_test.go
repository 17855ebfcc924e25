package resp

import (
	"errors"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The end of a client's patience is told by nobody.
func TestSweepsFindWhatNobodyTellsOf(t *testing.T) {
	s := newStore()
	s.commit, s.mute = make(chan struct{}), true
	_, addr := serve(t, polledConns, s, func(o *Options) { o.Patience = 100 * time.Millisecond })
	c := dial(t, addr)
	c.send("SET k v")
	s.commit <- struct{}{}
	if got := c.receive(); got != "+OK" {
		t.Errorf("got %s", got)
	}
}

func TestPollersWake(t *testing.T) {
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	p.wake()
	p.wake()
	events, err := p.wait(-1)
	if err != nil || len(events) != 1 || !p.woken(&events[0]) {
		t.Fatalf("%d events, %v", len(events), err)
	}
	if events, err = p.wait(0); err != nil || len(events) != 0 {
		t.Errorf("it is woken again: %d events, %v", len(events), err)
	}
}

// pair returns both ends of a connection, the second one polled.
func pair(t *testing.T) (*net.TCPConn, *polledConn) {
	t.Helper()
	l := polledConns(t)
	defer l.Close()
	there, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	here, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	fd := detach(here)
	if fd < 0 {
		t.Fatal("the connection has no descriptor")
	}
	t.Cleanup(func() {
		_ = there.Close()
		_ = unix.Close(fd)
	})
	return there.(*net.TCPConn), &polledConn{fd: fd}
}

func TestPolledConnsDoNotWait(t *testing.T) {
	there, here := pair(t)
	buf := make([]byte, 1<<20)
	if _, err := here.Read(buf); !errors.Is(err, errWait) {
		t.Errorf("read: %v", err)
	}
	sent := 0
	var err error
	for err == nil {
		var n int
		n, err = here.Write(buf)
		sent += n
	}
	if !errors.Is(err, errWait) || sent == 0 {
		t.Fatalf("%d bytes sent: %v", sent, err)
	}
	received := 0
	for received < sent {
		n, err := there.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		received += n
	}
	if err := there.Close(); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the end is seen", func() bool {
		_, err := here.Read(buf)
		return err != nil && !errors.Is(err, errWait)
	})
	eventually(t, "nothing can be sent", func() bool {
		_, err := here.Write(buf[:1])
		return err != nil && !errors.Is(err, errWait)
	})
}

// Bytes and the end that arrive together are told of once.
func TestTheEndBehindShortReads(t *testing.T) {
	there, here := pair(t)
	p, err := newPoller()
	if err != nil {
		t.Fatal(err)
	}
	defer p.close()
	if _, err := there.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if err := there.CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if err := p.add(here.fd); err != nil {
		t.Fatal(err)
	}
	events, err := p.wait(-1)
	if err != nil || len(events) != 1 || events[0].Events&unix.EPOLLRDHUP == 0 {
		t.Fatalf("%v, %v", events, err)
	}
	here.hungUp = true
	if n, err := here.Read(make([]byte, 8)); n != 1 || err != nil || !here.readable {
		t.Errorf("%d, %v, readable %v", n, err, here.readable)
	}
}
