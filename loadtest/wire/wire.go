// Package wire is a network of namespaces on one machine. Every packet between
// them passes through this process, which drops, delays and reorders what it is
// told to, and counts it.
//
// Each namespace has a TUN device whose other end is here, and so has the machine
// itself, so that whoever loads the nodes reaches them whatever they do to one
// another. Unlike filters and queueing disciplines this needs nothing of the
// kernel but namespaces and TUN; losses come from a seed; and a fault that met no
// packet is noticed.
package wire

import (
	"maps"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// Shape is what happens to the packets of a link.
type Shape struct {
	// Cut drops all of them.
	Cut bool
	// Delay is what each of them takes longer.
	Delay time.Duration
	// Loss is the share that is dropped, and Reorder the share that is not
	// delayed, from 0 to 1.
	Loss, Reorder float64
}

// link is one direction between two ports. It belongs to the goroutine that reads
// from the one.
type link struct {
	to    *port
	shape atomic.Pointer[Shape]
	met   *atomic.Int64
	// random decides about single packets.
	random *rand.Rand
	// late are packets that wait for their time; nil until there are some.
	late chan packet
}

type packet struct {
	due  time.Time
	data []byte
}

// maxLate is how many packets of a link may wait; more are lost, as in a queue
// that is full.
const maxLate = 4096

// carry sends a packet on its way. It keeps no hold of data.
func (l *link) carry(data []byte, delayed func(*link)) {
	s := l.shape.Load()
	if s == nil {
		l.to.send(data)
		return
	}
	l.met.Add(1)
	switch {
	case s.Cut, s.Loss > 0 && l.random.Float64() < s.Loss:
		return
	case s.Delay == 0, s.Reorder > 0 && l.random.Float64() < s.Reorder:
		l.to.send(data)
		return
	}
	if l.late == nil {
		l.late = make(chan packet, maxLate)
		delayed(l)
	}
	select {
	case l.late <- packet{time.Now().Add(s.Delay), append([]byte(nil), data...)}:
	default:
	}
}

// deliver hands late packets over when they are due, until the wire is closed.
func (l *link) deliver(closed <-chan struct{}) {
	for {
		select {
		case p := <-l.late:
			if wait := time.Until(p.due); wait > 0 {
				select {
				case <-time.After(wait):
				case <-closed:
					return
				}
			}
			l.to.send(p.data)
		case <-closed:
			return
		}
	}
}

// switchboard connects ports with one another.
type switchboard struct {
	seed   uint64
	met    atomic.Int64
	closed chan struct{}
	wg     sync.WaitGroup

	mu    sync.Mutex
	ports map[string]*port
}

// port is one end of the wire.
type port struct {
	name    string
	address [4]byte
	write   func([]byte) (int, error)
	// links lead to other ports, by their addresses.
	links atomic.Pointer[map[[4]byte]*link]
}

// send hands a packet to the port. One that it does not take is lost, as packets
// may be.
func (p *port) send(data []byte) { _, _ = p.write(data) }

func newSwitchboard(seed uint64) *switchboard {
	return &switchboard{seed: seed, closed: make(chan struct{}), ports: map[string]*port{}}
}

// add connects a new port with all others.
func (s *switchboard) add(p *port) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.links.Store(&map[[4]byte]*link{})
	for _, q := range s.ports {
		s.connect(p, q)
		s.connect(q, p)
	}
	s.ports[p.name] = p
}

func (s *switchboard) connect(from, to *port) {
	links := maps.Clone(*from.links.Load())
	links[to.address] = &link{
		to: to, met: &s.met,
		random: rand.New(rand.NewPCG(s.seed, uint64(from.address[3])<<8|uint64(to.address[3]))),
	}
	from.links.Store(&links)
}

const ipv4Header = 20

// carry takes a packet that came from a port.
func (s *switchboard) carry(from *port, data []byte) {
	if len(data) < ipv4Header || data[0]>>4 != 4 {
		return
	}
	l, ok := (*from.links.Load())[[4]byte(data[16:20])]
	if !ok {
		return
	}
	l.carry(data, func(l *link) { s.wg.Go(func() { l.deliver(s.closed) }) })
}

// shape sets what happens between two ports, nil for nothing.
func (s *switchboard) shape(from, to string, shape *Shape) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	f, t := s.ports[from], s.ports[to]
	if f == nil || t == nil || f == t {
		return false
	}
	(*f.links.Load())[t.address].shape.Store(shape)
	return true
}

// mend undoes all shapes and returns how many packets they met.
func (s *switchboard) mend() int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.ports {
		for _, l := range *p.links.Load() {
			l.shape.Store(nil)
		}
	}
	return s.met.Swap(0)
}

// close ends the delivery of what is late. Nothing is carried any more.
func (s *switchboard) close() {
	close(s.closed)
	s.wg.Wait()
}
