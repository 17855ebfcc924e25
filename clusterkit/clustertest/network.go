package clustertest

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"slices"
	"strconv"
	"sync"
	"syscall"
)

// network is TCP in memory, between hosts that have names. What is sent
// arrives at once, in order, and complete, unless the way there is held up: then
// it arrives later. Nothing is lost but what a host that dies had under way.
type network struct {
	// mu guards everything in the network, its connections included.
	mu sync.Mutex
	// hosts has the present one of each name.
	hosts map[string]*host
	// cut has the ways on which nothing passes.
	cut map[way]bool
	// paused are the hosts whose processes stand still.
	paused map[string]bool
	// changed wakes the dials, when a way, a host or a listener has changed.
	changed *sync.Cond
}

// way is a direction of traffic.
type way struct{ from, to string }

func (w way) back() way { return way{from: w.to, to: w.from} }

func newNetwork() *network {
	n := &network{hosts: make(map[string]*host), cut: make(map[way]bool), paused: make(map[string]bool)}
	n.changed = sync.NewCond(&n.mu)
	return n
}

// change makes a change to what passes, and wakes whoever waits for it.
func (n *network) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	n.wakeAll()
}

// wakeAll is called with the lock held.
func (n *network) wakeAll() {
	n.changed.Broadcast()
	for _, h := range n.hosts {
		for _, l := range h.listeners {
			l.changed.Broadcast()
		}
		for c := range h.conns {
			c.changed.Broadcast()
		}
	}
}

// held reports whether what is sent on the way waits, with the lock held.
func (n *network) held(w way) bool {
	return n.paused[w.from] || n.paused[w.to] || n.cut[w]
}

// host is a machine on the network from its start to its end. It is a
// [clusterkit.Network].
type host struct {
	network *network
	name    string

	// down: the process of this host is gone for good.
	down      bool
	listeners map[int]*listener
	conns     map[*conn]struct{}
	// nextPort is where the search for a free port begins.
	nextPort int
}

// firstFreePort is where the ports begin that nobody has chosen.
const firstFreePort = 49152

// attach returns a new host of that name, in the place of one that is down.
func (n *network) attach(name string) *host {
	h := &host{
		network: n, name: name, nextPort: firstFreePort,
		listeners: make(map[int]*listener), conns: make(map[*conn]struct{}),
	}
	n.change(func() {
		n.hosts[name] = h
		delete(n.paused, name)
	})
	return h
}

// kill ends the host as the end of its process does: its connections break, and
// nobody listens any more.
func (h *host) kill() {
	h.network.change(func() {
		h.down = true
		for _, l := range h.listeners {
			l.shut()
		}
		for c := range h.conns {
			c.reset()
		}
	})
}

func (n *network) killAll() {
	n.mu.Lock()
	hosts := slices.Collect(maps.Values(n.hosts))
	n.mu.Unlock()
	for _, h := range hosts {
		h.kill()
	}
}

// Listen listens on a port of this host, whatever host the address names.
func (h *host) Listen(network, address string) (net.Listener, error) {
	h.network.mu.Lock()
	defer h.network.mu.Unlock()
	port, err := portOf(address)
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Err: err}
	}
	for port == 0 {
		if h.listeners[h.nextPort] == nil {
			port = h.nextPort
		}
		h.nextPort++
	}
	l := &listener{host: h, address: addr{h.name, port}, changed: sync.NewCond(&h.network.mu)}
	switch {
	case h.down:
		err = syscall.ENETDOWN
	case h.listeners[port] != nil:
		err = syscall.EADDRINUSE
	}
	if err != nil {
		return nil, &net.OpError{Op: "listen", Net: network, Addr: l.address, Err: os.NewSyscallError("bind", err)}
	}
	h.listeners[port] = l
	h.network.changed.Broadcast()
	return l, nil
}

// DialContext connects to a port of a host. It waits while the way there or
// back is cut, and fails at once where nobody listens.
func (h *host) DialContext(ctx context.Context, network, address string) (net.Conn, error) {
	name, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	port, err := portOf(address)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	if name == "localhost" || net.ParseIP(name).IsLoopback() {
		name = h.name
	}
	c, err := h.dial(ctx, name, port)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Addr: addr{name, port}, Err: err}
	}
	return c, nil
}

func (h *host) dial(ctx context.Context, name string, port int) (net.Conn, error) {
	n := h.network
	defer context.AfterFunc(ctx, func() { n.change(func() {}) })()
	n.mu.Lock()
	defer n.mu.Unlock()
	there := way{from: h.name, to: name}
	for {
		// A paused host answers: its kernel does, not its process.
		target := n.hosts[name]
		switch {
		case ctx.Err() != nil:
			return nil, ctx.Err()
		case h.down:
			return nil, os.NewSyscallError("connect", syscall.ENETDOWN)
		case target == nil:
			return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
		case n.cut[there] || n.cut[there.back()] || n.paused[h.name]:
			n.changed.Wait()
		case target.listeners[port] == nil:
			return nil, os.NewSyscallError("connect", syscall.ECONNREFUSED)
		default:
			local := addr{h.name, h.nextPort}
			h.nextPort++
			return target.listeners[port].connect(h, local), nil
		}
	}
}

// listener is a port that connections come in on.
type listener struct {
	host    *host
	address addr
	changed *sync.Cond
	// waiting are the connections that nobody has accepted yet.
	waiting []*conn
	closed  bool
}

// connect is called with the lock held.
func (l *listener) connect(from *host, local addr) *conn {
	near, far := newConnPair(from, local, l.host, l.address)
	l.waiting = append(l.waiting, far)
	l.changed.Broadcast()
	return near
}

func (l *listener) Accept() (net.Conn, error) {
	n := l.host.network
	n.mu.Lock()
	defer n.mu.Unlock()
	for !l.closed && (len(l.waiting) == 0 || n.paused[l.host.name]) {
		l.changed.Wait()
	}
	if l.closed {
		return nil, &net.OpError{Op: "accept", Net: l.address.Network(), Addr: l.address, Err: net.ErrClosed}
	}
	c := l.waiting[0]
	l.waiting = l.waiting[1:]
	return c, nil
}

// Close refuses further connections, and breaks those that were not accepted.
func (l *listener) Close() error {
	l.host.network.mu.Lock()
	defer l.host.network.mu.Unlock()
	l.shut()
	return nil
}

// shut is called with the lock held.
func (l *listener) shut() {
	if l.closed {
		return
	}
	l.closed = true
	delete(l.host.listeners, l.address.port)
	for _, c := range l.waiting {
		c.reset()
	}
	l.changed.Broadcast()
}

func (l *listener) Addr() net.Addr { return l.address }

// addr is a port of a host.
type addr struct {
	host string
	port int
}

func (addr) Network() string  { return "tcp" }
func (a addr) String() string { return net.JoinHostPort(a.host, strconv.Itoa(a.port)) }

func portOf(address string) (int, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return 0, err
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return 0, fmt.Errorf("%q has no numeric port", address)
	}
	return int(number), nil
}
