package localcluster

import (
	"fmt"
	"math/rand/v2"
	"net"
)

// Ports are taken from below the range that kernels give to outgoing
// connections, else one of those could sit on the port of a killed node when
// it comes back.
const (
	lowestPort   = 15000
	highestPort  = 32000
	portAttempts = 1000
)

// holdPorts returns n listeners on free loopback ports.
func holdPorts(n int) ([]net.Listener, error) {
	var held []net.Listener
	for range portAttempts {
		if len(held) == n {
			return held, nil
		}
		port := lowestPort + rand.IntN(highestPort-lowestPort)
		if l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			held = append(held, l)
		}
	}
	for _, l := range held {
		l.Close()
	}
	return nil, fmt.Errorf("no %d free ports between %d and %d on 127.0.0.1", n, lowestPort, highestPort)
}
