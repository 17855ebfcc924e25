package replication

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

const (
	// frameTarget is the size at which a frame is closed although more is
	// ready.
	frameTarget = 1 << 20
	// maxQueued bounds the answers that wait for a connection; what is over
	// is dropped, which the protocol allows.
	maxQueued = 64 << 10
	// flushRounds is how many frames one who flushes sends at most: what others
	// have flushed by then is for the sender's goroutine.
	flushRounds  = 2
	writeTimeout = 5 * time.Second
	redialMin    = 20 * time.Millisecond
	redialMax    = time.Second
)

// Source gives the sender what its partitions have for a peer. One goroutine
// at a time asks it, with no lock held.
type Source interface {
	// Next returns the next message of a partition to the peer; ok is false
	// when there is none. Unless mayWait is true it neither waits nor reads from
	// a disk: where it had to, wait is true, and nothing has been taken.
	Next(part uint32, to Peer, mayWait bool) (m partition.Message, wait, ok bool)
	// Reconnected says that messages to the peer may have been lost.
	Reconnected(to Peer)
}

// Sender sends to one peer, over one connection that it makes anew whenever
// it breaks.
//
// One goroutine sends at a time. Whoever flushes does it, as far as it needs no
// waiting: to wake another for each frame would take longer than to send it. The
// rest is for the sender's own goroutine, which may wait for the peer and for the
// disk, and which makes the connections.
type Sender struct {
	self, to Peer
	cluster  string
	addr     func() string
	source   Source
	log      *slog.Logger

	mu     sync.Mutex
	queue  []Envelope
	ready  []uint32
	marked map[uint32]struct{}
	holder holder
	// again: somebody has flushed since the holder took what there was.
	again bool
	// recalled: the goroutine wants to be the holder.
	recalled bool

	// handed tells the goroutine, once each time, that a flusher has made it the
	// holder.
	handed chan struct{} // one slot

	// The rest is the holder's.
	conn   net.Conn
	prompt *promptWriter
	buf    []byte
	rest   []byte // what conn is to take before anything else, of buf
	// What gather took last is to be filled anew.
	emptyQueue []Envelope
	emptyReady []uint32

	cancel context.CancelFunc
	done   chan struct{}
}

// holder says who may send.
type holder uint8

const (
	// byGoroutine: the sender's goroutine sends, or is about to, or connects.
	byGoroutine holder = iota
	byNobody
	byFlusher
)

// NewSender starts to connect to the peer; addr is asked for its address
// before each attempt.
func NewSender(cluster string, self, to Peer, addr func() string, source Source, log *slog.Logger) *Sender {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Sender{
		self: self, to: to, cluster: cluster, addr: addr, source: source, log: log,
		marked: map[uint32]struct{}{}, handed: make(chan struct{}, 1),
		cancel: cancel, done: make(chan struct{}),
	}
	go s.run(ctx)
	return s
}

// Send queues a message, which the next [Sender.Flush] sends. It never blocks.
func (s *Sender) Send(e Envelope) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) < maxQueued {
		s.queue = append(s.queue, e)
	}
}

// Ready marks a partition: the source has something for the peer, which the
// next [Sender.Flush] sends. It never blocks.
func (s *Sender) Ready(part uint32) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, ok := s.marked[part]; !ok {
		s.marked[part] = struct{}{}
		s.ready = append(s.ready, part)
	}
}

// Flush has everything sent that is queued or ready, together as far as it
// goes. It never blocks. It may ask the source, and so is not called under a lock
// that the source takes.
func (s *Sender) Flush() {
	if !s.begin() {
		return
	}
	for round := 1; ; round++ {
		left := s.sendPromptly()
		if s.letGo(left, round == flushRounds) {
			return
		}
	}
}

// FlushInBackground is Flush for a caller that has more urgent things to do: the
// sender's goroutine sends.
func (s *Sender) FlushInBackground() {
	if s.begin() {
		s.letGo(true, true)
	}
}

// begin reports whether the caller is to send. If another does, that one looks
// again; without a connection what there is waits for one.
func (s *Sender) begin() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.queue) == 0 && len(s.ready) == 0 {
		return false
	}
	if s.holder != byNobody {
		s.again = true
		return false
	}
	s.holder = byFlusher
	return true
}

// sendPromptly sends a frame as far as that goes without waiting, and reports
// whether something is left for the goroutine.
func (s *Sender) sendPromptly() (left bool) {
	left = s.gather(false)
	if len(s.rest) > 0 {
		s.written(s.prompt.write(s.rest))
	}
	return left || len(s.rest) > 0
}

// letGo ends the sending of a flusher. The goroutine goes on if something is left,
// if it wants to, or if the flusher has sent its last frame and others have flushed
// meanwhile. letGo returns false if they have and the flusher is to go on itself.
func (s *Sender) letGo(left, last bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case left || s.recalled || s.again && last:
		s.holder, s.recalled = byGoroutine, false
		s.handed <- struct{}{} // there is room: it is taken before the goroutine lets go
	case s.again:
		return false
	default:
		s.holder = byNobody
	}
	return true
}

