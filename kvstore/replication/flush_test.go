package replication

import (
	"io"
	"math"
	"net"
	"net/http"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// startPeer returns the address of a beta that takes connections over and does
// nothing with them: they are the test's.
func startPeer(t *testing.T) (addr string, conns chan net.Conn) {
	t.Helper()
	conns = make(chan net.Conn, 64)
	return serve(t, http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		conn, _, _, err := accept(w, req, cluster, beta)
		if err != nil {
			t.Errorf("accept: %v", err)
			return
		}
		t.Cleanup(func() { conn.Close() })
		if err := welcome(conn); err == nil {
			conns <- conn
		}
	})), conns
}

// next reads the messages of one frame.
func next(t *testing.T, conn net.Conn) (envelopes []Envelope) {
	t.Helper()
	if err := conn.SetReadDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	body, err := readFrame(conn)
	if err != nil {
		t.Fatalf("no frame arrives: %v", err)
	}
	for e, err := range messages(body, alpha, beta) {
		if err != nil {
			t.Fatal(err)
		}
		envelopes = append(envelopes, e)
	}
	return envelopes
}

// Many flush at once: everything arrives, in order, once, over one connection.
// Some of it the sender queues, some the source has, and some it has to load.
func TestManyFlush(t *testing.T) {
	const flushers, count = 8, 1000
	var arrived [flushers]chan Envelope
	for i := range arrived {
		arrived[i] = make(chan Envelope, count)
	}
	r := NewReceiver(func() string { return cluster }, beta, each(func(e Envelope) error {
		arrived[e.Partition] <- e
		return nil
	}), func(r Reason) { t.Errorf("refused: %s", r) }, quiet())
	t.Cleanup(r.Close)
	src := newSource()
	src.onDisk[2], src.onDisk[3] = true, true
	s := startSender(t, serve(t, r), src)
	var wg sync.WaitGroup
	for part := range uint32(flushers) {
		flush := func(i uint64) {
			if e := numbered(part, i); part < 4 {
				src.put(e)
				s.Ready(part)
			} else {
				s.Send(e)
			}
			s.Flush()
		}
		arrives := func(i uint64) bool {
			select {
			case e := <-arrived[part]:
				if e.Message.Round == i {
					return true
				}
				t.Errorf("partition %d: message %d arrives in place of %d", part, e.Message.Round, i)
			case <-time.After(patience):
				t.Errorf("partition %d: message %d does not arrive", part, i)
			}
			return false
		}
		wg.Go(func() {
			if part%2 == 0 { // all that there is
				for i := range uint64(count) {
					flush(i)
				}
				for i := uint64(0); i < count && arrives(i); i++ {
				}
				return
			}
			// One after the other.
			for i := range uint64(count) {
				if flush(i); !arrives(i) {
					return
				}
			}
		})
	}
	wg.Wait()
	for part, rest := range arrived {
		if len(rest) > 0 {
			t.Errorf("partition %d: %d messages too many arrive", part, len(rest))
		}
	}
	if len(src.reconnected) > 0 {
		t.Error("the connection was made anew")
	}
}

// A peer that does not read keeps nobody who flushes, and misses nothing.
func TestFlushDoesNotWaitForThePeer(t *testing.T) {
	const count = 64
	addr, conns := startPeer(t)
	src := newSource()
	s := startSender(t, addr, src)
	conn := receive(t, conns)
	large := string(make([]byte, 256<<10))
	flushed := make(chan struct{})
	go func() {
		defer close(flushed)
		for i := range uint64(count) {
			e := appendOf(1, large)
			e.Message.Round = i
			src.put(e)
			s.Ready(1)
			s.Flush()
		}
	}()
	receive(t, flushed)
	for want := uint64(0); want < count; {
		for _, e := range next(t, conn) {
			if e.Message.Round != want || len(e.Message.Entries) != 1 || len(e.Message.Entries[0].Data) != len(large) {
				t.Fatalf("message %d arrives in place of %d", e.Message.Round, want)
			}
			want++
		}
	}
	if len(conns) > 0 {
		t.Error("the connection was made anew")
	}
}

// Connections break in the middle of a frame, while many flush. What arrives over
// the next begins with a frame.
func TestFlushWhileTheConnectionBreaks(t *testing.T) {
	addr, conns := startPeer(t)
	src := newSource()
	s := startSender(t, addr, src)
	stop := make(chan struct{})
	var flushers sync.WaitGroup
	for part := range uint32(4) {
		flushers.Go(func() {
			for i := uint64(0); ; i++ {
				select {
				case <-stop:
					return
				default:
				}
				s.Send(numbered(10+part, i))
				s.Flush()
				runtime.Gosched()
			}
		})
	}
	large := string(make([]byte, maxMessageBytes-entryCost))
	last := map[uint32]uint64{}
	for round := range uint64(5) {
		conn := receive(t, conns)
		for range 2 {
			for _, e := range next(t, conn) {
				if before, ok := last[e.Partition]; ok && e.Partition >= 10 && e.Message.Round <= before {
					t.Fatalf("partition %d: message %d arrives after %d", e.Partition, e.Message.Round, before)
				}
				last[e.Partition] = e.Message.Round
			}
		}
		for range 3 { // more than the sockets hold
			src.put(appendOf(1, large))
		}
		s.Ready(1)
		s.Flush()
		if _, err := io.CopyN(io.Discard, conn, int64(round)); err != nil {
			t.Fatal(err)
		}
		conn.Close()
		receive(t, src.reconnected)
	}
	close(stop)
	flushers.Wait()
	s.Send(numbered(9, 0))
	s.Flush()
	for conn := receive(t, conns); ; {
		for _, e := range next(t, conn) {
			if e.Partition == 9 {
				return
			}
		}
	}
}

