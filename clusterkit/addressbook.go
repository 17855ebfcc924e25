package clusterkit

import (
	"cmp"
	"fmt"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// addressBook knows where the Raft servers are now. The map knows better than what
// this node remembers of its last run, and that is newer than Raft's own
// configuration, where a server stays at the address that it joined with; and what
// a server has announced since it last registered is newer than all of them. Its
// methods may be called concurrently.
type addressBook struct {
	state *fsm
	// self is this node's own address.
	self string
	raft atomic.Pointer[raft.Raft]
	// remembered has the last known address of each server at the start.
	remembered map[string]string

	mu sync.Mutex
	// heard has the newest announcement of each server.
	heard map[string]announcement
}

// maxHeard bounds the servers whose announcements are kept.
const maxHeard = 1024

// announcement says where a server is, since which start.
type announcement struct {
	// Server is the Raft ID.
	Server string `json:"server"`
	// Incarnation is the highest with which the node may have registered, and
	// Starts the starts of its data directory: together they order the
	// announcements of a server. Starts is 0 for what is in the map.
	Incarnation uint64 `json:"incarnation"`
	Starts      uint64 `json:"starts,omitempty"`
	RaftAddr    string `json:"raft_addr"`
}

// isUsable reports whether it names a server, and an address that can be dialled.
func (a announcement) isUsable() bool {
	node, dir, _ := strings.Cut(a.Server, "/")
	host, port, err := net.SplitHostPort(a.RaftAddr)
	return nodeIDPattern.MatchString(node) && dir != "" && len(a.Server)+len(a.RaftAddr) < 256 &&
		err == nil && host != "" && port != "" && !isWildcard(host)
}

func (a announcement) isNewerThan(b announcement) bool {
	return cmp.Or(cmp.Compare(a.Incarnation, b.Incarnation), cmp.Compare(a.Starts, b.Starts)) > 0
}

// hear takes in an announcement, unless the server is known from a later one.
func (b *addressBook) hear(a announcement) {
	n, inMap := b.mapped(a.Server)
	b.mu.Lock()
	defer b.mu.Unlock()
	if before, known := b.heard[a.Server]; known && !a.isNewerThan(before) || !known && len(b.heard) >= maxHeard {
		return
	}
	if !a.isUsable() || a.Server == b.ownID() || inMap && n.isNewerThan(a) {
		return
	}
	if b.heard == nil {
		b.heard = make(map[string]announcement)
	}
	b.heard[a.Server] = a
}

// forget drops what was announced of a peer that could not be reached there, so
// that a false announcement does not stand in the way of the map. A true one is
// repeated.
func (b *addressBook) forget(peer string) {
	id, addr := splitPeerAddr(peer)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.heard[id].RaftAddr == addr {
		delete(b.heard, id)
	}
}

// known returns the newest that is known of each server, other than this one.
func (b *addressBook) known() []announcement {
	newest := make(map[string]announcement)
	b.mu.Lock()
	maps.Copy(newest, b.heard)
	b.mu.Unlock()
	if m := b.state.Map(); m != nil {
		for i := range m.Nodes {
			inMap := m.Nodes[i].announcement()
			if heard, ok := newest[inMap.Server]; inMap.Server != b.ownID() && (!ok || inMap.isNewerThan(heard)) {
				newest[inMap.Server] = inMap
			}
		}
	}
	return slices.Collect(maps.Values(newest))
}

// ServerAddr is how Raft asks for the address of a server.
func (b *addressBook) ServerAddr(id raft.ServerID) (raft.ServerAddress, error) {
	if b.ownID() == string(id) {
		return raft.ServerAddress(b.self), nil
	}
	b.mu.Lock()
	newest, known := b.heard[string(id)]
	b.mu.Unlock()
	if n, ok := b.mapped(string(id)); ok && (!known || n.isNewerThan(newest)) {
		newest, known = n, true
	}
	if known {
		return raft.ServerAddress(peerAddr(newest.Server, newest.RaftAddr)), nil
	}
	if addr, ok := b.remembered[string(id)]; ok {
		return raft.ServerAddress(peerAddr(string(id), addr)), nil
	}
	for _, server := range b.servers() {
		if server.ID == id {
			return server.Address, nil
		}
	}
	return "", fmt.Errorf("%s is not known", id)
}

// servers returns Raft's configuration, none before Raft runs.
func (b *addressBook) servers() []raft.Server {
	if r := b.raft.Load(); r != nil {
		return r.GetConfiguration().Configuration().Servers
	}
	return nil
}

// votes reports whether the server is a voter.
func (b *addressBook) votes(id raft.ServerID) bool {
	return slices.ContainsFunc(b.servers(), func(s raft.Server) bool { return s.ID == id && s.Suffrage == raft.Voter })
}

func (b *addressBook) ownID() string {
	id, _ := splitPeerAddr(b.self)
	return id
}

// mapped returns what the map says of the server.
func (b *addressBook) mapped(id string) (announcement, bool) {
	m := b.state.Map()
	if m == nil {
		return announcement{}, false
	}
	i := slices.IndexFunc(m.Nodes, func(n Node) bool { return n.RaftID == id })
	if i < 0 {
		return announcement{}, false
	}
	return m.Nodes[i].announcement(), true
}

func (n *Node) announcement() announcement {
	return announcement{Server: n.RaftID, Incarnation: n.Incarnation, RaftAddr: n.RaftAddr}
}
