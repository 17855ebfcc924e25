package resp

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// serve runs a server in front of the store and returns its address.
func serve(t *testing.T, s *store, edit func(*Options)) (*Server, string) {
	t.Helper()
	m := testMap()
	o := Options{Node: "a", Map: func() *clusterkit.Map { return m }, Pipeline: s.pipeline, Logger: slog.New(slog.DiscardHandler)}
	if edit != nil {
		edit(&o)
	}
	server := New(o)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		if err := <-served; err != nil {
			t.Errorf("serve: %v", err)
		}
	})
	return server, l.Addr().String()
}

// talker is a client that speaks the protocol by hand.
type talker struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func dial(t *testing.T, addr string) *talker {
	t.Helper()
	conn, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	return &talker{t, conn, bufio.NewReader(conn)}
}

// encode returns a command; words are separated by spaces.
func encode(command string) string {
	words := strings.Split(command, " ")
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(words))
	for _, w := range words {
		b.WriteString(bulk(w))
	}
	return b.String()
}

func (c *talker) send(commands ...string) {
	c.t.Helper()
	var b strings.Builder
	for _, command := range commands {
		b.WriteString(encode(command))
	}
	if _, err := io.WriteString(c.conn, b.String()); err != nil {
		c.t.Fatal(err)
	}
}

// receive returns the next answer in one line: arrays in brackets, bulks in
// quotes.
func (c *talker) receive() string {
	c.t.Helper()
	line, err := c.in.ReadString('\n')
	if err != nil {
		c.t.Fatalf("no answer: %v", err)
	}
	line = strings.TrimSuffix(line, "\r\n")
	n, _ := number([]byte(line[1:]))
	switch {
	case line[0] == '$' && n >= 0:
		b := make([]byte, n+2)
		if _, err := io.ReadFull(c.in, b); err != nil {
			c.t.Fatal(err)
		}
		return fmt.Sprintf("%q", b[:n])
	case line[0] == '$' || line == "*-1":
		return "nil"
	case line[0] == '*':
		all := make([]string, n)
		for i := range all {
			all[i] = c.receive()
		}
		return "[" + strings.Join(all, " ") + "]"
	default:
		return line
	}
}

func (c *talker) want(command, answer string) {
	c.t.Helper()
	c.send(command)
	if got := c.receive(); got != answer {
		c.t.Errorf("%s: got %s, want %s", command, got, answer)
	}
}

// closed waits for the end of the connection.
func (c *talker) closed() {
	c.t.Helper()
	if b, err := io.ReadAll(c.in); err != nil || len(b) > 0 {
		c.t.Errorf("the connection is not closed: %q, %v", b, err)
	}
}

func TestPipelinedCommandsAreUnderWayTogether(t *testing.T) {
	s := newStore()
	s.commit = make(chan struct{})
	_, addr := serve(t, s, nil)
	c := dial(t, addr)
	var sent []string
	for i := range 100 {
		sent = append(sent, fmt.Sprintf("INCRBY k %d", i), "GET k")
	}
	c.send(append(sent, "PING", "GET k")...)
	for s.begun.Load() < 100 {
		select {
		case s.commit <- struct{}{}: // packets may arrive one by one
		case <-time.After(time.Millisecond):
		}
	}
	close(s.commit)
	sum := 0
	for i := range 100 {
		sum += i
		if got := c.receive(); got != fmt.Sprintf(":%d", sum) {
			t.Fatalf("increment %d: %s", i, got)
		}
		if got := c.receive(); got != fmt.Sprintf("%q", fmt.Sprint(sum)) {
			t.Fatalf("get %d: %s", i, got)
		}
	}
	if got := c.receive() + c.receive(); got != `+PONG"4950"` {
		t.Errorf("in the end: %s", got)
	}
	if s.most.Load() < 2 {
		t.Error("commands were executed one by one")
	}
}

