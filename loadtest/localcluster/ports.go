package localcluster

import (
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
)

// Free ports are taken from below the range that kernels give to outgoing
// connections, else one of those could sit on the port of a killed node when
// it comes back.
const (
	lowestPort   = 15000
	highestPort  = 32000
	portAttempts = 1000
)

// holdPort listens on the i-th loopback port from first on, or on a free one
// if first is 0.
func holdPort(first, i int) (net.Listener, error) {
	if first != 0 {
		l, err := listen(first + i)
		if err != nil {
			return nil, fmt.Errorf("port %d cannot be used, give other ports, or 0 for free ones: %w", first+i, err)
		}
		return l, nil
	}
	var err error
	for range portAttempts {
		var l net.Listener
		if l, err = listen(lowestPort + rand.IntN(highestPort-lowestPort)); err == nil {
			return l, nil
		}
	}
	return nil, fmt.Errorf("no free port between %d and %d: %w", lowestPort, highestPort, err)
}

func listen(port int) (net.Listener, error) {
	return net.Listen("tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(port)))
}
