package client

import (
	"slices"
	"sync/atomic"
	"time"
)

// lately is how long an endpoint that has answered is taken to answer again.
const lately = 3 * time.Second

// endpoints is the ring of nodes, with the one that all operations start at.
// It is safe for concurrent use.
type endpoints struct {
	addrs   []string
	current atomic.Uint64
	// heard is when each address last answered, nil if it did not, or has
	// fallen silent since.
	heard []atomic.Pointer[time.Time]
}

func newEndpoints(addrs []string) *endpoints {
	return &endpoints{addrs: slices.Clone(addrs), heard: make([]atomic.Pointer[time.Time], len(addrs))}
}

// pick returns the address to use and its place in the ring.
func (e *endpoints) pick() (place uint64, addr string) {
	place = e.current.Load()
	return place, e.addrs[e.index(place)]
}

// failed moves on from the node at place, unless somebody else already has.
func (e *endpoints) failed(place uint64) {
	e.current.CompareAndSwap(place, place+1)
}

// answered notes that the node at place has just answered, silent that it has
// not.
func (e *endpoints) answered(place uint64) {
	now := time.Now()
	e.heard[e.index(place)].Store(&now)
}

func (e *endpoints) silent(place uint64) { e.heard[e.index(place)].Store(nil) }

func (e *endpoints) answeredLately(place uint64) bool {
	t := e.heard[e.index(place)].Load()
	return t != nil && time.Since(*t) < lately
}

func (e *endpoints) index(place uint64) int { return int(place % uint64(len(e.addrs))) }

func (e *endpoints) size() int { return len(e.addrs) }
