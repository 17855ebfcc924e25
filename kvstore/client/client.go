// Package client is the Go client of the key-value service.
//
// A client is given the addresses of some nodes; any node takes any key and
// forwards it, so one that works is enough. The client stays with the node
// that answered last and turns to the next one when it fails.
//
// Failures are retried, with jittered backoff, until the operation's deadline,
// but a write only on an error that proves that it was not executed. The
// outcomes of a write are therefore three: nil, an error that is certain (it
// was not executed), or [api.ErrOutcomeUnknown]: it may have been executed,
// or may yet be. Repeating such a write is the caller's decision, because a
// late second execution could undo what somebody else wrote in between.
//
// Writes whose repetition would show, such as an increment, are sent with an ID
// under which the cluster executes them once ([Config.RequestIDs]): these are
// retried on any failure, so that their outcome is unknown only if no node
// could tell it in time.
//
// The package imports the wire contract and nothing of the server.
package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

const (
	defaultTimeout     = 10 * time.Second
	defaultDialTimeout = time.Second
	defaultReadTimeout = 3 * time.Second

	// A node keeps an idle connection for longer than this, so that it is the
	// client that closes it, and no write is sent into a closing connection.
	idleConnTimeout = 15 * time.Second
	idleConns       = 64
)

// Config says which cluster a [Client] talks to and how long it tries.
type Config struct {
	// Endpoints are HTTP addresses of nodes, host:port. At least one; the
	// first is tried first.
	Endpoints []string
	// Timeout bounds an operation with all its retries, beside the deadline of
	// the caller's context. It should outlast a failover. Default 10 s.
	Timeout time.Duration
	// DialTimeout bounds the opening of one connection. Default 1 s.
	DialTimeout time.Duration
	// ReadTimeout bounds one attempt of a read, so that a node that hangs does
	// not use up Timeout. Writes have no such bound: giving up on one that
	// was sent would only make its outcome unknown; a node that has not
	// answered lately is asked whether it does before it is sent a write.
	// Default 3 s.
	ReadTimeout time.Duration
	// RequestIDs says which writes are sent with an ID. Default
	// [WhereRepetitionShows].
	RequestIDs RequestIDs
	// Logger is told of each retry, at debug level. Default: silent.
	Logger *slog.Logger
}

// RequestIDs says which writes are sent with an ID, under which the cluster
// remembers their outcome for [api.RememberedFor]. It costs about as much as
// another write.
type RequestIDs int

const (
	// WhereRepetitionShows is increments, appends, writes with a condition, and
	// those that report what was before.
	WhereRepetitionShows RequestIDs = iota
	// OnAllWrites is these and plain writes.
	OnAllWrites
	// OnNoWrite is none.
	OnNoWrite
)

func (c Config) withDefaults() Config {
	if c.Timeout == 0 {
		c.Timeout = defaultTimeout
	}
	if c.DialTimeout == 0 {
		c.DialTimeout = defaultDialTimeout
	}
	if c.ReadTimeout == 0 {
		c.ReadTimeout = defaultReadTimeout
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

func (c Config) validate() error {
	if len(c.Endpoints) == 0 {
		return errors.New("no endpoints: give at least one node as host:port")
	}
	for _, e := range c.Endpoints {
		host, port, err := net.SplitHostPort(e)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil || host == "" {
			return fmt.Errorf("endpoint %q is not of the form host:port, like 127.0.0.1:8080", e)
		}
	}
	for _, d := range []struct {
		name  string
		value time.Duration
	}{{"Timeout", c.Timeout}, {"DialTimeout", c.DialTimeout}, {"ReadTimeout", c.ReadTimeout}} {
		if d.value < 0 {
			return fmt.Errorf("%s is %v: give a positive duration, or 0 for the default", d.name, d.value)
		}
	}
	if c.RequestIDs < WhereRepetitionShows || c.RequestIDs > OnNoWrite {
		return fmt.Errorf("RequestIDs is %d, which is none of the constants", c.RequestIDs)
	}
	return nil
}

// Client talks to a cluster. It is safe for concurrent use.
type Client struct {
	timeout   time.Duration
	endpoints *endpoints
	transport *transport
	reads     retrier
	writes    retrier
	ids       identity
}

// New returns a client. It opens no connection: a cluster that is down shows
// at the first operation.
func New(cfg Config) (*Client, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, fmt.Errorf("client config: %w", err)
	}
	ring := newEndpoints(cfg.Endpoints)
	c := &Client{timeout: cfg.Timeout, endpoints: ring, transport: newTransport(cfg.DialTimeout, ring), ids: newIdentity(cfg.RequestIDs)}
	c.reads = newRetrier(c.transport, cfg.ReadTimeout, c.endpoints, cfg.Logger)
	c.writes = newRetrier(c.transport, 0, c.endpoints, cfg.Logger)
	return c, nil
}

// Close closes the idle connections. Operations in flight are not disturbed.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// Value is what is stored under a key.
type Value struct {
	Data []byte
	// Version identifies the write that stored the value, as "epoch.lsn". To
	// be compared for equality only.
	Version string
	// TTL is what is left of its time, 0 for ever.
	TTL time.Duration
}

// Get returns the value of key, or [api.ErrNotFound]. A read has no effect,
// so every transient failure is retried.
func (c *Client) Get(ctx context.Context, key string) (Value, error) {
	if err := CheckKey(key); err != nil {
		return Value{}, fmt.Errorf("get: %w", err)
	}
	a, err := c.read(ctx, keyPath(key), api.MaxValueBytes)
	if err != nil {
		return Value{}, fmt.Errorf("get %s: %w", quote(key), err)
	}
	return Value{Data: a.body, Version: a.version, TTL: a.ttl}, nil
}

// Set stores value under key and returns its version. After nil the write is
// durable. See the package comment for what its errors say.
func (c *Client) Set(ctx context.Context, key string, value []byte) (version string, err error) {
	if err := errors.Join(CheckKey(key), CheckValue(value)); err != nil {
		return "", fmt.Errorf("set: %w", err)
	}
	a, err := c.write(ctx, http.MethodPut, keyPath(key), value, &operation{want: wantVersion, id: c.ids.plain()})
	if err != nil {
		return "", fmt.Errorf("set %s: %w", quote(key), err)
	}
	return a.version, nil
}

// Delete removes key; that it was absent is no error. See the package comment
// for what its errors say.
func (c *Client) Delete(ctx context.Context, key string) error {
	if err := CheckKey(key); err != nil {
		return fmt.Errorf("delete: %w", err)
	}
	if _, err := c.write(ctx, http.MethodDelete, keyPath(key), nil, &operation{id: c.ids.plain()}); err != nil {
		return fmt.Errorf("delete %s: %w", quote(key), err)
	}
	return nil
}
