package kvstore

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/migration"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// keepEvery is how often a source is told that its snapshot, or the log above
// it, is still wanted.
const keepEvery = pinIdle / 4

// migrations are the copies that are being made on this node. Each lives as
// long as its call of [Node.Migrate].
type migrations struct {
	node  *Node
	http  *http.Client
	slots slots

	mu   sync.Mutex
	open map[uint32]*copying
	// wanted are the snapshots that primaries have asked to fetch.
	wanted map[uint32]wantedSnapshot
	closed bool
	wg     sync.WaitGroup
}

// wantedSnapshot is a snapshot that a replica is to be given.
type wantedSnapshot struct {
	replica *replica
	from    partition.Member
}

func newMigrations(n *Node) *migrations {
	return &migrations{
		node: n, open: map[uint32]*copying{}, wanted: map[uint32]wantedSnapshot{},
		http: &http.Client{Transport: &http.Transport{
			ResponseHeaderTimeout: partTimeout, DisableCompression: true, IdleConnTimeout: pinIdle,
			// Copies of one source take turns on few connections.
			MaxIdleConnsPerHost: migration.DefaultCopies, ReadBufferSize: 64 << 10,
		}},
	}
}

// copying is a copy that is being made.
type copying struct {
	node      *Node
	partition uint32
	member    partition.Member
	reason    string
	began     time.Time
	wake      chan struct{} // one slot
	// hasSlot belongs to the goroutine that copies, and to the one that reads for
	// it.
	hasSlot bool
	// silentSince is since when the source has owed an answer and sent nothing,
	// in nanoseconds from began, 0 if it owes none.
	silentSince atomic.Int64

	mu       sync.Mutex
	facts    migration.Facts
	progress migration.Progress
	resumed  uint64
	meter    migration.Meter
	failures int
	// pin is the snapshot that from holds for this copy, "" for none; taken says
	// that only the log above it is still wanted.
	pin   string
	from  *source
	taken bool
}

// Migrate makes the copy that a change names, if it is one of this node. It is
// a hook for [clusterkit.ClusterKit.HandlePartitionChange], and it returns when
// the copy is in sync, which the primary decides, or with the error of the
// context. A snapshot is only fetched while such a call lasts: without the hook
// nothing is copied that the log does not have.
func (n *Node) Migrate(ctx context.Context, change clusterkit.PartitionChange) error {
	if change.Member.Node != n.self.Node || change.Member.Store != n.self.Store || change.CopyFrom == nil {
		return nil
	}
	if n.migrate(ctx, change) {
		return nil
	}
	// A node that closes may be waited for by the cluster, which ends the
	// context then.
	<-ctx.Done()
	return ctx.Err()
}

// migrate reports whether the copy came in sync.
func (n *Node) migrate(ctx context.Context, change clusterkit.PartitionChange) bool {
	c := n.migrations.begin(change)
	if c == nil {
		return false
	}
	defer n.migrations.end(c)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(n.ctx, cancel)()
	var keeper sync.WaitGroup
	keeper.Go(func() { c.keep(ctx) })
	defer keeper.Wait()
	defer cancel()
	for ctx.Err() == nil {
		changed := n.changed.next()
		if c.look() {
			return true
		}
		if w, ok := n.migrations.take(c); ok {
			c.copySnapshot(ctx, w)
			continue
		}
		select {
		case <-ctx.Done():
		case <-changed:
		case <-c.wake:
		}
	}
	return false
}

// begin returns nil when the node closes.
func (m *migrations) begin(change clusterkit.PartitionChange) *copying {
	c := &copying{
		node: m.node, partition: uint32(change.Index), member: partition.Member(change.Member),
		reason: change.Reason, began: time.Now(), wake: make(chan struct{}, 1),
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed {
		return nil
	}
	m.wg.Add(1)
	m.open[c.partition] = c
	return c
}

// end lets go of what the copy still holds. What has been loaded of one that is
// not wanted, or not needed, any more is garbage; that of a node which stops is
// gone on with when it is back.
func (m *migrations) end(c *copying) {
	defer m.wg.Done()
	m.mu.Lock()
	if m.open[c.partition] == c {
		delete(m.open, c.partition)
	}
	m.mu.Unlock()
	if m.node.ctx.Err() != nil {
		return
	}
	if err := m.node.storage.DiscardLoad(c.partition); err != nil {
		m.node.fail(err)
	}
	c.letGo()
}

// want takes down that a replica is to be given a snapshot; the caller holds
// the replica's lock.
func (m *migrations) want(r *replica, from partition.Member) {
	m.mu.Lock()
	m.wanted[r.id] = wantedSnapshot{r, from}
	c := m.open[r.id]
	m.mu.Unlock()
	if c != nil {
		signal(c.wake)
	}
}

// take returns the snapshot that is wanted for a copy.
func (m *migrations) take(c *copying) (wantedSnapshot, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	w, ok := m.wanted[c.partition]
	delete(m.wanted, c.partition)
	return w, ok && m.node.replica(c.partition) == w.replica
}

// compared takes down that the primary compares a copy that is being made.
func (m *migrations) compared(part uint32) {
	m.mu.Lock()
	c := m.open[part]
	m.mu.Unlock()
	if c != nil {
		c.note(func(f *migration.Facts) { f.Comparing = true })
	}
}

// active returns how many snapshots are being taken.
func (m *migrations) active() int { return m.slots.inUse() }

// all returns the copies that are being made.
func (m *migrations) all() []*copying {
	m.mu.Lock()
	defer m.mu.Unlock()
	all := make([]*copying, 0, len(m.open))
	for _, c := range m.open {
		all = append(all, c)
	}
	return all
}

// close waits until nothing is copied any more; the node's context has ended.
func (m *migrations) close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.wg.Wait()
	m.http.CloseIdleConnections()
}

