package sim

import (
	"slices"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/planted"
)

const (
	lease   = 500 * time.Millisecond
	renewal = 125 * time.Millisecond
	watch   = 40 * time.Millisecond
)

// leaseWait is W of the design: W >= L*(1+rho)/(1-rho), and a little more.
const leaseWait = lease*101/99 + 10*time.Millisecond

// control is the control plane: an atomic register with compare-and-set.
type control struct {
	w        *world
	rate     float64
	view     partition.View // its slices are replaced, never changed
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

func (c *control) clock() time.Duration { return time.Duration(float64(c.w.now) * c.rate) }

// nodeOf returns the node that a member is on; its name is a letter.
func nodeOf(m partition.Member) int { return int(m.Node[0] - 'A') }

// bootstrap assigns the partition to every node; the first two are in-sync.
func (c *control) bootstrap() {
	for _, n := range c.w.nodes {
		c.incarnation++
		c.view.Members = append(c.view.Members, partition.Member{Node: n.name, Store: n.disk.store, Incarnation: c.incarnation})
	}
	c.view.InSync = slices.Clone(c.view.Members[:min(2, len(c.view.Members))])
	c.view.Absent = c.view.Members
	c.view.Epoch, c.view.Version, c.view.MinInSync = 1, 1, c.w.opt.MinInSync
	c.view.Primary = c.view.Members[0]
	c.elected = 1
	c.w.after(0, c.watch)
}

// watch deposes sessions that were not renewed and elects primaries.
func (c *control) watch() {
	wait := leaseWait
	if c.w.opt.Rules.Breaks(planted.DeposeLive) {
		wait = lease / 2
	}
	for i := range c.sessions {
		s := &c.sessions[i]
		if s.open && c.clock() >= s.renewed+wait {
			s.open = false
			c.w.note("deposed", i, s.incarnation, 0, 0)
			c.sessionsChanged()
		}
	}
	c.elect()
	c.w.after(watch, c.watch)
}

// sessionsChanged notes who is absent.
func (c *control) sessionsChanged() {
	c.view.Absent = nil
	for _, m := range c.view.Members {
		if !c.present(m) {
			c.view.Absent = append(c.view.Absent, m)
		}
	}
}

func (c *control) present(m partition.Member) bool { return c.sessions[nodeOf(m)].open }

// elect gives the partition another primary when its own has no session, or
// another one than it was elected under.
func (c *control) elect() {
	if p := c.view.Primary; c.present(p) && c.sessions[nodeOf(p)].incarnation == c.elected && slices.Contains(c.view.Members, p) {
		return
	}
	from := c.view.InSync
	if c.w.opt.Rules.Breaks(planted.ElectAnyone) {
		from = c.view.Members
	}
	var candidates []partition.Member
	for _, m := range from {
		if c.present(m) {
			candidates = append(candidates, m)
		}
	}
	if len(candidates) > 0 {
		c.lead(pick(c.w, candidates...))
	}
}

func (c *control) lead(m partition.Member) {
	c.view.Primary = m
	c.view.Epoch++
	c.elected = c.sessions[nodeOf(m)].incarnation
	c.w.count(epochs)
	c.changed()
	c.w.ambush(electing, c.w.nodes[nodeOf(m)])
}

func (c *control) changed() {
	c.view.Version++
	c.sessionsChanged()
	c.w.note("view", nodeOf(c.view.Primary), c.view.Epoch, c.view.Version, uint64(len(c.view.InSync)))
	for _, n := range c.w.nodes {
		c.push(n)
	}
}

// push sends the view to a node, with the incarnation of the node's session
// that it reflects.
func (c *control) push(n *node) {
	v, incarnation := c.view, c.sessions[n.id].incarnation
	c.w.toNode(controlPlane, n, func() { n.learn(v, incarnation) })
}

// register opens a session for a process, or reopens one for a node that was
// deposed. A store that is not known takes the place of the old one.
func (c *control) register(n *node, store string, incarnation uint64) {
	s := &c.sessions[n.id]
	if incarnation <= s.incarnation || n.disk.store != store {
		return
	}
	*s = session{incarnation: incarnation, open: true, renewed: c.clock()}
	c.sessionsChanged()
	if old := c.view.Members[n.id]; old.Store != store {
		c.replace(old, store)
	}
	c.elect()
	c.push(n)
}

// replace gives a member's place to another store of its node, outside of the
// in-sync set.
func (c *control) replace(old partition.Member, store string) {
	c.incarnation++
	member := partition.Member{Node: old.Node, Store: store, Incarnation: c.incarnation}
	c.view.Members = slices.Clone(c.view.Members)
	c.view.Members[nodeOf(old)] = member
	c.view.InSync = slices.Clone(c.view.InSync)
	if i := slices.Index(c.view.InSync, old); i >= 0 && c.w.opt.Rules.Breaks(planted.KeepWipedMember) {
		c.view.InSync[i] = member
	} else if i >= 0 {
		c.view.InSync = slices.Delete(c.view.InSync, i, i+1)
	}
	c.changed()
}

// renew answers whether the session is open.
func (c *control) renew(n *node, incarnation uint64) bool {
	s := &c.sessions[n.id]
	if s.incarnation != incarnation || !s.open && !c.w.opt.Rules.Breaks(planted.StickyLease) {
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
	c.w.count(inSyncChanges)
	c.changed()
	c.w.ambush(changing, c.w.nodes[nodeOf(c.view.Primary)])
}

func (c *control) transfer(t partition.Transfer) {
	if t.Epoch != c.view.Epoch {
		return
	}
	to := t.To
	if c.w.opt.Rules.Breaks(planted.TransferToAnyone) {
		c.lead(c.view.Members[nodeOf(to)])
		return
	}
	if slices.Contains(c.view.InSync, to) && c.present(to) {
		c.lead(to)
		return
	}
	for _, m := range c.view.InSync {
		if c.present(m) {
			c.lead(m)
			return
		}
	}
	// Nobody is there: as soon as somebody is, elect takes over.
	c.elected = 0
}
