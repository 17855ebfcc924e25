package clusterkit

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/hashicorp/raft"
)

func FuzzReadGreeting(f *testing.F) {
	good := greeting{kind: streamControl, cluster: "c", target: "n1/s1"}
	f.Add(good.encode())
	f.Add([]byte(streamMagic))
	f.Add([]byte("GET / HTTP/1.1\r\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		g, err := readGreeting(bytes.NewReader(data))
		if err != nil {
			return
		}
		again, err := readGreeting(bytes.NewReader(g.encode()))
		if err != nil || again != g {
			t.Fatalf("%+v reads as %+v, %v", g, again, err)
		}
	})
}

func FuzzDecodeCommand(f *testing.F) {
	m := clusterOf(f)
	for _, c := range []command{
		register("n1", "s1", 2), renewCommand{Term: testTerm}, endSessionCommand{}, inSyncCommand{}, transferCommand{},
		desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1"}}}}, movesCommand{}, acknowledgeCommand{}, copyAnewCommand{},
	} {
		data, err := encodeCommand(c)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		c, err := decodeCommand(data)
		if err != nil {
			return
		}
		if next, _ := c.apply(m, testTerm); next == nil {
			t.Fatalf("%T lost the map", c)
		}
	})
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add(mustJSON(snapshotState{Format: snapshotFormat, Map: clusterOf(f)}))
	f.Add([]byte(`{"format":1,"map":{"nodes":null}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := decodeSnapshot(bytes.NewReader(data))
		if err == nil && s.Format != snapshotFormat {
			t.Fatalf("accepted format %d", s.Format)
		}
	})
}

func TestUnknownCommandsStopTheStateMachine(t *testing.T) {
	renew := renewCommand{Term: testTerm}
	good, err := encodeCommand(register("n9", "s9", 1))
	if err != nil {
		t.Fatal(err)
	}
	for _, data := range [][]byte{
		nil,
		{commandFormat},
		{commandFormat + 1, byte(renew.kind()), '{', '}'},
		{commandFormat, 200, '{', '}'},
		{commandFormat, byte(renew.kind()), '{'},
	} {
		var failure error
		state := &fsm{published: func(*Map, *Map) {}, failed: func(err error) { failure = err }}
		before := clusterOf(t)
		state.current.Store(before)
		state.Apply(&raft.Log{Data: data})
		if failure == nil {
			t.Errorf("%v was understood", data)
		}
		if verdict := state.Apply(&raft.Log{Data: good}).(result); verdict.Code != codeUnknown || state.Map() != before {
			t.Errorf("after %v the state machine went on: %+v", data, verdict)
		}
	}
}

// newTestStreams returns streams on a free port of loopback.
func newTestStreams(t *testing.T, self, cluster string) *streams {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := newStreams(new(tcpNetwork), l, self, l.Addr().String(), func() string { return cluster }, func(string) {})
	t.Cleanup(s.close)
	return s
}

func TestStreamsKeepStrangersOut(t *testing.T) {
	server := newTestStreams(t, "n1/s1", "ours")
	unjoined := newTestStreams(t, "n3/s3", "")
	tests := []struct {
		name    string
		client  string
		peer    string
		mention string
	}{
		{"a friend", "ours", peerAddr("n1/s1", server.advertised), ""},
		{"another cluster", "theirs", peerAddr("n1/s1", server.advertised), "belongs to cluster"},
		{"another disk was meant", "ours", peerAddr("n1/s0", server.advertised), "this is n1/s1"},
		{"a node that has not joined", "ours", peerAddr("n3/s3", unjoined.advertised), "not joined"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			client := newTestStreams(t, "n2/s2", tt.client)
			conn, err := client.dial(t.Context(), tt.peer, streamControl)
			if tt.mention != "" {
				if !errors.As(err, new(unreachableError)) || !strings.Contains(err.Error(), tt.mention) {
					t.Fatalf("got %v, want an error with %q", err, tt.mention)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			accepted, err := server.control.Accept()
			if err != nil {
				t.Fatal(err)
			}
			if _, err := conn.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			got := make([]byte, 1)
			if _, err := io.ReadFull(accepted, got); err != nil || got[0] != 'x' {
				t.Fatalf("read %q, %v", got, err)
			}
		})
	}
}

func TestStreamsCloseTheirConnections(t *testing.T) {
	server, client := newTestStreams(t, "n1/s1", "c"), newTestStreams(t, "n2/s2", "c")
	conn, err := client.dial(t.Context(), peerAddr("n1/s1", server.advertised), streamRaft)
	if err != nil {
		t.Fatal(err)
	}
	server.close()
	if _, err := server.raft.Accept(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("accept after the close: %v", err)
	}
	_ = conn.SetReadDeadline(time.Now().Add(testWait))
	if _, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("the connection outlives the streams: %v", err)
	}
	client.close()
	if _, err := client.dial(t.Context(), peerAddr("n1/s1", server.advertised), streamRaft); err == nil {
		t.Error("dialled after the close")
	}
}
