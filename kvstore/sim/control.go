package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

const (
	lease     = time.Second
	renewal   = 250 * time.Millisecond
	clockSkew = 0.01 // rho
)

// leaseWait is W of the design: W >= L*(1+rho)/(1-rho), and a little more.
const leaseWait = lease*101/99 + 10*time.Millisecond

// control is the control plane: an atomic register with compare-and-set.
type control struct {
	w        *world
	rate     float64
	view     partition.View
	sessions []session
	// elected is the incarnation of the session under which the primary was
	// elected.
	elected     uint64
	incarnation uint64 // of members, drawn from here
}

// session is the control plane's side of a node's session.
type session struct {
	incarnation uint64
	open        bool
	renewed     time.Duration // on the control plane's clock
}

func newControl(w *world) *control {
	return &control{w: w, rate: w.clockRate(), sessions: make([]session, w.opt.Nodes)}
}

func (w *world) clockRate() float64 { return 1 + clockSkew*(2*w.rng.Float64()-1) }

func (c *control) clock() time.Duration { return time.Duration(float64(c.w.now) * c.rate) }

// bootstrap assigns the partition to every node; the first two are in-sync.
func (c *control) bootstrap() {
	for _, n := range c.w.nodes {
		c.incarnation++
		c.view.Members = append(c.view.Members, partition.Member{Node: n.name, Store: n.store, Incarnation: c.incarnation})
	}
	c.view.InSync = slices.Clone(c.view.Members[:min(2, len(c.view.Members))])
	c.view.Epoch, c.view.Version, c.view.MinInSync = 1, 1, c.w.opt.MinInSync
	c.view.Primary = c.view.Members[0]
	c.elected = 1
	c.w.after(0, c.watch)
}

// watch deposes sessions that were not renewed and elects primaries.
func (c *control) watch() {
	for i := range c.sessions {
		s := &c.sessions[i]
		wait := leaseWait
		if c.w.opt.Planted.Breaks(planted.DeposeLive) {
			wait = lease / 2
		}
		if s.open && c.clock() >= s.renewed+wait {
			s.open = false
			c.w.note("depose %d", i)
		}
	}
	c.elect()
	c.w.after(20*time.Millisecond, c.watch)
}

// elect gives the partition another primary when its own has no session, or
// another one than it was elected under.
func (c *control) elect() {
	if p := c.nodeOf(c.view.Primary); p >= 0 && c.sessions[p].open && c.sessions[p].incarnation == c.elected &&
		slices.Contains(c.view.Members, c.view.Primary) {
		return
	}
	from := c.view.InSync
	if c.w.opt.Planted.Breaks(planted.ElectAnyone) {
		from = c.view.Members
	}
	var candidates []partition.Member
	for _, m := range from {
		if c.sessions[c.nodeOf(m)].open {
			candidates = append(candidates, m)
		}
	}
	if len(candidates) > 0 {
		c.lead(candidates[c.w.rng.IntN(len(candidates))])
	}
}

func (c *control) lead(m partition.Member) {
	c.view.Primary = m
	c.view.Epoch++
	c.elected = c.sessions[c.nodeOf(m)].incarnation
	c.w.result.Epochs++
	c.changed()
}

func (c *control) changed() {
	c.view.Version++
	c.w.note("view %v", c.view)
	for _, n := range c.w.nodes {
		c.push(n)
	}
}

// push sends the view to a node.
func (c *control) push(n *node) {
	v, s := c.snapshotFor(n)
	c.w.transmit(controlPlane, n.id, func() { n.receive(func() { n.learn(v, s) }) })
}

// snapshotFor returns the view and the incarnation of the node's session
// that it reflects.
func (c *control) snapshotFor(n *node) (partition.View, uint64) {
	v := c.view
	v.Members, v.InSync = slices.Clone(v.Members), slices.Clone(v.InSync)
	for _, m := range v.Members {
		if !c.sessions[c.nodeOf(m)].open {
			v.Absent = append(v.Absent, m)
		}
	}
	return v, c.sessions[n.id].incarnation
}

func (c *control) nodeOf(m partition.Member) int {
	for _, n := range c.w.nodes {
		if n.name == m.Node {
			return n.id
		}
	}
	return -1
}

// register opens a session for a process, or reopens one for a node that was
// deposed. A store that is not known takes the place of the old one.
func (c *control) register(n *node, store string, incarnation uint64) {
	s := &c.sessions[n.id]
	if incarnation <= s.incarnation || n.store != store {
		return
	}
	*s = session{incarnation: incarnation, open: true, renewed: c.clock()}
	i := slices.IndexFunc(c.view.Members, func(m partition.Member) bool { return m.Node == n.name })
	if old := c.view.Members[i]; old.Store != store {
		c.incarnation++
		c.view.Members = slices.Clone(c.view.Members)
		c.view.Members[i] = partition.Member{Node: n.name, Store: store, Incarnation: c.incarnation}
		c.view.InSync = slices.DeleteFunc(slices.Clone(c.view.InSync), func(m partition.Member) bool { return m == old })
		c.changed()
	}
	c.elect()
	c.push(n)
}

// renew answers whether the session is open.
func (c *control) renew(n *node, incarnation uint64) bool {
	s := &c.sessions[n.id]
	if s.incarnation != incarnation || !s.open && !c.w.opt.Planted.Breaks(planted.StickyLease) {
		return false
	}
	s.renewed = c.clock()
	return true
}

func (c *control) changeInSync(p partition.InSyncChange) {
	if p.Epoch != c.view.Epoch || p.Version != c.view.Version || len(p.InSync) == 0 {
		return
	}
	for _, m := range p.InSync {
		if !slices.Contains(c.view.Members, m) {
			return
		}
	}
	c.view.InSync = slices.Clone(p.InSync)
	c.changed()
}

func (c *control) transfer(t partition.Transfer) {
	if t.Epoch != c.view.Epoch {
		return
	}
	if slices.Contains(c.view.InSync, t.To) && c.sessions[c.nodeOf(t.To)].open {
		c.lead(t.To)
		return
	}
	for _, m := range c.view.InSync {
		if c.sessions[c.nodeOf(m)].open {
			c.lead(m)
			return
		}
	}
	// Nobody is there: as soon as somebody is, elect takes over.
	c.elected = 0
}

func (c *control) String() string { return fmt.Sprint(c.view) }
