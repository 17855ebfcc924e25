package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// serverID is the Raft identity of a node on one data directory. A directory
// that is lost takes the identity with it: its votes are not there to be kept.
func serverID(nodeID, dir string) string { return nodeID + "/" + dir }

// nodeIDOf returns the node ID in a serverID. What is a node ID already stays as
// it is.
func nodeIDOf(serverID string) string {
	id, _, _ := strings.Cut(serverID, "/")
	return id
}

// peerAddr is a Raft address. It carries the identity that is meant to be
// reached, so that the stream layer can check it: "serverID@host:port".
func peerAddr(id, addr string) string { return id + "@" + addr }

func splitPeerAddr(peer string) (id, addr string) {
	id, addr, found := strings.Cut(peer, "@")
	if !found {
		return "", peer
	}
	return id, addr
}

// streamKind says what is spoken on a connection after its greeting.
type streamKind byte

const (
	streamRaft    streamKind = 1
	streamControl streamKind = 2
)

const (
	streamMagic   = "CKIT"
	streamVersion = 1
	// greetingTimeout bounds the greeting on both sides.
	greetingTimeout = 2 * time.Second
	// redialDelay spaces the attempts to reach a peer that is down.
	redialDelay = 50 * time.Millisecond
	// maxRedialDelay bounds the delay when it doubles.
	maxRedialDelay = 500 * time.Millisecond
)

// greeting opens every connection between nodes. It keeps apart the nodes of
// different clusters, and a node from the ones that had its address before.
type greeting struct {
	kind    streamKind
	cluster string
	target  string
}

func (g greeting) encode() []byte {
	b := append([]byte(streamMagic), streamVersion, byte(g.kind))
	for _, s := range []string{g.cluster, g.target} {
		b = append(append(b, byte(len(s))), s...)
	}
	return b
}

func readGreeting(r io.Reader) (greeting, error) {
	var head [len(streamMagic) + 2]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return greeting{}, fmt.Errorf("read greeting: %w", err)
	}
	if string(head[:len(streamMagic)]) != streamMagic {
		return greeting{}, errors.New("read greeting: the peer does not speak this protocol")
	}
	if v := head[len(streamMagic)]; v != streamVersion {
		return greeting{}, fmt.Errorf("read greeting: protocol version %d is not known", v)
	}
	g := greeting{kind: streamKind(head[len(streamMagic)+1])}
	if g.kind != streamRaft && g.kind != streamControl {
		return g, fmt.Errorf("read greeting: stream kind %d is not known", g.kind)
	}
	for _, field := range []*string{&g.cluster, &g.target} {
		s, err := readShortString(r)
		if err != nil {
			return g, fmt.Errorf("read greeting: %w", err)
		}
		*field = s
	}
	return g, nil
}

func readShortString(r io.Reader) (string, error) {
	var length [1]byte
	if _, err := io.ReadFull(r, length[:]); err != nil {
		return "", err
	}
	s := make([]byte, length[0])
	_, err := io.ReadFull(r, s)
	return string(s), err
}

// unreachableError says that a peer could not be connected to: whatever was
// to be sent was not.
type unreachableError struct{ err error }

func (e unreachableError) Error() string { return e.err.Error() }
func (e unreachableError) Unwrap() error { return e.err }

// streams owns the port that the nodes talk on, and all its connections.
type streams struct {
	network  Network
	listener net.Listener
	self     string
	// advertised is the host:port that others are told.
	advertised string
	// cluster returns the cluster's UUID, "" while it is not known.
	cluster func() string
	// missed is told of each peer, "serverID@host:port", that could not be
	// connected to.
	missed func(peer string)

	raft, control *acceptQueue

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu    sync.Mutex
	conns map[*trackedConn]struct{}
}

func newStreams(network Network, listener net.Listener, self, advertised string, cluster func() string, missed func(peer string)) *streams {
	s := &streams{network: network, listener: listener, self: self, advertised: advertised, cluster: cluster, missed: missed, conns: make(map[*trackedConn]struct{})}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.raft, s.control = newAcceptQueue(s), newAcceptQueue(s)
	s.wg.Go(s.accept)
	return s
}

func (s *streams) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			select {
			case <-s.ctx.Done():
				return
			case <-time.After(redialDelay):
				continue
			}
		}
		tracked, ok := s.track(conn)
		if !ok {
			return
		}
		s.wg.Go(func() { s.greet(tracked) })
	}
}

