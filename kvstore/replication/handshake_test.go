package replication

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const cluster = "5d7e1c1e"

// patience is how long a test waits for something that must happen.
const patience = 20 * time.Second

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

// serve mounts a handler on a loopback address.
func serve(t *testing.T, h http.Handler) (addr string) {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	return srv.Listener.Addr().String()
}

// startReceiver returns beta's address.
func startReceiver(t *testing.T, deliver func(Envelope)) (addr string, r *Receiver) {
	t.Helper()
	always := func(e Envelope) error {
		deliver(e)
		return nil
	}
	return startCounting(t, always, func(Reason) {})
}

// startCounting is startReceiver with all that a receiver takes.
func startCounting(t *testing.T, deliver func(Envelope) error, refused func(Reason)) (addr string, r *Receiver) {
	t.Helper()
	r = NewReceiver(func() string { return cluster }, beta, each(deliver), refused, quiet())
	t.Cleanup(r.Close)
	return serve(t, r), r
}

func nothing(t *testing.T) func(Envelope) {
	return func(e Envelope) { t.Errorf("delivered %+v", e) }
}

// wantEnd wants the other end to close the connection.
func wantEnd(t *testing.T, conn net.Conn) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if n, err := conn.Read(make([]byte, 1)); n != 0 || err == nil {
		t.Errorf("read %d bytes, want the connection to be closed", n)
	} else if timeout := net.Error(nil); errors.As(err, &timeout) && timeout.Timeout() {
		t.Error("the connection was not closed")
	}
}

func TestHandshakeIsRefusedWithTheReason(t *testing.T) {
	addr, _ := startReceiver(t, nothing(t))
	for _, tc := range []struct {
		name     string
		cluster  string
		from, to Peer
		reason   string
	}{
		{"another cluster", "77aa", alpha, beta, "of cluster " + cluster},
		{"another node", cluster, alpha, Peer{"gamma", beta.Store}, `node "beta"`},
		{"another store", cluster, alpha, Peer{beta.Node, "disk-z"}, "store disk-b"},
		{"itself", cluster, beta, beta, "another node"},
		{"nobody", cluster, Peer{}, beta, headerFromNode},
		{"no store", cluster, Peer{Node: "alpha"}, beta, headerFromStore},
	} {
		t.Run(tc.name, func(t *testing.T) {
			conn, err := dial(t.Context(), addr, tc.cluster, tc.from, tc.to)
			if err == nil {
				conn.Close()
			}
			if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), tc.reason) {
				t.Errorf("dial: %v, want ErrRefused with %q", err, tc.reason)
			} else if strings.Contains(err.Error(), "\n") {
				t.Errorf("the reason takes several lines: %q", err)
			}
		})
	}
}

func TestHandshakeWaitsForTheCluster(t *testing.T) {
	r := NewReceiver(func() string { return "" }, beta, each(ignore), func(Reason) {}, quiet())
	defer r.Close()
	_, err := dial(t.Context(), serve(t, r), cluster, alpha, beta)
	if !errors.Is(err, ErrRefused) || !strings.Contains(err.Error(), "not joined") {
		t.Errorf("dial: %v, want ErrRefused because the node has not joined", err)
	}
}

func TestEndpointSpeaksNothingElse(t *testing.T) {
	addr, _ := startReceiver(t, nothing(t))
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+addr+Path, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	defer http.DefaultClient.CloseIdleConnections()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusForbidden || !bytes.Contains(body, []byte(protocol)) {
		t.Errorf("answered %s: %s", resp.Status, body)
	}
}

// A node that accepts the connection and then says nothing must not hold up
// the sender for ever.
func TestHandshakeHasADeadline(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	conn, err := dial(ctx, l.Addr().String(), cluster, alpha, beta)
	if err == nil {
		conn.Close()
		t.Error("dial succeeded without an answer")
	}
}

func TestSecondConnectionReplacesTheFirst(t *testing.T) {
	got := make(chan Envelope, 1)
	addr, _ := startReceiver(t, func(e Envelope) { got <- e })
	first, err := dial(t.Context(), addr, cluster, alpha, beta)
	if err != nil {
		t.Fatal(err)
	}
	defer first.Close()
	second, err := dial(t.Context(), addr, cluster, alpha, beta)
	if err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	wantEnd(t, first)
	if _, err := second.Write(frameOf(appendOf(4, "data"))); err != nil {
		t.Fatal(err)
	}
	if e := receive(t, got); e.Partition != 4 {
		t.Errorf("delivered %+v", e)
	}
}