// look takes over what the map says, and reports whether the copy is in sync.
func (c *copying) look() bool {
	m := c.node.cluster.Map()
	p := &m.Partitions[c.partition]
	inSync := p.IsInSync(clusterkit.Member(c.member))
	c.note(func(f *migration.Facts) { f.InSync, f.Primary = inSync, p.Primary })
	return inSync
}

// standing returns whether the copy is to wait for the end of a pause, and
// whether its partition takes no writes without it.
func (c *copying) standing() migration.Request {
	m := c.node.cluster.Map()
	p := &m.Partitions[c.partition]
	urgent := completeCopies(m, p) < m.Config.MinInSync
	return migration.Request{Urgent: urgent, Paused: m.Paused && !urgent}
}

func (c *copying) note(f func(*migration.Facts)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	f(&c.facts)
}

// stall says why nothing arrives, "" if something does.
func (c *copying) stall(why string) { c.note(func(f *migration.Facts) { f.Stalled = why }) }

// unwritten says why what has arrived cannot be written, "" if it is.
func (c *copying) unwritten(why string) { c.note(func(f *migration.Facts) { f.Unwritten = why }) }

// owed says whether the source owes an answer, and heard that some of it has
// come.
func (c *copying) owed(owed bool) {
	var since int64
	if owed {
		since = int64(time.Since(c.began))
	}
	c.silentSince.Store(since)
}

func (c *copying) heard() { c.owed(true) }

// silent returns for how long the source has owed an answer and sent nothing.
func (c *copying) silent() time.Duration {
	since := time.Duration(c.silentSince.Load())
	if since == 0 {
		return 0
	}
	return time.Since(c.began) - since
}

// keep has the source hold what it holds for this copy, until the context ends.
func (c *copying) keep(ctx context.Context) {
	ticker := time.NewTicker(keepEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		c.mu.Lock()
		from, pin, taken := c.from, c.pin, c.taken
		c.mu.Unlock()
		if pin != "" {
			_ = from.keep(ctx, pin, taken) // who asks for a chunk learns what is wrong
		}
	}
}

// hold remembers what the source holds for this copy.
func (c *copying) hold(from *source, pin string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.from, c.pin, c.taken = from, pin, false
}

// letGo ends what the source holds.
func (c *copying) letGo() {
	c.mu.Lock()
	from, pin := c.from, c.pin
	c.pin = ""
	c.mu.Unlock()
	if pin != "" {
		from.letGo(c.node.ctx, pin)
	}
}

// loaded takes over how much is here.
func (c *copying) loaded(l *storage.Loader) {
	have := l.Loaded()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.progress = migration.Progress{Items: have.Sum.Count, TotalItems: l.Origin().Sum.Count, Bytes: have.Bytes}
	c.meter = c.meter.Observe(time.Since(c.began), have.Bytes)
}

// state returns what an operator is shown.
func (c *copying) state() api.Migration {
	behind := c.behind()
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.facts
	f.Paused, f.Silent = c.standing().Paused, c.silent()
	if !f.Needed && c.node.diskFull.Load() {
		f.Unwritten = "the log of this node takes no entries: there is too little free space on its disk"
	}
	phase, waiting := f.Phase()
	c.meter = c.meter.Observe(time.Since(c.began), c.progress.Bytes)
	s := api.Migration{
		Partition: partitionName(c.partition), Node: c.member.Node, Source: f.Source,
		Phase: string(phase), Waiting: waiting,
		Bytes: c.progress.Bytes, Total: c.progress.Total(), Resumed: c.resumed, Behind: behind,
		Reason: c.reason, Seconds: time.Since(c.began).Seconds(), Failures: c.failures,
	}
	if s.Source == "" {
		s.Source = f.Primary
	}
	if phase == migration.Copying {
		s.Rate = c.meter.Rate()
		if eta, ok := c.progress.ETA(s.Rate); ok {
			s.ETA = eta.Seconds()
		}
	}
	return s
}

// behind returns how many entries the primary has committed and this copy has
// not.
func (c *copying) behind() (n uint64) {
	if r := c.node.replica(c.partition); r != nil {
		r.do(func(sm *partition.Replica) { n = sm.Behind() })
	}
	return n
}
