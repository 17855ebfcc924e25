// Package freeport gives tests addresses for nodes that are not running all the
// time.
package freeport

import (
	"math/rand/v2"
	"net"
	"strconv"
	"sync/atomic"
	"testing"
)

// The ports are below those that systems give to outgoing connections, else one
// of these could sit on the port of a node that is down.
const (
	lowest = 10_000
	ports  = 22_000
)

// Each process begins somewhere else, and gives no port twice.
var (
	first = rand.Uint32N(ports)
	given atomic.Uint32
)

// Addr returns a loopback address on which nobody listens and that no other call
// returns. It may be called concurrently.
func Addr(tb testing.TB) string {
	tb.Helper()
	for range ports {
		port := lowest + (first+given.Add(1))%ports
		if l, err := net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port)))); err == nil {
			defer l.Close()
			return l.Addr().String()
		}
	}
	tb.Fatalf("no port from %d on is free", lowest)
	return ""
}
