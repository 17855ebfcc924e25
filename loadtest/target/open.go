package target

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// Options say which store to open.
type Options struct {
	// Endpoints are addresses of nodes, host:port.
	Endpoints []string
	// Timeout bounds one operation. Default 10 s.
	Timeout time.Duration
	// Connections bounds how many there are to all nodes together; an operation
	// has one to itself, and waits for it. 0 is as many as are needed.
	Connections int
}

// The protocols that [Open] knows.
const (
	// HTTP sends each operation once, to the nodes in turn, and leaves out those
	// that do not take connections.
	HTTP = "http"
	// Client is the Go client, which repeats what was certainly not executed.
	Client = "client"
	// RESP is one server that speaks Redis's protocol.
	RESP = "resp"
	// RESPCluster is a cluster of such servers. It follows redirections, and
	// repeats nothing else.
	RESPCluster = "resp-cluster"
)

// Protocols are all that [Open] knows.
var Protocols = []string{HTTP, Client, RESP, RESPCluster}

const defaultTimeout = 10 * time.Second

// Open returns the store that a protocol finds at the endpoints, or
// [ErrUnreachable] within seconds if none of them takes a connection. It keeps no
// connection but what RESP and RESPCluster take to know the store.
func Open(ctx context.Context, protocol string, o Options) (Target, error) {
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if err := o.validate(); err != nil {
		return nil, err
	}
	var (
		t   Target
		err error
	)
	switch protocol {
	case HTTP, Client:
		if err = reach(ctx, o.Endpoints); err != nil {
			break
		}
		if protocol == HTTP {
			t = newHTTP(o)
		} else {
			t, err = newClient(o)
		}
	case RESP:
		t, err = newServer(ctx, o)
	case RESPCluster:
		t, err = newCluster(ctx, o)
	default:
		return nil, fmt.Errorf("target %q is not known, give one of: %s", protocol, strings.Join(Protocols, ", "))
	}
	if err != nil {
		return nil, err
	}
	if o.Connections == 0 {
		return t, nil
	}
	return &limited{t, make(chan struct{}, o.Connections)}, nil
}

func (o Options) validate() error {
	switch {
	case len(o.Endpoints) == 0:
		return fmt.Errorf("endpoints is empty: give at least one node as host:port")
	case o.Timeout < 0:
		return fmt.Errorf("timeout is %v: give more than 0", o.Timeout)
	case o.Connections < 0:
		return fmt.Errorf("connections is %d: give at least 1, or 0 for as many as are needed", o.Connections)
	}
	for _, e := range o.Endpoints {
		host, port, err := net.SplitHostPort(e)
		if err == nil {
			_, err = strconv.ParseUint(port, 10, 16)
		}
		if err != nil || host == "" {
			return fmt.Errorf("endpoint %q is not of the form host:port, like 127.0.0.1:8080", e)
		}
	}
	return nil
}

// limited lets only so many operations be under way. As one takes a connection
// of its own, these are no more either.
type limited struct {
	Target
	free chan struct{}
}

func (l *limited) Do(ctx context.Context, op Op) (Result, error) {
	select {
	case l.free <- struct{}{}:
	case <-ctx.Done():
		return Result{}, failedf("no connection became free: %w", context.Cause(ctx))
	}
	defer func() { <-l.free }()
	return l.Target.Do(ctx, op)
}