// What is flushed while another sends leaves without another flush, whether the
// other flushes as well or is the sender's goroutine.
func TestFlushWhileAnotherSends(t *testing.T) {
	for name, byGoroutine := range map[string]bool{"a flusher": false, "the goroutine": true} {
		t.Run(name, func(t *testing.T) {
			got := make(chan Envelope, 16)
			addr, _ := startReceiver(t, func(e Envelope) { got <- e })
			src := newSource()
			src.onDisk[1] = byGoroutine
			s := startSender(t, addr, src)
			var once sync.Once
			src.asked = func(_ uint32, mayWait bool) {
				if mayWait == byGoroutine {
					once.Do(func() {
						s.Send(numbered(2, 0))
						s.Flush()
					})
				}
			}
			src.put(numbered(1, 0))
			s.Ready(1)
			s.Flush()
			for _, want := range []uint32{1, 2} {
				if e := receive(t, got); e.Partition != want {
					t.Fatalf("partition %d arrives in place of %d", e.Partition, want)
				}
			}
		})
	}
}

// When Close has returned, the source is asked no more, whoever flushes.
func TestCloseWhileManyFlush(t *testing.T) {
	addr, _ := startReceiver(t, func(Envelope) {})
	src := newSource()
	var closed atomic.Bool
	src.asked = func(uint32, bool) {
		if closed.Load() {
			t.Error("the source of a closed sender is asked")
		}
	}
	s := startSender(t, addr, src)
	begun, stop := make(chan struct{}, 4), make(chan struct{})
	var flushers sync.WaitGroup
	for part := range uint32(4) {
		flushers.Go(func() {
			for i := range uint64(math.MaxUint64) {
				src.put(numbered(part, i))
				s.Ready(part)
				s.Flush()
				if i == 100 {
					begun <- struct{}{}
				}
				select {
				case <-stop:
					return
				default:
				}
			}
		})
	}
	for range 4 {
		receive(t, begun)
	}
	s.Close()
	closed.Store(true)
	for range 100 {
		s.Ready(9)
		s.Flush()
	}
	close(stop)
	flushers.Wait()
}

// Others flush all the time: the one who sends for them is released in the end,
// and the sender's goroutine goes on.
func TestNobodySendsForOthersWithoutEnd(t *testing.T) {
	const count = 500
	got := make(chan Envelope, count)
	addr, _ := startReceiver(t, func(e Envelope) { got <- e })
	src := newSource()
	s := startSender(t, addr, src)
	flush := func(i uint64) {
		src.put(numbered(1, i))
		s.Ready(1)
		s.Flush()
	}
	// One who sends asks for a message, and whether that was the last.
	asked, flusherAsked := 0, 0
	src.asked = func(_ uint32, mayWait bool) {
		if !mayWait {
			flusherAsked++
		}
		if asked++; asked%2 == 0 && asked < 2*count {
			flush(uint64(asked / 2))
		}
	}
	flush(0)
	for i := range uint64(count) {
		if e := receive(t, got); e.Message.Round != i {
			t.Fatalf("message %d arrives in place of %d", e.Message.Round, i)
		}
	}
	idle(t, s)
	if flusherAsked != 2*flushRounds {
		t.Errorf("the one who flushed first has asked %d times, want %d", flusherAsked, 2*flushRounds)
	}
}

// Who has more urgent things to do has the sender's goroutine ask and send.
func TestFlushInBackground(t *testing.T) {
	got := make(chan Envelope, 1)
	addr, _ := startReceiver(t, func(e Envelope) { got <- e })
	src := newSource()
	s := startSender(t, addr, src)
	var prompt atomic.Int64
	src.asked = func(_ uint32, mayWait bool) {
		if !mayWait {
			prompt.Add(1)
		}
	}
	for i := range uint64(100) {
		src.put(numbered(1, i))
		s.Ready(1)
		s.FlushInBackground()
		if e := receive(t, got); e.Message.Round != i {
			t.Fatalf("message %d arrives in place of %d", e.Message.Round, i)
		}
	}
	if n := prompt.Load(); n > 0 {
		t.Errorf("the one who flushed has asked %d times", n)
	}
}
