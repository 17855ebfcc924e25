package target

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// serve gives each connection to do, until the test ends.
func serve(t *testing.T, do func(conn net.Conn, in *bufio.Reader)) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			running.Go(func() {
				defer conn.Close()
				do(conn, bufio.NewReader(conn))
			})
		}
	})
	t.Cleanup(func() { l.Close(); running.Wait() })
	return l.Addr().String()
}

// readCommand reads a command of Redis's protocol.
func readCommand(in *bufio.Reader) ([]string, error) {
	var n int
	if _, err := fmt.Fscanf(in, "*%d\r\n", &n); err != nil {
		return nil, err
	}
	words := make([]string, n)
	for i := range words {
		var size int
		if _, err := fmt.Fscanf(in, "$%d\r\n", &size); err != nil {
			return nil, err
		}
		word := make([]byte, size+2)
		if _, err := io.ReadFull(in, word); err != nil {
			return nil, err
		}
		words[i] = string(word[:size])
	}
	return words, nil
}

// redisThat serves all slots, and answers an INCRBY by what incr returns, or ends
// the connection for "".
func redisThat(t *testing.T, incr func(nth int64) string) (addr string, received *atomic.Int64) {
	received = new(atomic.Int64)
	addr = serve(t, func(conn net.Conn, in *bufio.Reader) {
		host, port, _ := net.SplitHostPort(conn.LocalAddr().String())
		for {
			words, err := readCommand(in)
			if err != nil {
				return
			}
			answer := "-ERR unknown command\r\n"
			switch strings.ToUpper(words[0]) {
			case "SET":
				answer = "-ERR syntax error\r\n"
			case "CLUSTER":
				answer = fmt.Sprintf("*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$%d\r\n%s\r\n:%s\r\n$2\r\nid\r\n", len(host), host, port)
			case "INCRBY":
				if answer = incr(received.Add(1)); answer == "" {
					return
				}
			}
			fmt.Fprint(conn, answer)
		}
	})
	return addr, received
}

// A connection that breaks after an operation was sent leaves its outcome
// unknown, and nobody sends it again.
func TestNothingIsRepeated(t *testing.T) {
	increment := Op{Kind: Increment, Key: "k", Delta: 1}
	for _, protocol := range []string{RESP, RESPCluster} {
		for answer, want := range map[string]Outcome{
			"":                            Unknown,
			"-UNKNOWN whether it was\r\n": Unknown,
			"-CLUSTERDOWN no primary\r\n": Failed,
			"-LOADING the dataset\r\n":    Failed,
			"-READONLY a replica\r\n":     Failed,
			"-ERR no\r\n":                 Failed,
			":1\r\n":                      OK,
		} {
			addr, received := redisThat(t, func(int64) string { return answer })
			store := open(t, protocol, Options{Endpoints: []string{addr}})
			_, err := store.Do(t.Context(), increment)
			if got := OutcomeOf(err); got != want || received.Load() != 1 {
				t.Errorf("%s, answer %q: %v after %d commands, want %v after one: %v", protocol, answer, got, received.Load(), want, err)
			}
		}
	}
	t.Run(HTTP, func(t *testing.T) {
		for _, op := range []Op{increment, {Kind: Set, Key: "k", Value: []byte("v")}, {Kind: Delete, Key: "k"}} {
			var received atomic.Int64
			addr := serve(t, func(_ net.Conn, in *bufio.Reader) {
				if r, err := http.ReadRequest(in); err == nil {
					_, _ = io.Copy(io.Discard, r.Body)
					received.Add(1)
				}
			})
			store := open(t, HTTP, Options{Endpoints: []string{addr, addr}})
			_, err := store.Do(t.Context(), op)
			if OutcomeOf(err) != Unknown || received.Load() != 1 {
				t.Errorf("%s: %v after %d requests: %v", op.Kind, OutcomeOf(err), received.Load(), err)
			}
		}
	})
}

func TestMovedIsFollowed(t *testing.T) {
	there, executed := redisThat(t, func(int64) string { return ":7\r\n" })
	here, asked := redisThat(t, func(int64) string { return fmt.Sprintf("-MOVED 1 %s\r\n", there) })
	store := open(t, RESPCluster, Options{Endpoints: []string{here}})
	for range 3 {
		r, err := store.Do(t.Context(), Op{Kind: Increment, Key: "k", Delta: 1})
		if err != nil || r.Number != 7 {
			t.Fatalf("%+v, %v", r, err)
		}
	}
	if executed.Load() != 3 || asked.Load() == 0 {
		t.Errorf("%d asked here, %d executed there", asked.Load(), executed.Load())
	}
	loop, asked := redisThat(t, func(int64) string { return "-MOVED 1 " + here + "\r\n" })
	store = open(t, RESPCluster, Options{Endpoints: []string{loop}})
	if _, err := store.Do(t.Context(), Op{Kind: Increment, Key: "k"}); err != nil {
		t.Errorf("moved twice: %v", err)
	}
	if asked.Load() != 1 {
		t.Errorf("%d asked in front", asked.Load())
	}
}