// Close ends the connection and waits for the sender's goroutines.
func (s *Sender) Close() {
	s.cancel()
	<-s.done
}

// run connects and sends until it is closed.
func (s *Sender) run(ctx context.Context) {
	defer close(s.done)
	backoff, quiet := redialMin, false
	for ctx.Err() == nil {
		conn, err := dial(ctx, s.addr(), s.cluster, s.self, s.to)
		if err == nil {
			backoff, quiet = redialMin, false
			s.drop()
			s.source.Reconnected(s.to)
			err = s.stream(ctx, conn)
		}
		if ctx.Err() != nil {
			return
		}
		if !quiet {
			s.log.Warn("no replication connection", "peer", s.to.Node, "addr", s.addr(), "err", err)
			quiet = true
		}
		select {
		case <-ctx.Done():
		case <-time.After(backoff/2 + rand.N(backoff)):
		}
		backoff = min(2*backoff, redialMax)
	}
}

// drop forgets what waited for a connection: it is old.
func (s *Sender) drop() {
	s.mu.Lock()
	s.queue = nil
	s.mu.Unlock()
}

// stream sends frames until the connection breaks. The goroutine is the holder
// before and after it: no frame is made for one connection and sent over another,
// and what was lost with a connection was taken before Reconnected is called.
func (s *Sender) stream(ctx context.Context, conn net.Conn) error {
	broken := make(chan struct{})
	watched := make(chan struct{})
	go func() {
		// The peer sends nothing on this connection: a read ends with it.
		defer close(watched)
		defer close(broken)
		_, _ = io.Copy(io.Discard, conn)
	}()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer func() {
		stop()
		conn.Close()
		<-watched
	}()
	s.conn, s.prompt, s.rest = conn, newPromptWriter(conn), nil
	for {
		if err := s.sendAll(); err != nil {
			return err
		}
		select {
		case <-s.handed:
		case <-ctx.Done():
			s.recall()
			return ctx.Err()
		case <-broken:
			s.recall()
			return errors.New("closed by the peer")
		}
	}
}

// sendAll sends what was left, and then what there is until nobody has flushed
// meanwhile, and lets go.
func (s *Sender) sendAll() error {
	if err := s.writeRest(); err != nil {
		return err
	}
	for more := true; more || !s.release(); {
		more = s.gather(true)
		if err := s.writeRest(); err != nil {
			return err
		}
	}
	return nil
}

// release lets flushers send from now on, unless somebody has flushed.
func (s *Sender) release() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.again {
		return false
	}
	s.holder = byNobody
	return true
}

// recall makes the goroutine the holder. It waits for a flusher that sends, which
// waits for nothing.
func (s *Sender) recall() {
	s.mu.Lock()
	if s.holder == byNobody {
		s.holder = byGoroutine
		s.mu.Unlock()
		return
	}
	s.recalled = s.holder == byFlusher
	s.mu.Unlock()
	<-s.handed
}

// writeRest waits until the connection has taken what is left of a frame.
func (s *Sender) writeRest() error {
	if len(s.rest) == 0 {
		return nil
	}
	if err := s.conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return err
	}
	n, err := s.conn.Write(s.rest)
	s.written(n)
	return err
}

// written takes that the connection has so many bytes of the rest. It keeps no
// buffer that was needed once only.
func (s *Sender) written(n int) {
	if s.rest = s.rest[n:]; len(s.rest) > 0 {
		return
	}
	s.rest = nil
	if cap(s.buf) > 4*frameTarget {
		s.buf = nil
	}
}

// gather makes a frame of what is ready now, which is then the rest to be
// written: first the answers, then what the partitions have, as far as one frame
// goes. It reports whether something is left: there may be more, or it takes one
// who may wait.
func (s *Sender) gather(mayWait bool) (left bool) {
	s.mu.Lock()
	queue, ready := s.queue, s.ready
	s.queue, s.ready = s.emptyQueue[:0], s.emptyReady[:0]
	clear(s.marked)
	s.again = false
	s.mu.Unlock()
	buf := beginFrame(s.buf)
	empty := len(buf)
	for i := range queue {
		buf = appendMessage(buf, queue[i].Partition, &queue[i].Message)
	}
	for i, part := range ready {
		for len(buf) <= frameTarget {
			m, wait, ok := s.source.Next(part, s.to, mayWait)
			if wait {
				s.Ready(part)
				left = true
			}
			if !ok {
				break
			}
			buf = appendMessage(buf, part, &m)
		}
		if len(buf) > frameTarget {
			for _, rest := range ready[i:] {
				s.Ready(rest)
			}
			left = true
			break
		}
	}
	s.emptyQueue, s.emptyReady = recycled(queue), ready
	if s.buf = buf; len(buf) > empty {
		finishFrame(buf)
		s.rest = buf
	}
	return left
}

// keptQueue is how large a queue may have been to be used again.
const keptQueue = 1 << 10

// recycled returns an empty queue in place of one that was sent.
func recycled(queue []Envelope) []Envelope {
	if cap(queue) > keptQueue {
		return nil
	}
	clear(queue)
	return queue[:0]
}