// greet reads the greeting of a connection and passes the connection on.
func (s *streams) greet(conn net.Conn) {
	_ = conn.SetDeadline(time.Now().Add(greetingTimeout))
	g, err := readGreeting(conn)
	if err == nil {
		err = s.check(g)
	}
	queue := s.raft
	if g.kind == streamControl {
		queue = s.control
	}
	if err == nil && queue.ctx.Err() != nil {
		err = fmt.Errorf("%s has stopped", s.self)
	}
	if err != nil {
		reason := err.Error()
		reason = reason[:min(len(reason), 255)]
		_, _ = conn.Write(append([]byte{byte(len(reason))}, reason...))
		_ = conn.Close()
		return
	}
	if _, err := conn.Write([]byte{0}); err != nil {
		_ = conn.Close()
		return
	}
	_ = conn.SetDeadline(time.Time{})
	select {
	case queue.conns <- conn:
	case <-queue.ctx.Done():
		_ = conn.Close()
	}
}

func (s *streams) check(g greeting) error {
	switch cluster := s.cluster(); {
	case g.target != s.self:
		return fmt.Errorf("this is %s, not %s", s.self, g.target)
	case cluster == "":
		return fmt.Errorf("%s has not joined a cluster yet", s.self)
	case g.cluster != cluster:
		return fmt.Errorf("%s belongs to cluster %s, not %s", s.self, cluster, g.cluster)
	default:
		return nil
	}
}

// dial connects to a peer, "serverID@host:port". Names are resolved each time.
// The error is an unreachableError.
func (s *streams) dial(ctx context.Context, peer string, kind streamKind) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, greetingTimeout)
	defer cancel()
	conn, err := s.dialTracked(ctx, peer, kind)
	if err != nil {
		s.missed(peer)
		return nil, unreachableError{fmt.Errorf("connect to %s: %w", peer, err)}
	}
	return conn, nil
}

func (s *streams) dialTracked(ctx context.Context, peer string, kind streamKind) (net.Conn, error) {
	target, addr := splitPeerAddr(peer)
	raw, err := s.network.DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	conn, ok := s.track(raw)
	if !ok {
		return nil, net.ErrClosed
	}
	if err := s.introduce(ctx, conn, greeting{kind: kind, cluster: s.cluster(), target: target}); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return conn, nil
}

// introduce sends the greeting and waits until the peer has accepted it.
func (s *streams) introduce(ctx context.Context, conn net.Conn, g greeting) error {
	deadline, _ := ctx.Deadline()
	_ = conn.SetDeadline(deadline)
	if _, err := conn.Write(g.encode()); err != nil {
		return err
	}
	refusal, err := readShortString(conn)
	if err != nil {
		return err
	}
	if refusal != "" {
		return fmt.Errorf("refused: %s", refusal)
	}
	return conn.SetDeadline(time.Time{})
}

// track takes ownership of the connection; when the streams are closed
// already, it closes it and returns false.
func (s *streams) track(conn net.Conn) (*trackedConn, bool) {
	t := &trackedConn{Conn: conn, streams: s}
	s.mu.Lock()
	open := s.conns != nil
	if open {
		s.conns[t] = struct{}{}
	}
	s.mu.Unlock()
	if !open {
		_ = conn.Close()
	}
	return t, open
}

// close ends the listener and every connection, and waits for their greetings.
func (s *streams) close() {
	s.cancel()
	_ = s.listener.Close()
	s.mu.Lock()
	conns := s.conns
	s.conns = nil
	s.mu.Unlock()
	for c := range conns {
		_ = c.Conn.Close()
	}
	s.wg.Wait()
}

type trackedConn struct {
	net.Conn
	streams *streams
}

func (c *trackedConn) Close() error {
	c.streams.mu.Lock()
	delete(c.streams.conns, c)
	c.streams.mu.Unlock()
	return c.Conn.Close()
}

// acceptQueue is the listener of one kind of stream.
type acceptQueue struct {
	streams *streams
	conns   chan net.Conn
	// ctx ends when the queue is closed, at the latest with the streams.
	ctx    context.Context
	cancel context.CancelFunc
}

func newAcceptQueue(s *streams) *acceptQueue {
	q := &acceptQueue{streams: s, conns: make(chan net.Conn)}
	q.ctx, q.cancel = context.WithCancel(s.ctx)
	return q
}

func (q *acceptQueue) Accept() (net.Conn, error) {
	select {
	case conn := <-q.conns:
		return conn, nil
	case <-q.ctx.Done():
		return nil, net.ErrClosed
	}
}

// Close refuses further connections of this kind. The streams close those that
// there are.
func (q *acceptQueue) Close() error {
	q.cancel()
	return nil
}

// Addr is the advertised address, which is how Raft names this node.
func (q *acceptQueue) Addr() net.Addr {
	return streamAddr(peerAddr(q.streams.self, q.streams.advertised))
}

type streamAddr string

func (streamAddr) Network() string  { return "tcp" }
func (a streamAddr) String() string { return string(a) }
