package clustertest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pair returns both ends of a connection from a to b.
func pair(t *testing.T, n *network) (near, far net.Conn) {
	t.Helper()
	a, b := n.attach("a"), n.attach("b")
	t.Cleanup(n.killAll)
	l, err := b.Listen("tcp", "b:80")
	if err != nil {
		t.Fatal(err)
	}
	if near, err = a.DialContext(t.Context(), "tcp", "b:80"); err != nil {
		t.Fatal(err)
	}
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	return near, far
}

// inBubble runs a test on a network of its own.
func inBubble(t *testing.T, test func(t *testing.T, n *network)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { test(t, newNetwork()) })
}

// arrivals has what one end of a connection reads until it fails.
func arrivals(c net.Conn) <-chan string {
	out := make(chan string, 100)
	go func() {
		defer close(out)
		b := make([]byte, 100)
		for {
			n, err := c.Read(b)
			if err != nil {
				out <- errno(err)
				return
			}
			out <- string(b[:n])
		}
	}()
	return out
}

func errno(err error) string {
	switch {
	case errors.Is(err, io.EOF):
		return "EOF"
	case errors.Is(err, syscall.ECONNRESET):
		return "reset"
	case errors.Is(err, syscall.EPIPE):
		return "broken pipe"
	case errors.Is(err, os.ErrDeadlineExceeded):
		return "deadline"
	case errors.Is(err, net.ErrClosed):
		return "closed"
	default:
		return err.Error()
	}
}

// arrived returns what has arrived when nothing moves any more.
func arrived(from <-chan string) []string {
	synctest.Wait()
	var out []string
	for {
		select {
		case s, open := <-from:
			if !open {
				return out
			}
			out = append(out, s)
		default:
			return out
		}
	}
}

func send(t *testing.T, c net.Conn, s string) {
	t.Helper()
	if _, err := c.Write([]byte(s)); err != nil {
		t.Fatalf("send %q: %v", s, err)
	}
}

func expect(t *testing.T, when string, got []string, want ...string) {
	t.Helper()
	if !slices.Equal(got, want) {
		t.Errorf("%s: %q arrived, want %q", when, got, want)
	}
}

func TestWhatIsSentArrives(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		near, far := pair(t, n)
		if near.RemoteAddr().String() != "b:80" || far.RemoteAddr().String() != near.LocalAddr().String() {
			t.Errorf("the ends are called %s and %s", near.RemoteAddr(), far.RemoteAddr())
		}
		// More than the window, so that the sender has to wait.
		sent := bytes.Repeat([]byte("0123456789"), window/5)
		go func() {
			if _, err := far.Write(sent); err != nil {
				t.Error(err)
			}
			if err := far.Close(); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		got, err := io.ReadAll(near)
		if err != nil || !bytes.Equal(got, sent) {
			t.Errorf("%d of %d bytes arrived: %v", len(got), len(sent), err)
		}
		if _, err := near.Write([]byte("x")); errno(err) != "broken pipe" {
			t.Errorf("write to an end that was closed: %v", err)
		}
		if err := errors.Join(near.Close(), near.Close()); errno(err) != "closed" {
			t.Errorf("second close: %v", err)
		}
		if _, err := near.Read(make([]byte, 1)); errno(err) != "closed" {
			t.Errorf("read after the close: %v", err)
		}
	})
}

func TestDeadlines(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		near, far := pair(t, n)
		start := time.Now()
		if err := near.SetDeadline(start.Add(time.Second)); err != nil {
			t.Fatal(err)
		}
		_, err := near.Read(make([]byte, 1))
		if errno(err) != "deadline" || time.Since(start) != time.Second {
			t.Errorf("read: %v after %s", err, time.Since(start))
		}
		_ = near.SetWriteDeadline(start.Add(3 * time.Second))
		written, err := near.Write(make([]byte, 2*window))
		if errno(err) != "deadline" || written != window || time.Since(start) != 3*time.Second {
			t.Errorf("write: %d, %v after %s", written, err, time.Since(start))
		}
		if _, err := io.ReadFull(far, make([]byte, window)); err != nil {
			t.Errorf("read of what was written in time: %v", err)
		}
		// As net/http does to end a read that is going on.
		got := arrivals(far)
		expect(t, "before the deadline", arrived(got))
		_ = far.SetReadDeadline(time.Unix(1, 0))
		expect(t, "after a deadline in the past", arrived(got), "deadline")
		_ = near.SetDeadline(time.Time{})
		send(t, far, "x")
		if _, err := near.Read(make([]byte, 1)); err != nil {
			t.Errorf("read without a deadline: %v", err)
		}
	})
}

func TestACutHoldsUpAndLosesNothing(t *testing.T) {
	for _, tt := range []struct {
		name        string
		cut         []way
		there, back bool
	}{
		{"both ways", []way{{"a", "b"}, {"b", "a"}}, false, false},
		{"one way", []way{{"a", "b"}}, false, true},
		{"elsewhere", []way{{"a", "c"}, {"c", "a"}}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, n *network) {
				near, far := pair(t, n)
				atA, atB := arrivals(near), arrivals(far)
				n.change(func() {
					for _, w := range tt.cut {
						n.cut[w] = true
					}
				})
				send(t, near, "there")
				send(t, far, "back")
				if got := len(arrived(atB)) > 0; got != tt.there {
					t.Errorf("it arrived at b: %t", got)
				}
				if got := len(arrived(atA)) > 0; got != tt.back {
					t.Errorf("it arrived at a: %t", got)
				}
				_ = near.Close()
				n.change(func() { clear(n.cut) })
				if tt.there {
					expect(t, "after the cut", arrived(atB), "EOF")
				} else {
					expect(t, "after the cut", arrived(atB), "there", "EOF")
				}
			})
		})
	}
}

