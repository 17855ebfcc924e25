package clusterkit

import (
	"context"
	"net"
	"slices"
)

// resolver is what a [Network] may have beside its methods; see [net.Resolver].
type resolver interface {
	LookupHost(ctx context.Context, host string) ([]string, error)
}

// joinAddrs returns whom to ask: this node may be among those of its options.
func (ck *ClusterKit) joinAddrs() []string {
	self := ck.self.Load().IP
	return slices.DeleteFunc(slices.Clone(ck.opts.joinAddrs), func(addr string) bool { return addr == self })
}

// candidates returns the addresses to ask now: those of JoinAddr, and where a
// name stands for several hosts, each of these. A name that cannot be looked up
// stays, so that dialing it says why.
func (ck *ClusterKit) candidates(ctx context.Context) []string {
	var out []string
	self := ck.self.Load().IP
	for _, addr := range ck.joinAddrs() {
		for _, candidate := range ck.expand(ctx, addr) {
			if candidate != self && !slices.Contains(out, candidate) {
				out = append(out, candidate)
			}
		}
	}
	return out
}

func (ck *ClusterKit) expand(ctx context.Context, addr string) []string {
	host, port, err := net.SplitHostPort(addr)
	names, ok := ck.opts.Network.(resolver)
	if err != nil || !ok || net.ParseIP(host) != nil {
		return []string{addr}
	}
	ctx, cancel := context.WithTimeout(ctx, joinTimeout)
	defer cancel()
	hosts, err := names.LookupHost(ctx, host)
	if err != nil || !severalHosts(hosts) {
		return []string{addr}
	}
	out := make([]string, len(hosts))
	for i, host := range hosts {
		out[i] = net.JoinHostPort(host, port)
	}
	return out
}

// severalHosts tells the addresses of several hosts from the IPv4 and the IPv6
// address of one, between which a dialer chooses by itself.
func severalHosts(addrs []string) bool {
	families := make(map[bool]int)
	for _, addr := range addrs {
		families[net.ParseIP(addr).To4() != nil]++
	}
	return families[true] > 1 || families[false] > 1
}
