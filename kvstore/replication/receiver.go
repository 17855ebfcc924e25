package replication

import (
	"bufio"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net"
	"net/http"
	"sync"
)

// Receiver accepts connections of peers and delivers what they send. It is an
// [http.Handler] to be mounted at [Path].
type Receiver struct {
	cluster func() string
	self    Peer
	deliver func(frame iter.Seq2[Envelope, error]) error
	refused func(Reason)
	log     *slog.Logger

	mu     sync.Mutex
	closed bool
	conns  map[Peer]net.Conn
	wg     sync.WaitGroup
}

// NewReceiver returns a receiver for the node self of the cluster whose UUID
// cluster returns, "" as long as it is not known. deliver is called by one
// goroutine for each peer, for one frame after the other; it must not block
// for long, and returns the error of a message. If it returns an error, see
// [Reject], the connection is closed. refused is called for each frame and each
// connection that is refused.
func NewReceiver(cluster func() string, self Peer, deliver func(frame iter.Seq2[Envelope, error]) error, refused func(Reason), log *slog.Logger) *Receiver {
	return &Receiver{cluster: cluster, self: self, deliver: deliver, refused: refused, log: log, conns: map[Peer]net.Conn{}}
}

// ServeHTTP takes a connection over until it breaks or the receiver closes. A
// second connection of a peer replaces the first, which must be dead.
func (r *Receiver) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	cluster := r.cluster()
	if cluster == "" {
		http.Error(w, "this node has not joined a cluster yet", http.StatusServiceUnavailable)
		return
	}
	conn, buf, from, err := accept(w, req, cluster, r.self)
	if err != nil {
		r.refused(Handshake)
		r.log.Warn("replication connection refused", "remote", req.RemoteAddr, "node", from.Node, "err", err)
		return
	}
	if !r.admit(from, conn) {
		conn.Close()
		return
	}
	defer r.wg.Done()
	// Only one that was admitted is welcome: the order in which peers learn it
	// is then the order of their connections.
	if err = welcome(conn); err == nil {
		err = r.receive(conn, buf, from)
	}
	r.dismiss(from, conn)
	if bad := (*FrameError)(nil); errors.As(err, &bad) {
		r.refused(bad.Reason)
	}
	if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		r.log.Warn("replication connection lost", "peer", from.Node, "err", err)
	}
}

func (r *Receiver) admit(from Peer, conn net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed {
		return false
	}
	if old := r.conns[from]; old != nil {
		old.Close()
	}
	r.conns[from] = conn
	r.wg.Add(1)
	return true
}

func (r *Receiver) dismiss(from Peer, conn net.Conn) {
	conn.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.conns[from] == conn {
		delete(r.conns, from)
	}
}

// receive reads frames until it fails, as it does in the end. A silent connection is no fault: a peer that leads
// nothing has nothing to say, and TCP keep-alive finds one that is gone.
func (r *Receiver) receive(conn net.Conn, buf *bufio.Reader, from Peer) error {
	in := bufio.NewReaderSize(io.MultiReader(io.LimitReader(buf, int64(buf.Buffered())), conn), 64<<10)
	for {
		body, err := readFrame(in)
		if err != nil {
			return err
		}
		if err := r.deliver(messages(body, from, r.self)); err != nil {
			return err
		}
	}
}

// Close ends all connections and waits for their goroutines.
func (r *Receiver) Close() {
	r.mu.Lock()
	r.closed = true
	for _, c := range r.conns {
		c.Close()
	}
	r.mu.Unlock()
	r.wg.Wait()
}
