package replication

import (
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// source holds messages by partition.
type source struct {
	// onDisk are the partitions whose messages have to be loaded.
	onDisk map[uint32]bool
	// asked, when set, is called each time before an answer is given.
	asked       func(part uint32, mayWait bool)
	reconnected chan Peer

	mu       sync.Mutex
	messages map[uint32][]partition.Message
}

func newSource() *source {
	return &source{onDisk: map[uint32]bool{}, messages: map[uint32][]partition.Message{}, reconnected: make(chan Peer, 16)}
}

func (s *source) put(envelopes ...Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, e := range envelopes {
		s.messages[e.Partition] = append(s.messages[e.Partition], e.Message)
	}
}

func (s *source) Next(part uint32, to Peer, mayWait bool) (m partition.Message, wait, ok bool) {
	if s.asked != nil {
		defer s.asked(part, mayWait)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	switch held := s.messages[part]; {
	case to != beta || len(held) == 0:
		return m, false, false
	case s.onDisk[part] && !mayWait:
		return m, true, false
	default:
		s.messages[part] = held[1:]
		return held[0], false, true
	}
}

func (s *source) Reconnected(to Peer) { s.reconnected <- to }

// startSender returns a sender from alpha that is connected to beta.
func startSender(t *testing.T, addr string, src *source) *Sender {
	t.Helper()
	s := NewSender(cluster, alpha, beta, func() string { return addr }, src, quiet())
	t.Cleanup(s.Close)
	if peer := receive(t, src.reconnected); peer != beta {
		t.Fatalf("connected to %+v", peer)
	}
	idle(t, s)
	return s
}

// idle waits until whoever flushes next is the one to send.
func idle(t *testing.T, s *Sender) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; runtime.Gosched() {
		s.mu.Lock()
		holder := s.holder
		s.mu.Unlock()
		if holder == byNobody {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the sender does not come to rest")
		}
	}
}

// numbered is a message that can be told from others.
func numbered(part uint32, round uint64) Envelope {
	return Envelope{Partition: part, Message: partition.Message{Kind: partition.Confirm, From: member(alpha, 1), To: member(beta, 1), Round: round}}
}

func TestMessagesArriveInOrder(t *testing.T) {
	const count = 1000
	got := make(chan Envelope, count)
	addr, _ := startReceiver(t, func(e Envelope) { got <- e })
	s := startSender(t, addr, newSource())
	for i := range uint64(count) {
		s.Send(numbered(3, i))
		s.Flush()
	}
	for i := range uint64(count) {
		if e := receive(t, got); e.Partition != 3 || e.Message.Round != i || e.Message.From != member(alpha, 1) || e.Message.To != member(beta, 1) {
			t.Fatalf("message %d is %+v", i, e)
		}
	}
}

// What the partitions have goes out in order, also where it takes several
// frames.
func TestReadyPullsFromTheSource(t *testing.T) {
	const count = 8
	got := make(chan Envelope, 2*count)
	addr, _ := startReceiver(t, func(e Envelope) { got <- e })
	src := newSource()
	s := startSender(t, addr, src)
	large := string(make([]byte, frameTarget/3))
	for i := range uint64(count) {
		for _, part := range []uint32{1, 2} {
			e := appendOf(part, large)
			e.Message.Round = i
			src.put(e)
		}
	}
	s.Ready(1)
	s.Ready(1) // is marked already
	s.Ready(2)
	s.Flush()
	next := map[uint32]uint64{}
	for range 2 * count {
		e := receive(t, got)
		if e.Message.Round != next[e.Partition] || len(e.Message.Entries) != 1 || len(e.Message.Entries[0].Data) != len(large) {
			t.Fatalf("partition %d: message %d arrived in place of %d", e.Partition, e.Message.Round, next[e.Partition])
		}
		next[e.Partition]++
	}
	if next[1] != count || next[2] != count {
		t.Errorf("arrived: %v", next)
	}
}

func TestReadyWithoutMessagesSendsNothing(t *testing.T) {
	got := make(chan Envelope, 1)
	addr, _ := startReceiver(t, func(e Envelope) { got <- e })
	s := startSender(t, addr, newSource())
	s.Ready(9)
	s.Send(numbered(1, 1))
	s.Flush()
	if e := receive(t, got); e.Partition != 1 {
		t.Errorf("delivered %+v", e)
	}
}

func TestSenderReconnects(t *testing.T) {
	got := make(chan Envelope, 16)
	r := NewReceiver(func() string { return cluster }, beta, each(func(e Envelope) error {
		got <- e
		return nil
	}), func(Reason) {}, quiet())
	defer r.Close()
	connections := make(chan net.Conn, 16)
	srv := httptest.NewUnstartedServer(r)
	srv.Config.ConnState = func(c net.Conn, state http.ConnState) {
		if state == http.StateHijacked {
			connections <- c
		}
	}
	srv.Start()
	defer srv.Close()
	src := newSource()
	s := startSender(t, srv.Listener.Addr().String(), src)
	for round := range uint64(3) {
		s.Send(numbered(1, round))
		s.Flush()
		if e := receive(t, got); e.Message.Round != round {
			t.Fatalf("message %d is %+v", round, e)
		}
		receive(t, connections).Close()
		if peer := receive(t, src.reconnected); peer != beta {
			t.Fatalf("reconnected to %+v", peer)
		}
	}
}

// The peer moves while the sender tries to reach it where it was.
func TestSenderFollowsTheAddress(t *testing.T) {
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	addr, _ := startReceiver(t, nothing(t))
	asked := make(chan struct{}, 1)
	moved := make(chan struct{})
	src := newSource()
	s := NewSender(cluster, alpha, beta, func() string {
		select {
		case <-moved:
			return addr
		default:
		}
		select {
		case asked <- struct{}{}:
		default:
		}
		return gone.Addr().String()
	}, src, quiet())
	defer s.Close()
	receive(t, asked)
	select {
	case <-src.reconnected:
		t.Fatal("connected to nobody")
	default:
	}
	close(moved)
	receive(t, src.reconnected)
}

// Close returns, also without a connection; that no goroutine is left is for
// TestMain to see.
func TestCloseOfASenderThatNeverConnected(t *testing.T) {
	asked := make(chan struct{}, 1)
	s := NewSender(cluster, alpha, beta, func() string {
		select {
		case asked <- struct{}{}:
		default:
		}
		return ""
	}, newSource(), quiet())
	receive(t, asked)
	s.Send(numbered(1, 1))
	s.Ready(1)
	s.Flush()
	s.Close()
}
