package target

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
)

// server is one server that speaks Redis's protocol.
type server struct {
	redis *redis.Client
	// ifEqual is true if SET takes a condition on the value that is there.
	ifEqual bool
}

// newServer returns the one server at the endpoint.
func newServer(ctx context.Context, o Options) (*server, error) {
	if len(o.Endpoints) > 1 {
		return nil, fmt.Errorf("target %s is one server, not %d: give one endpoint, or use target %s", RESP, len(o.Endpoints), RESPCluster)
	}
	s := dialServer(o.Endpoints[0], o)
	var err error
	if s.ifEqual, err = hasIfEqual(ctx, s.command); err != nil {
		return nil, errors.Join(fmt.Errorf("%w: %w", ErrUnreachable, err), s.Close())
	}
	return s, nil
}

// errNotConnected is in the error of an operation for which there was no
// connection.
var errNotConnected = errors.New("no connection")

// dialServer returns the server at an address without a connection. go-redis
// repeats what failed in transit by itself, up to MaxRetries times: never, here.
func dialServer(addr string, o Options) *server {
	size := o.Connections
	if size == 0 {
		size = idleUnlimited
	}
	return &server{redis: redis.NewClient(&redis.Options{
		Addr:       addr,
		MaxRetries: -1,
		Dialer: func(ctx context.Context, network, addr string) (net.Conn, error) {
			conn, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, addr)
			if err != nil {
				return nil, fmt.Errorf("%w: %w", errNotConnected, err)
			}
			return conn, nil
		},
		DialerRetries:         1,
		Protocol:              2,
		DisableIdentity:       true,
		ContextTimeoutEnabled: true,
		ReadTimeout:           o.Timeout,
		WriteTimeout:          o.Timeout,
		PoolSize:              size,
		PoolTimeout:           o.Timeout,
		ConnMaxIdleTime:       time.Minute,
	})}
}

// hasIfEqual finds out whether a server knows SET with IFEQ, with one that has no
// effect.
func hasIfEqual(ctx context.Context, command func(context.Context, string, ...any) (any, error)) (bool, error) {
	const absent = "loadtest/if-equal"
	_, err := command(ctx, absent, "SET", absent, "x", "IFEQ", "y")
	if e := redis.Error(nil); errors.As(err, &e) && !errors.Is(err, redis.Nil) {
		return false, nil
	}
	return err == nil || errors.Is(err, redis.Nil), ignoreNil(err)
}

func ignoreNil(err error) error {
	if errors.Is(err, redis.Nil) {
		return nil
	}
	return err
}

// command executes one command, which concerns a key.
func (s *server) command(ctx context.Context, _ string, args ...any) (any, error) {
	return s.redis.Do(ctx, args...).Result()
}

func (s *server) Close() error { return s.redis.Close() }

func (s *server) Supports(k Kind) bool {
	switch k {
	case Get, Set, Delete, Create, Increment, Append, MGet, Batch:
		return true
	case CompareAndSet:
		return s.ifEqual
	default:
		return false
	}
}

func (s *server) Do(ctx context.Context, op Op) (Result, error) {
	if !s.Supports(op.Kind) {
		return Result{}, unsupported(op.Kind)
	}
	r, err := s.do(ctx, op)
	if err != nil && strings.HasPrefix(err.Error(), "MOVED ") {
		return r, failedf("%w: the server is one of a cluster, use target %s", err, RESPCluster)
	}
	return r, classify(op, err)
}

func (s *server) do(ctx context.Context, op Op) (Result, error) {
	switch op.Kind {
	case MGet:
		return s.pipeline(ctx, op.Ops, s.redis.Pipelined)
	case Batch:
		for _, part := range op.Ops {
			if !part.inBatch() {
				return Result{}, failedf("%w in a batch: %s", ErrUnsupported, part.Kind)
			}
		}
		return s.pipeline(ctx, op.Ops, s.redis.TxPipelined)
	default:
		answer, err := s.redis.Do(ctx, wordsOf(op)...).Result()
		if err := ignoreNil(err); err != nil {
			return Result{}, err
		}
		return readRESP(op, answer)
	}
}

