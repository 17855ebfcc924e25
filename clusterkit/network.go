package clusterkit

import (
	"context"
	"net"
)

// Network is what a node listens and dials on: everything between the nodes,
// the HTTP API, and the requests of a node that joins. The methods mean what
// those of [net.ListenConfig] and [net.Dialer] mean; network is always "tcp".
// They may be called concurrently.
//
// A Network may also have the method LookupHost of [net.Resolver]: a name in
// JoinAddr that it resolves to several hosts stands for each of them.
type Network interface {
	// Listen opens a listener on host:port; port 0 is any that is free. The
	// listener's address says which.
	Listen(network, address string) (net.Listener, error)
	// DialContext connects to host:port. An error that matches
	// [syscall.ECONNREFUSED], or a [net.DNSError] with IsNotFound, says that
	// certainly nobody listens there: a node with Bootstrap may found a cluster
	// then.
	DialContext(ctx context.Context, network, address string) (net.Conn, error)
}

// tcpNetwork is the network of the machine. Names are resolved at each dial.
type tcpNetwork struct{ net.Dialer }

func (n *tcpNetwork) LookupHost(ctx context.Context, host string) ([]string, error) {
	return n.Resolver.LookupHost(ctx, host)
}

func (*tcpNetwork) Listen(network, address string) (net.Listener, error) {
	return net.Listen(network, address)
}
