package resp

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// limit is how long a test waits for what must happen.
const limit = 20 * time.Second

// listener returns where a server listens.
type listener func(t *testing.T) net.Listener

func polledConns(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// plainListener has connections that no loop can serve.
type plainListener struct{ net.Listener }

func (l plainListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	return struct{ net.Conn }{conn}, err
}

// each tests clients that a loop serves, and clients with goroutines.
func each(t *testing.T, test func(t *testing.T, listen listener)) {
	t.Helper()
	t.Run("loop", func(t *testing.T) { test(t, polledConns) })
	t.Run("goroutines", func(t *testing.T) {
		test(t, func(t *testing.T) net.Listener { return plainListener{polledConns(t)} })
	})
}

// serve runs a server in front of the store and returns its address.
func serve(t *testing.T, listen listener, s *store, edit func(*Options)) (*Server, string) {
	t.Helper()
	m := testMap()
	o := Options{Node: "a", Map: func() *clusterkit.Map { return m }, Turn: s.turn, Logger: slog.New(slog.DiscardHandler)}
	if edit != nil {
		edit(&o)
	}
	server := New(o)
	l := listen(t)
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), limit)
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
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
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
	each(t, func(t *testing.T, listen listener) {
		s := newStore()
		s.commit = make(chan struct{})
		_, addr := serve(t, listen, s, nil)
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
	})
}

func TestAnswersThatFillNoBuffer(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		s := newStore()
		_, addr := serve(t, listen, s, nil)
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
	})
}

func TestProtocolErrorsEndTheConnection(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		_, addr := serve(t, listen, newStore(), nil)
		c := dial(t, addr)
		if _, err := io.WriteString(c.conn, encode("SET k v")+"*1\r\n$-7\r\n"); err != nil {
			t.Fatal(err)
		}
		if got := c.receive() + c.receive(); got != "+OK-ERR Protocol error: invalid bulk length" {
			t.Errorf("got %s", got)
		}
		c.closed()
	})
}

func TestTooManyClients(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		_, addr := serve(t, listen, newStore(), func(o *Options) { o.MaxClients = 1 })
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
	})
}

// eventually waits until something is the case.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.After(limit); !ok(); {
		select {
		case <-deadline:
			t.Fatalf("it did not happen that %s", what)
		case <-time.After(time.Millisecond):
		}
	}
}

// empty reports whether the server has no client.
func (s *Server) empty() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.clients) == 0
}

func TestIdleClients(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		_, addr := serve(t, listen, newStore(), func(o *Options) { o.IdleTimeout = 50 * time.Millisecond })
		c := dial(t, addr)
		c.want("PING", "+PONG")
		c.closed()
	})
}

func TestClientsThatTakeNoAnswers(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		s := newStore()
		server, addr := serve(t, listen, s, func(o *Options) { o.WriteTimeout = 50 * time.Millisecond })
		c := dial(t, addr)
		c.want("SET k "+strings.Repeat("v", 1<<20-1), "+OK")
		go func() {
			for range 100 {
				if _, err := io.WriteString(c.conn, encode("GET k")); err != nil {
					return
				}
			}
		}()
		eventually(t, "the client is gone", server.empty)
	})
}

func TestShutdownAnswersWhatIsUnderWay(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		s := newStore()
		s.commit = make(chan struct{})
		server, addr := serve(t, listen, s, nil)
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
	})
}

func TestShutdownWithoutPatience(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		s := newStore()
		server, addr := serve(t, listen, s, nil)
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
	})
}

// A client that needs patience keeps no other waiting.
func TestPatienceForOne(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		s := slowStore()
		s.hold = make(chan struct{})
		_, addr := serve(t, listen, s, nil)
		held, other := dial(t, addr), dial(t, addr)
		held.send("SET k v", "PING", "GET k")
		eventually(t, "the write is under way", func() bool { return s.begun.Load() == 1 })
		other.want("PING", "+PONG")
		other.want("GET absent", "nil")
		close(s.hold)
		for _, want := range []string{"+OK", "+PONG", `"v"`} {
			if got := held.receive(); got != want {
				t.Errorf("got %s, want %s", got, want)
			}
		}
	})
}

// A client that takes no answers for a while gets all of them, and keeps no
// other waiting.
func TestAnswersThatWaitForTheClient(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		_, addr := serve(t, listen, newStore(), nil)
		c, other := dial(t, addr), dial(t, addr)
		value := strings.Repeat("v", api.MaxValueBytes)
		c.want("SET k "+value, "+OK")
		const gets = 40
		sent := make(chan error, 1)
		go func() {
			_, err := io.WriteString(c.conn, strings.Repeat(encode("GET k"), gets))
			sent <- err
		}()
		for range 100 {
			other.want("STRLEN k", fmt.Sprintf(":%d", len(value)))
		}
		for range gets {
			if got := c.receive(); len(got) != len(value)+2 {
				t.Fatalf("an answer of %d bytes", len(got))
			}
		}
		if err := <-sent; err != nil {
			t.Error(err)
		}
	})
}