// pipeline sends operations at once, for send to say whether as a transaction.
func (s *server) pipeline(ctx context.Context, ops []Op, send func(context.Context, func(redis.Pipeliner) error) ([]redis.Cmder, error)) (Result, error) {
	commands, err := send(ctx, func(p redis.Pipeliner) error {
		for _, op := range ops {
			p.Do(ctx, wordsOf(op)...)
		}
		return nil
	})
	if err := ignoreNil(err); err != nil {
		return Result{}, err
	}
	r := Result{Results: make([]Result, len(ops))}
	for i, c := range commands {
		answer, err := c.(*redis.Cmd).Result()
		if err := ignoreNil(err); err != nil {
			return Result{}, err
		}
		if r.Results[i], err = readRESP(ops[i], answer); err != nil {
			return Result{}, err
		}
	}
	return r, nil
}

// wordsOf returns the command of an operation on one key.
func wordsOf(op Op) []any {
	switch op.Kind {
	case Get:
		return []any{"GET", op.Key}
	case Delete:
		return []any{"DEL", op.Key}
	case Create:
		return []any{"SET", op.Key, op.Value, "NX"}
	case CompareAndSet:
		return []any{"SET", op.Key, op.Value, "IFEQ", op.Version}
	case Increment:
		return []any{"INCRBY", op.Key, op.Delta}
	case Append:
		return []any{"APPEND", op.Key, op.Value}
	default:
		return []any{"SET", op.Key, op.Value}
	}
}

// readRESP reads the answer to an operation on one key; nil is Redis's.
func readRESP(op Op, answer any) (Result, error) {
	switch v := answer.(type) {
	case nil:
		if op.Kind == Get || op.Kind == Create || op.Kind == CompareAndSet {
			return Result{}, nil
		}
	case int64:
		switch op.Kind {
		case Delete:
			return Result{}, nil
		case Increment, Append:
			return Result{Number: v}, nil
		}
	case string:
		switch {
		case op.Kind == Get:
			return Result{Found: true, Value: []byte(v), Version: v}, nil
		case op.Kind == Set && v == "OK":
			return Result{Version: string(op.Value)}, nil
		case (op.Kind == Create || op.Kind == CompareAndSet) && v == "OK":
			return Result{Met: true, Version: string(op.Value)}, nil
		}
	}
	return Result{}, fmt.Errorf("the answer to %s is %.40q, which it cannot be", op.Kind, fmt.Sprint(answer))
}

// unknownReply begins the one error with which kvnode says that a write may have
// been executed. The errors of Redis all say that it was not.
const unknownReply = "UNKNOWN "

// classify marks the errors that prove that an operation had no effect. An
// error within a transaction proves that only if it kept it from beginning, since
// Redis goes on with the other commands.
func classify(op Op, err error) error {
	if err == nil {
		return nil
	}
	reply := redis.Error(nil)
	answered := errors.As(err, &reply)
	switch {
	case op.Kind.IsRead(), errors.Is(err, errNotConnected), errors.Is(err, redis.ErrPoolTimeout):
		return failed(err)
	case answered && op.Kind == Batch:
		if beforeExec(err.Error()) {
			return failed(err)
		}
	case answered && !strings.HasPrefix(err.Error(), unknownReply):
		return failed(err)
	}
	return err
}

func beforeExec(reply string) bool {
	for _, prefix := range []string{"EXECABORT ", "MOVED ", "ASK ", "CLUSTERDOWN ", "CROSSSLOT ", "TRYAGAIN ", "LOADING ", "READONLY "} {
		if strings.HasPrefix(reply, prefix) {
			return true
		}
	}
	return false
}