// A node that does not take connections costs nothing but the attempt; one whose
// answer is missing is left out for a while.
// One server is not followed to others, and says which target does that.
func TestMovedFromOneServer(t *testing.T) {
	addr, _ := redisThat(t, func(int64) string { return "-MOVED 866 127.0.0.1:1\r\n" })
	store := open(t, RESP, Options{Endpoints: []string{addr}})
	_, err := store.Do(t.Context(), Op{Kind: Increment, Key: "k", Delta: 1})
	if OutcomeOf(err) != Failed || !strings.Contains(err.Error(), RESPCluster) {
		t.Errorf("outcome %v, error %v", OutcomeOf(err), err)
	}
}

func TestHTTPLeavesOutDeadNodes(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	dead := l.Addr().String()
	l.Close()
	alive := serve(t, func(conn net.Conn, in *bufio.Reader) {
		for {
			if _, err := http.ReadRequest(in); err != nil {
				return
			}
			fmt.Fprintf(conn, "HTTP/1.1 204 No Content\r\n%s: 1.1\r\n\r\n", api.HeaderVersion)
		}
	})
	store := open(t, HTTP, Options{Endpoints: []string{dead, alive, dead}})
	for range 10 {
		if _, err := store.Do(t.Context(), Op{Kind: Set, Key: "k"}); err != nil {
			t.Fatal(err)
		}
	}
	store = newHTTP(Options{Endpoints: []string{dead}, Timeout: defaultTimeout})
	if _, err := store.Do(t.Context(), Op{Kind: Set, Key: "k"}); OutcomeOf(err) != Failed {
		t.Errorf("%v: %v", OutcomeOf(err), err)
	}
}

func TestConnectionsAreBounded(t *testing.T) {
	release := make(chan struct{})
	var under, most atomic.Int64
	m := NewMemory()
	m.Intercept = func(_ context.Context, op Op, execute func(Op) (Result, error)) (Result, error) {
		n := under.Add(1)
		defer under.Add(-1)
		for was := most.Load(); n > was && !most.CompareAndSwap(was, n); was = most.Load() {
		}
		<-release
		return execute(op)
	}
	store := &limited{m, make(chan struct{}, 3)}
	var clients sync.WaitGroup
	for range 20 {
		clients.Go(func() {
			if _, err := store.Do(t.Context(), Op{Kind: Get, Key: "k"}); err != nil {
				t.Error(err)
			}
		})
	}
	eventually(t, func() bool { return under.Load() == 3 })
	waiting, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if _, err := store.Do(waiting, Op{Kind: Set, Key: "k"}); OutcomeOf(err) != Failed {
		t.Errorf("a set without a connection: %v", err)
	}
	close(release)
	clients.Wait()
	if most.Load() != 3 {
		t.Errorf("%d at once", most.Load())
	}
}

func TestOpenRefuses(t *testing.T) {
	for _, tc := range []struct {
		protocol string
		o        Options
		want     string
	}{
		{"memcached", Options{Endpoints: []string{"127.0.0.1:1"}}, "http, client, resp, resp-cluster"},
		{HTTP, Options{}, "endpoints is empty"},
		{HTTP, Options{Endpoints: []string{"nonsense"}}, "host:port"},
		{HTTP, Options{Endpoints: []string{"127.0.0.1:1"}, Timeout: -1}, "timeout"},
		{HTTP, Options{Endpoints: []string{"127.0.0.1:1"}, Connections: -1}, "connections"},
		{RESP, Options{Endpoints: []string{"127.0.0.1:1", "127.0.0.1:2"}}, "resp-cluster"},
		{HTTP, Options{Endpoints: []string{"127.0.0.1:1", "127.0.0.1:2"}}, "127.0.0.1:2: connect: connection refused"},
		{Client, Options{Endpoints: []string{"127.0.0.1:1"}}, "does not answer"},
	} {
		if _, err := Open(t.Context(), tc.protocol, tc.o); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s %+v: %v, want %q", tc.protocol, tc.o, err, tc.want)
		}
	}
}