// What was sent before the end of the stream is answered.
func TestClientsThatSendNoMore(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		s := newStore()
		s.commit = make(chan struct{})
		_, addr := serve(t, listen, s, nil)
		c := dial(t, addr)
		c.send("SET k v", "GET k")
		if err := c.conn.(*net.TCPConn).CloseWrite(); err != nil {
			t.Fatal(err)
		}
		s.commit <- struct{}{} // of the write
		s.commit <- struct{}{} // of the read
		if got := c.receive(); got != "+OK" {
			t.Errorf("the write: %s", got)
		}
		if got := c.receive(); got != `"v"` {
			t.Errorf("the read: %s", got)
		}
		c.closed()
	})
}

// Clients come and go, also in the middle of what they have asked for.
func TestClientsComeAndGo(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		s := newStore()
		stop := s.commitAll()
		server, addr := serve(t, listen, s, nil)
		var clients sync.WaitGroup
		for who := range 8 {
			clients.Go(func() {
				for round := range 40 {
					c := dial(t, addr)
					key := fmt.Sprintf("k%d.%d", who, round)
					c.send("SET "+key+" v", "GET "+key, "INCR n"+key)
					if round%2 == 0 {
						for _, want := range []string{"+OK", `"v"`, ":1"} {
							if got := c.receive(); got != want {
								t.Errorf("got %s, want %s", got, want)
							}
						}
					}
					c.conn.Close()
				}
			})
		}
		clients.Wait()
		eventually(t, "all clients are gone", server.empty)
		stop()
	})
}

func TestShutdownOfWhatWaits(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		s := slowStore()
		s.hold = make(chan struct{})
		server, addr := serve(t, listen, s, nil)
		c := dial(t, addr)
		c.send("SET k v")
		eventually(t, "the write is under way", func() bool { return s.begun.Load() == 1 })
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		defer cancel()
		if err := server.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("shutdown: %v", err)
		}
	})
}

// A client that goes on sending does not keep a server from ending.
func TestShutdownBesideAStream(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		s := newStore()
		stop := s.commitAll()
		server, addr := serve(t, listen, s, nil)
		c := dial(t, addr)
		var both sync.WaitGroup
		both.Go(func() { _, _ = io.Copy(io.Discard, c.in) })
		both.Go(func() {
			sets := strings.Repeat(encode("SET k v"), 10)
			for {
				if _, err := io.WriteString(c.conn, sets); err != nil {
					return
				}
			}
		})
		eventually(t, "writes are under way", func() bool { return s.begun.Load() > 1000 })
		ctx, cancel := context.WithTimeout(t.Context(), limit)
		defer cancel()
		if err := server.Shutdown(ctx); err != nil {
			t.Errorf("shutdown: %v", err)
		}
		both.Wait()
		stop()
	})
}

// To go on asking is not to take answers.
func TestClientsThatAskAndTakeNoAnswers(t *testing.T) {
	each(t, func(t *testing.T, listen listener) {
		s := newStore()
		server, addr := serve(t, listen, s, func(o *Options) { o.WriteTimeout = 50 * time.Millisecond })
		c := dial(t, addr)
		c.want("SET k "+strings.Repeat("v", api.MaxValueBytes), "+OK")
		c.send(slices.Repeat([]string{"GET k"}, 100)...)
		eventually(t, "the client is gone", func() bool {
			_, _ = io.WriteString(c.conn, "\r\n")
			return server.empty()
		})
	})
}

// A client that has sent much is served bit by bit, unless it has a goroutine of
// its own.
func TestVisits(t *testing.T) {
	const pings = 3*visit + 1
	for _, tc := range []struct {
		patient bool
		visits  int
	}{{false, 4}, {true, 1}} {
		var conn bytes.Buffer
		conn.WriteString(strings.Repeat(encode("PING"), pings))
		c := newClient(New(Options{Map: func() *clusterkit.Map { return nil }}), &conn, 1)
		c.pipeline = newStore().turn().NewPipeline(0, func() {})
		c.patient = tc.patient
		if err := c.in.fill(); err != nil {
			t.Fatal(err)
		}
		visits := 1
		for c.serve() == again {
			visits++
		}
		if got := strings.Count(conn.String(), "+PONG"); visits != tc.visits || got != pings {
			t.Errorf("patient %v: %d visits, want %d; %d answers, want %d", tc.patient, visits, tc.visits, got, pings)
		}
	}
}

// Large answers that are ready together are sent bit by bit, too.
func TestVisitsOfLargeAnswers(t *testing.T) {
	const gets = 100
	value := strings.Repeat("v", 4*visitBytes)
	s := newStore()
	var conn bytes.Buffer
	c := newClient(New(Options{Map: func() *clusterkit.Map { return nil }}), &conn, 1)
	c.pipeline = s.turn().NewPipeline(0, func() {})
	if _, err := s.execute(api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: []byte("k"), Value: []byte(value)}}}); err != nil {
		t.Fatal(err)
	}
	conn.WriteString(encode("SET other v") + strings.Repeat(encode("GET k"), gets))
	if err := c.in.fill(); err != nil {
		t.Fatal(err)
	}
	visits, most, sent := 0, 0, 0
	for n := again; n == again; visits++ {
		n = c.serve()
		most, sent = max(most, conn.Len()-sent), conn.Len()
	}
	if want := len("+OK\r\n") + gets*len(bulk(value)); sent != want || visits < 4 || most > 2*visit*visitBytes {
		t.Errorf("%d bytes in %d visits, at most %d in one, want %d bytes", sent, visits, most, want)
	}
}