func TestAnswersThatFillNoBuffer(t *testing.T) {
	s := newStore()
	_, addr := serve(t, s, nil)
	c := dial(t, addr)
	value := strings.Repeat("v", api.MaxValueBytes)
	c.want("SET k "+value, "+OK")
	for range 3 {
		c.send("GET k", "MGET k k k")
	}
	for range 3 {
		if got := c.receive(); len(got) != len(value)+2 {
			t.Fatalf("an answer of %d bytes", len(got))
		}
		if got := c.receive(); len(got) != 3*(len(value)+3)+1 {
			t.Fatalf("an answer of %d bytes", len(got))
		}
	}
	c.want("SET k "+value+"v", "-ERR value: 1048576 bytes, at most 1048575 are allowed")
	c.want("SET k "+value+value, "-ERR the command is too large")
	c.want("PING", "+PONG")
}

func TestProtocolErrorsEndTheConnection(t *testing.T) {
	_, addr := serve(t, newStore(), nil)
	c := dial(t, addr)
	if _, err := io.WriteString(c.conn, encode("SET k v")+"*1\r\n$-7\r\n"); err != nil {
		t.Fatal(err)
	}
	if got := c.receive() + c.receive(); got != "+OK-ERR Protocol error: invalid bulk length" {
		t.Errorf("got %s", got)
	}
	c.closed()
}

func TestTooManyClients(t *testing.T) {
	_, addr := serve(t, newStore(), func(o *Options) { o.MaxClients = 1 })
	first := dial(t, addr)
	first.want("PING", "+PONG")
	second := dial(t, addr)
	if got := second.receive(); got != "-ERR max number of clients reached" {
		t.Errorf("the second: %s", got)
	}
	second.closed()
	first.want("QUIT", "+OK")
	first.closed()
	eventually(t, "there is room for another", func() bool { // the first counts until its goroutine has ended
		third := dial(t, addr)
		third.send("PING")
		return third.receive() == "+PONG"
	})
}

// eventually waits until something is the case.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.After(patience); !ok(); {
		select {
		case <-deadline:
			t.Fatalf("it did not happen that %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

func TestIdleClients(t *testing.T) {
	_, addr := serve(t, newStore(), func(o *Options) { o.IdleTimeout = 50 * time.Millisecond })
	c := dial(t, addr)
	c.want("PING", "+PONG")
	c.closed()
}

func TestClientsThatTakeNoAnswers(t *testing.T) {
	s := newStore()
	server, addr := serve(t, s, func(o *Options) { o.WriteTimeout = 50 * time.Millisecond })
	c := dial(t, addr)
	c.want("SET k "+strings.Repeat("v", 1<<20-1), "+OK")
	go func() {
		for range 100 {
			if _, err := io.WriteString(c.conn, encode("GET k")); err != nil {
				return
			}
		}
	}()
	eventually(t, "the client is gone", func() bool {
		server.mu.Lock()
		defer server.mu.Unlock()
		return len(server.clients) == 0
	})
}

func TestShutdownAnswersWhatIsUnderWay(t *testing.T) {
	s := newStore()
	s.commit = make(chan struct{})
	server, addr := serve(t, s, nil)
	idle, busy := dial(t, addr), dial(t, addr)
	idle.want("PING", "+PONG")
	busy.send("SET k v")
	eventually(t, "the write is under way", func() bool { return s.begun.Load() == 1 })
	done := make(chan error, 1)
	go func() { done <- server.Shutdown(t.Context()) }()
	idle.closed()
	select {
	case err := <-done:
		t.Fatalf("it did not wait for the write: %v", err)
	default:
	}
	s.commit <- struct{}{}
	if got := busy.receive(); got != "+OK" {
		t.Errorf("the write: %s", got)
	}
	busy.closed()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if conn, err := net.Dial("tcp", addr); err == nil {
		conn.Close()
		t.Error("it still takes clients")
	}
}

func TestShutdownWithoutPatience(t *testing.T) {
	s := newStore()
	server, addr := serve(t, s, nil)
	c := dial(t, addr)
	c.want("SET k "+strings.Repeat("v", 1<<20-1), "+OK")
	go func() { // answers that nobody takes keep the client's goroutine
		for range 100 {
			if _, err := io.WriteString(c.conn, encode("GET k")); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	<-ctx.Done()
	if err := server.Shutdown(ctx); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("shutdown: %v", err)
	}
}
