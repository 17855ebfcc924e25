package clusterkit

import (
	"context"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// nameServer is a network with names of its own.
type nameServer struct {
	tcpNetwork
	mu    sync.Mutex
	names map[string][]string
	asked int
}

func (n *nameServer) set(name string, addrs ...string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.names[name] = addrs
}

func (n *nameServer) LookupHost(_ context.Context, host string) ([]string, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked++
	if addrs := n.names[host]; len(addrs) > 0 {
		return addrs, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

func (n *nameServer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(addr)
	if err == nil && net.ParseIP(host) == nil {
		addrs, err := n.LookupHost(ctx, host)
		if err != nil {
			return nil, &net.OpError{Op: "dial", Net: network, Err: err}
		}
		addr = net.JoinHostPort(addrs[0], port)
	}
	return n.tcpNetwork.DialContext(ctx, network, addr)
}

func onHost(host, addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(host, port)
}

// TestNamesAreResolvedAtEachDial moves a node that has a name to another host.
func TestNamesAreResolvedAtEachDial(t *testing.T) {
	names := &nameServer{names: map[string][]string{"node-1": {"127.0.0.1"}, "node-2": {"127.0.0.1"}, "node-3": {"127.0.0.1"}}}
	host := "127.0.0.1"
	c := newTestCluster(t, Config{})
	c.edit = func(o *Options) {
		managed(o)
		o.Network, o.AdvertiseAddr, o.HTTPAddr, o.RaftAddr = names, o.NodeID, onHost(host, o.HTTPAddr), onHost(host, o.RaftAddr)
		if o.JoinAddr != "" {
			o.JoinAddr = onHost("node-1", c.http["node-1"])
		}
	}
	c.start(nil, three...)
	c.ready(three...)
	before := c.nodes["node-2"].Self().RaftAddr
	c.kill("node-2")
	host = "127.0.0.2"
	names.set("node-2", host)
	c.start(nil, "node-2")
	c.ready("node-2")
	if after := c.nodes["node-2"].Self().RaftAddr; after != before || !strings.HasPrefix(after, "node-2:") {
		t.Errorf("%s became %s", before, after)
	}
}

func TestANameOfSeveralHostsIsEachOfThem(t *testing.T) {
	names := &nameServer{names: map[string][]string{"cluster": {"127.0.0.3", "127.0.0.4"}}}
	c := newTestCluster(t, Config{})
	c.edit = func(o *Options) {
		o.Network = names
		if o.JoinAddr != "" {
			o.JoinAddr = onHost("cluster", o.JoinAddr)
		}
	}
	c.start(nil, "node-2")
	names.mu.Lock()
	before := names.asked
	names.mu.Unlock()
	c.eventually("another look-up", func() bool {
		names.mu.Lock()
		defer names.mu.Unlock()
		return names.asked > before+2
	})
	c.start(nil, "node-1")
	names.set("cluster", "127.0.0.3", "127.0.0.1")
	c.ready("node-1", "node-2")
}

func TestCandidates(t *testing.T) {
	names := &nameServer{names: map[string][]string{
		"one":       {"10.0.0.1"},
		"localhost": {"::1", "127.0.0.1"},
		"two":       {"10.0.0.1", "10.0.0.2"},
		"dual":      {"10.0.0.1", "fd00::1", "10.0.0.3", "fd00::3"},
		"self":      {"10.0.0.9", "10.0.0.4"},
	}}
	for _, tt := range []struct {
		join, want string
	}{
		{"10.0.0.1:80", "10.0.0.1:80"},
		{"one:80", "one:80"},
		{"localhost:80", "localhost:80"},
		{"unknown:80", "unknown:80"},
		{"two:80", "10.0.0.1:80 10.0.0.2:80"},
		{"two:80, one:80, 10.0.0.2:80, two:81", "10.0.0.1:80 10.0.0.2:80 one:80 10.0.0.1:81 10.0.0.2:81"},
		{"dual:80", "10.0.0.1:80 [fd00::1]:80 10.0.0.3:80 [fd00::3]:80"},
		{"self:80", "10.0.0.4:80"},
		{"10.0.0.9:80, 10.0.0.4:80", "10.0.0.4:80"},
	} {
		ck, err := NewClusterKit(Options{
			NodeID: "n1", HTTPAddr: "10.0.0.9:80", RaftAddr: "10.0.0.9:81", DataDir: t.TempDir(), JoinAddr: tt.join, Network: names,
		})
		if err != nil {
			t.Fatal(err)
		}
		if got := ck.candidates(t.Context()); !slices.Equal(got, strings.Fields(tt.want)) {
			t.Errorf("%s: got %q, want %q", tt.join, got, tt.want)
		}
		stop(t, ck)
	}
}
