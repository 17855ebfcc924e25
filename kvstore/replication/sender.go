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
	maxQueued    = 64 << 10
	writeTimeout = 5 * time.Second
	redialMin    = 20 * time.Millisecond
	redialMax    = time.Second
)

// Source gives the sender what its partitions have for a peer.
type Source interface {
	// Next returns the next message of a partition to the peer, and false
	// when there is none.
	Next(part uint32, to Peer) (partition.Message, bool)
	// Reconnected says that messages to the peer may have been lost.
	Reconnected(to Peer)
}

// Sender sends to one peer, over one connection that it makes anew whenever
// it breaks.
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
	wake   chan struct{} // one slot

	// What gather took last is to be filled anew.
	emptyQueue []Envelope
	emptyReady []uint32

	cancel context.CancelFunc
	done   chan struct{}
}

// NewSender starts to connect to the peer; addr is asked for its address
// before each attempt.
func NewSender(cluster string, self, to Peer, addr func() string, source Source, log *slog.Logger) *Sender {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Sender{
		self: self, to: to, cluster: cluster, addr: addr, source: source, log: log,
		marked: map[uint32]struct{}{}, wake: make(chan struct{}, 1),
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
// goes. It never blocks.
func (s *Sender) Flush() {
	s.mu.Lock()
	nothing := len(s.queue) == 0 && len(s.ready) == 0
	s.mu.Unlock()
	if nothing {
		return
	}
	select {
	case s.wake <- struct{}{}:
	default:
	}
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

// stream sends frames until the connection breaks.
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
	var buf []byte
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-broken:
			return errors.New("closed by the peer")
		case <-s.wake:
		}
		for more := true; more; {
			buf = beginFrame(buf)
			empty := len(buf)
			if buf, more = s.gather(buf); len(buf) == empty {
				break
			}
			finishFrame(buf)
			if err := conn.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
				return err
			}
			if _, err := conn.Write(buf); err != nil {
				return err
			}
			if cap(buf) > 4*frameTarget {
				buf = nil
			}
		}
	}
}

// gather appends what is ready now: first the answers, then what the
// partitions have, as far as one frame goes. It reports whether there may be
// more.
func (s *Sender) gather(buf []byte) (_ []byte, more bool) {
	s.mu.Lock()
	queue, ready := s.queue, s.ready
	s.queue, s.ready = s.emptyQueue[:0], s.emptyReady[:0]
	clear(s.marked)
	s.mu.Unlock()
	for i := range queue {
		buf = appendMessage(buf, queue[i].Partition, &queue[i].Message)
	}
	for i, part := range ready {
		for len(buf) <= frameTarget {
			m, ok := s.source.Next(part, s.to)
			if !ok {
				break
			}
			buf = appendMessage(buf, part, &m)
		}
		if len(buf) > frameTarget {
			for _, rest := range ready[i:] {
				s.Ready(rest)
			}
			more = true
			break
		}
	}
	s.emptyQueue, s.emptyReady = recycled(queue), ready
	return buf, more
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
