package replication

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"
)

// socketPair returns both ends of a connection.
func socketPair(t *testing.T) (near, far net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if near, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { near.Close() })
	if far, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { far.Close() })
	return near, far
}

// fill writes until the socket takes no more, and returns how much it has taken.
func fill(t *testing.T, w *promptWriter, p []byte) (taken int) {
	t.Helper()
	for {
		n := w.write(p[taken:])
		if taken += n; n == 0 {
			return taken
		}
		if taken == len(p) {
			t.Fatalf("a socket takes %d bytes that nobody reads", taken)
		}
	}
}

func TestWriteNow(t *testing.T) {
	near, far := socketPair(t)
	w := newPromptWriter(near)
	// A deadline that has passed is that of another write.
	if err := near.SetWriteDeadline(time.Now().Add(-time.Second)); err != nil {
		t.Fatal(err)
	}
	sent := make([]byte, 64<<20)
	for i := range sent {
		sent[i] = byte(i * i >> 8)
	}
	begun := w.write(sent)
	if begun == 0 || begun == len(sent) {
		t.Fatalf("an empty socket takes %d of %d bytes", begun, len(sent))
	}
	taken := begun + fill(t, w, sent[begun:])
	if err := far.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, taken)
	if _, err := io.ReadFull(far, got); err != nil || !bytes.Equal(got, sent[:taken]) {
		t.Fatalf("what the socket has taken did not arrive: %v", err)
	}
	if n := w.write([]byte("more")); n != 4 {
		t.Errorf("a socket that was read takes %d of 4 bytes", n)
	}
}

func TestWriteNowIsWithoutMemory(t *testing.T) {
	near, far := socketPair(t)
	w := newPromptWriter(near)
	go func() { _, _ = io.Copy(io.Discard, far) }()
	p := make([]byte, 100)
	if n := testing.AllocsPerRun(100, func() { w.write(p) }); n > 0 {
		t.Errorf("a write makes %v allocations", n)
	}
}

func TestWriteNowToAClosedSocket(t *testing.T) {
	for _, tc := range []struct {
		name string
		end  func(near, far net.Conn)
	}{
		{"closed here", func(near, _ net.Conn) { near.Close() }},
		{"closed here while it was full", func(near, _ net.Conn) {
			fill(t, newPromptWriter(near), make([]byte, 64<<20))
			near.Close()
		}},
		{"closed by the peer", func(_, far net.Conn) { far.Close() }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			near, far := socketPair(t)
			w := newPromptWriter(near)
			tc.end(near, far)
			for deadline := time.Now().Add(patience); w.write([]byte("data")) > 0; {
				if time.Now().After(deadline) {
					t.Fatal("a closed socket takes data")
				}
			}
			if _, err := near.Write([]byte("data")); err == nil {
				t.Error("who waits learns nothing of it")
			}
		})
	}
}

// What is no socket takes nothing, and so everything is left to those who wait.
func TestWriteNowWithoutASocket(t *testing.T) {
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	if n := newPromptWriter(near).write([]byte("data")); n != 0 {
		t.Errorf("a pipe takes %d bytes", n)
	}
}
