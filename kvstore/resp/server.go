// Package resp serves the key-value store to Redis clients, in the protocol's
// version 2 and in cluster mode: keys are in 16384 slots, each slot is served by
// the primary of its partition, and other nodes answer MOVED.
//
// What differs from Redis, because the store promises more: reads are
// linearizable and come from primaries only (READONLY changes nothing); a
// transaction is executed as a whole or not at all, so an error of one of its
// commands is the error of EXEC; and a write of which nobody can say whether it
// was executed is answered with the error UNKNOWN. Errors that clients retry by
// themselves, CLUSTERDOWN and MOVED, prove that nothing was executed.
package resp

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// Service is the name under which the address of a node's server stands in
// [clusterkit.Node.Services].
const Service = "resp"

// Pipeline executes what one client sends; a [kvstore.Pipeline] is one, and says
// what its methods do.
type Pipeline interface {
	Get(key []byte, mayWait bool) (value []byte, found, ok bool)
	Begin(b api.Batch, mayWait bool) bool
	Len() int
	Ready() (ready, slow bool)
	Wait() ([]api.Result, error)
	End()
	Execute(ctx context.Context, b api.Batch) ([]api.Result, error)
}

// Turn makes the pipelines of the clients that one goroutine serves; a
// [kvstore.Turn] is one, and says what its methods do.
type Turn interface {
	NewPipeline(patience time.Duration, tell func()) Pipeline
	End()
}

// Options configure a [Server].
type Options struct {
	// Node is the ID of this node.
	Node string
	// Map returns the newest cluster map, nil before there is one. Its hash must
	// be [clusterkit.HashCRC16Slots].
	Map func() *clusterkit.Map
	// Turn returns a turn for a goroutine that serves clients. Their pipelines
	// answer within the patience.
	Turn func() Turn
	// Patience is how long a command may wait to be answered. It should be less
	// than clients wait, since they repeat what was not answered: go-redis, after
	// three seconds. Default 2.5 s.
	Patience time.Duration
	// MaxClients is how many connections may be open at once. Default 4096.
	MaxClients int
	// IdleTimeout is how long a client may send nothing. Default 15 minutes.
	IdleTimeout time.Duration
	// WriteTimeout is how long a client may take nothing of an answer. Default 30
	// s.
	WriteTimeout time.Duration
	// Logger defaults to slog.Default.
	Logger *slog.Logger
}

// Server serves Redis clients.
type Server struct {
	opts     Options
	commands map[string]*command

	// ctx ends when connections are closed that have not ended by themselves.
	ctx    context.Context
	cancel context.CancelFunc

	mu       sync.Mutex
	listener net.Listener
	clients  map[*client]struct{}
	loops    []*loop
	nextID   int64
	closing  bool
	wg       sync.WaitGroup
}

// New returns a server, to be started with [Server.Serve].
func New(o Options) *Server {
	if o.Patience == 0 {
		o.Patience = 2500 * time.Millisecond
	}
	if o.MaxClients == 0 {
		o.MaxClients = 4096
	}
	if o.IdleTimeout == 0 {
		o.IdleTimeout = 15 * time.Minute
	}
	if o.WriteTimeout == 0 {
		o.WriteTimeout = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	s := &Server{opts: o, commands: commandTable(), clients: map[*client]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// acceptAgain is how long Serve waits after a failure to accept that may pass,
// such as a lack of file descriptors.
const acceptAgain = 100 * time.Millisecond

// Serve takes clients until the listener fails or [Server.Shutdown] is called,
// and then returns nil. It closes the listener. It may be called once.
func (s *Server) Serve(l net.Listener) error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return l.Close()
	}
	if err := s.startLoops(); err != nil {
		s.mu.Unlock()
		return errors.Join(err, l.Close())
	}
	s.listener = l
	s.wg.Add(1)
	s.mu.Unlock()
	defer s.wg.Done()
	defer l.Close()
	for {
		conn, err := l.Accept()
		if err == nil {
			s.admit(conn)
			continue
		}
		if errors.Is(err, net.ErrClosed) {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.closing {
				return nil
			}
			return err
		}
		s.opts.Logger.Warn("a RESP client was not accepted", "err", err)
		select {
		case <-time.After(acceptAgain):
		case <-s.ctx.Done():
			return nil
		}
	}
}

// startLoops starts a loop for every two processors: the other is busy with what
// the clients of the first have asked for.
func (s *Server) startLoops() error {
	for range max(1, runtime.GOMAXPROCS(0)/2) {
		l, err := newLoop(s)
		if err != nil {
			return fmt.Errorf("a loop for clients: %w", err)
		}
		s.loops = append(s.loops, l)
		s.wg.Go(l.run)
	}
	return nil
}

// admit has the client served, if there is room for it.
func (s *Server) admit(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		conn.Close()
		return
	}
	if len(s.clients) >= s.opts.MaxClients {
		// The few bytes fit into the buffer of a new connection.
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, _ = conn.Write([]byte("-ERR max number of clients reached\r\n"))
		conn.Close()
		return
	}
	s.nextID++
	l := s.loops[s.nextID%int64(len(s.loops))]
	if c := l.take(conn, s.nextID); c != nil {
		s.clients[c] = struct{}{}
		return
	}
	timed := &timedConn{Conn: conn, idleTimeout: s.opts.IdleTimeout, writeTimeout: s.opts.WriteTimeout}
	c := newClient(s, timed, s.nextID)
	c.pipeline = s.opts.Turn().NewPipeline(s.opts.Patience, func() {})
	s.clients[c] = struct{}{}
	s.wg.Go(func() {
		defer s.forget(c)
		defer conn.Close()
		c.patiently()
	})
}

func (s *Server) forget(c *client) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.clients, c)
}

// Shutdown takes no more clients and no more commands, and returns when those
// under way have been answered; when ctx ends first, it closes the connections
// on them, and returns the error of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	s.mu.Lock()
	s.closing = true
	if s.listener != nil {
		s.listener.Close()
	}
	for c := range s.clients {
		if conn, ok := c.conn.(*timedConn); ok {
			conn.stop()
		}
	}
	for _, l := range s.loops {
		l.stop()
	}
	s.mu.Unlock()
	defer s.cancel()
	done := make(chan struct{})
	go func() {
		s.wg.Wait()
		close(done)
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.cancel()
	s.mu.Lock()
	for c := range s.clients {
		if conn, ok := c.conn.(*timedConn); ok {
			conn.Close()
		}
	}
	for _, l := range s.loops {
		l.kill()
	}
	s.mu.Unlock()
	<-done
	return ctx.Err()
}