func TestDialsWaitForTheEndOfACut(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		pair(t, n)
		a := n.hosts["a"]
		// The answer does not come back.
		n.change(func() { n.cut[way{"b", "a"}] = true })
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := a.DialContext(ctx, "tcp", "b:80"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("dial over a cut: %v", err)
		}
		dialled := make(chan error, 1)
		go func() {
			_, err := a.DialContext(t.Context(), "tcp", "b:80")
			dialled <- err
		}()
		synctest.Wait()
		n.change(func() { clear(n.cut) })
		if err := <-dialled; err != nil {
			t.Errorf("dial that outlasts the cut: %v", err)
		}
	})
}

func TestAPausedHostAcceptsNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		near, far := pair(t, n)
		atA, atB := arrivals(near), arrivals(far)
		n.change(func() { n.paused["b"] = true })
		send(t, near, "there")
		send(t, far, "back")
		second, err := n.hosts["a"].DialContext(t.Context(), "tcp", "b:80")
		if err != nil {
			t.Fatalf("dial: %v", err)
		}
		send(t, second, "hello")
		accepted := make(chan net.Conn, 1)
		go func() {
			if c, err := n.hosts["b"].listeners[80].Accept(); err == nil {
				accepted <- c
			}
		}()
		expect(t, "at a while b is paused", arrived(atA))
		expect(t, "at b while it is paused", arrived(atB))
		if len(accepted) > 0 {
			t.Error("a paused host has accepted a connection")
		}
		n.change(func() { delete(n.paused, "b") })
		expect(t, "at a afterwards", arrived(atA), "back")
		expect(t, "at b afterwards", arrived(atB), "there")
		expect(t, "on the new connection", arrived(arrivals(<-accepted)), "hello")
	})
}

func TestAHostThatDiesResetsItsConnections(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		near, far := pair(t, n)
		a, b := n.hosts["a"], n.hosts["b"]
		atA, atB := arrivals(near), arrivals(far)
		b.kill()
		expect(t, "at a", arrived(atA), "reset")
		expect(t, "at b", arrived(atB), "reset")
		if _, err := near.Write([]byte("x")); errno(err) != "broken pipe" {
			t.Errorf("write: %v", err)
		}
		_, err := a.DialContext(t.Context(), "tcp", "b:80")
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("dial to it: %v", err)
		}
		_, dial := b.DialContext(t.Context(), "tcp", "a:80")
		_, listen := b.Listen("tcp", ":81")
		if !errors.Is(dial, syscall.ENETDOWN) || !errors.Is(listen, syscall.ENETDOWN) {
			t.Errorf("dial and listen on it: %v, %v", dial, listen)
		}
		// Its successor has nothing of it.
		l, err := n.attach("b").Listen("tcp", ":80")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.DialContext(t.Context(), "tcp", "b:80"); err != nil {
			t.Errorf("dial to its successor: %v", err)
		}
		_ = l.Close()
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("accept after the close: %v", err)
		}
	})
}

// TestADeathIsNotSeenThroughACut kills a host that is cut off: its peers notice
// nothing, and learn of it later.
func TestADeathIsNotSeenThroughACut(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		near, _ := pair(t, n)
		atA := arrivals(near)
		n.change(func() { n.cut[way{"a", "b"}], n.cut[way{"b", "a"}] = true, true })
		n.hosts["b"].kill()
		send(t, near, "x")
		expect(t, "during the cut", arrived(atA))
		n.change(func() { clear(n.cut) })
		expect(t, "after it", arrived(atA), "reset")
	})
}

func TestNames(t *testing.T) {
	inBubble(t, func(t *testing.T, n *network) {
		pair(t, n)
		a, b := n.hosts["a"], n.hosts["b"]
		var dns *net.DNSError
		if _, err := a.DialContext(t.Context(), "tcp", "c:80"); !errors.As(err, &dns) || !dns.IsNotFound {
			t.Errorf("dial to nobody: %v", err)
		}
		for _, name := range []string{"localhost:80", "127.0.0.1:80", "[::1]:80"} {
			if _, err := a.DialContext(t.Context(), "tcp", name); !errors.Is(err, syscall.ECONNREFUSED) {
				t.Errorf("%s on a is not a itself: %v", name, err)
			}
			if _, err := b.DialContext(t.Context(), "tcp", name); err != nil {
				t.Errorf("%s on b: %v", name, err)
			}
		}
		if _, err := b.Listen("tcp", "0.0.0.0:80"); !errors.Is(err, syscall.EADDRINUSE) {
			t.Errorf("listen twice: %v", err)
		}
		free, err := b.Listen("tcp", "b:0")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := a.DialContext(t.Context(), "tcp", free.Addr().String()); err != nil {
			t.Errorf("dial to %s: %v", free.Addr(), err)
		}
		for _, address := range []string{"b", "b:x", "b:70000"} {
			_, listen := b.Listen("tcp", address)
			_, dial := a.DialContext(t.Context(), "tcp", address)
			if listen == nil || dial == nil {
				t.Errorf("%s is an address", address)
			}
		}
	})
}
