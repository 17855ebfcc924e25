package client

import "sync/atomic"

// endpoints is the ring of nodes, with the one that all operations start at.
// It is safe for concurrent use.
type endpoints struct {
	addrs   []string
	current atomic.Uint64
}

func newEndpoints(addrs []string) *endpoints {
	return &endpoints{addrs: append([]string(nil), addrs...)}
}

// pick returns the address to use and its place in the ring.
func (e *endpoints) pick() (place uint64, addr string) {
	place = e.current.Load()
	return place, e.addrs[place%uint64(len(e.addrs))]
}

// failed moves on from the node at place, unless somebody else already has.
func (e *endpoints) failed(place uint64) {
	e.current.CompareAndSwap(place, place+1)
}

func (e *endpoints) size() int { return len(e.addrs) }