func TestConnectionEndsAtABadFrame(t *testing.T) {
	refused := make(chan Reason, 1)
	addr, _ := startCounting(t, func(e Envelope) error {
		if e.Partition == 7 {
			return Reject(BadPartition, "partition 7")
		}
		nothing(t)(e)
		return nil
	}, func(r Reason) { refused <- r })
	bad := badFrames()
	bad["refused by the node"] = badFrame{BadPartition, frameOf(appendOf(7, "data"), appendOf(8))}
	for name, bad := range bad {
		t.Run(name, func(t *testing.T) {
			conn, err := dial(t.Context(), addr, cluster, alpha, beta)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			if _, err := conn.Write(bad.frame); err != nil {
				t.Fatal(err)
			}
			wantEnd(t, conn)
			if got := receive(t, refused); got != bad.reason {
				t.Errorf("refused because of its %s, want %s", got, bad.reason)
			}
		})
	}
	if conn, err := dial(t.Context(), addr, "another cluster", alpha, beta); err == nil {
		conn.Close()
	}
	if got := receive(t, refused); got != Handshake {
		t.Errorf("a connection was refused because of its %s", got)
	}
}

// FuzzHandshake feeds both ends of a handshake with anything.
func FuzzHandshake(f *testing.F) {
	header := fmt.Sprintf("%s: %s\r\n%s: alpha\r\n%s: disk-a\r\n%s: beta\r\n%s: disk-b\r\n",
		headerCluster, cluster, headerFromNode, headerFromStore, headerToNode, headerToStore)
	f.Add([]byte("POST " + Path + " HTTP/1.1\r\nHost: b\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n" + header + "\r\n"))
	f.Add([]byte("POST " + Path + " HTTP/1.1\r\nHost: b\r\nUpgrade: clusterkit-replication/2\r\n" + header + "\r\n"))
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: " + protocol + "\r\n\r\n"))
	f.Add([]byte("HTTP/1.1 403 Forbidden\r\nContent-Length: 99999999999\r\n\r\nthis is node"))
	f.Add([]byte("HTTP/1.1 101 Switching Protocols\r\nX: " + strings.Repeat("x", maxAnswerBytes)))
	f.Fuzz(func(t *testing.T, in []byte) {
		if req, err := http.ReadRequest(bufio.NewReader(bytes.NewReader(in))); err == nil {
			w := httptest.NewRecorder()
			if _, _, from, err := accept(w, req, cluster, beta); err == nil || from == beta && w.Code != http.StatusForbidden {
				t.Errorf("a request that cannot be taken over was answered with %d, %v", w.Code, err)
			}
		}
		allowed := uint64(4*maxAnswerBytes + 4*len(in) + 64<<10)
		if used := allocated(func() { _ = greet(t.Context(), &answering{Reader: bytes.NewReader(in)}, "b:1", cluster, alpha, beta) }); used > allowed {
			t.Errorf("an answer of %d bytes made it allocate %d", len(in), used)
		}
	})
}

// answering is a connection on which somebody answers whatever is written.
type answering struct {
	net.Conn
	io.Reader
}

func (c *answering) Read(p []byte) (int, error)  { return c.Reader.Read(p) }
func (c *answering) Write(p []byte) (int, error) { return len(p), nil }
func (c *answering) SetDeadline(time.Time) error { return nil }

func TestClosedReceiverTakesNoConnection(t *testing.T) {
	addr, r := startReceiver(t, nothing(t))
	open, err := dial(t.Context(), addr, cluster, alpha, beta)
	if err != nil {
		t.Fatal(err)
	}
	defer open.Close()
	r.Close()
	wantEnd(t, open)
	late, err := dial(t.Context(), addr, cluster, alpha, beta)
	if err == nil {
		defer late.Close()
		wantEnd(t, late)
	}
}

func receive[T any](t *testing.T, ch <-chan T) (v T) {
	t.Helper()
	select {
	case v = <-ch:
	case <-time.After(patience):
		t.Fatal("nothing arrived")
	}
	return v
}
