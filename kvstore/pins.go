package kvstore

import (
	"crypto/rand"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/replication"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

const (
	// pinIdle is how long a snapshot is held for somebody who does not ask for
	// it, as one that has crashed and is about to go on.
	pinIdle = time.Minute
	// maxPins bounds the snapshots that are held, those included of which the
	// log is all that is still wanted.
	maxPins = 64
)

var (
	errPinGone = errors.New("the snapshot is no longer held")
	errBusy    = errors.New("as many copies are given as may be at a time")
)

// pins are the snapshots that this node holds for others. Each keeps the log
// above it, so that who has taken it can catch up.
type pins struct {
	node *Node

	mu     sync.Mutex
	held   map[string]*pin
	closed bool
	// closing are those that are still to be closed.
	closing sync.WaitGroup
}

// pin is one snapshot and the log above it.
type pin struct {
	id        string
	partition uint32
	to        replication.Peer
	since     time.Time
	sent      atomic.Uint64

	// The lock of pins guards these. users are the requests that use it; idle
	// lets go of it when there were none for a while.
	users   int
	loaded  bool
	gone    bool
	idle    *time.Timer
	release func() // of the log

	mu   sync.Mutex
	snap *storage.Snapshot // nil when it is not wanted any more
}

func newPins(n *Node) *pins { return &pins{node: n, held: map[string]*pin{}} }

// open takes a snapshot for a peer, which has no more use for those that it
// had of the partition. An urgent one is given however many there are.
func (p *pins) open(part uint32, to replication.Peer, urgent bool) (*pin, storage.Checkpoint, error) {
	p.mu.Lock()
	giving := 0
	for _, held := range p.held {
		switch {
		case held.partition == part && held.to == to:
			p.drop(held)
		case !held.loaded:
			giving++
		}
	}
	full := !urgent && giving >= p.node.pace.copies() || len(p.held) >= maxPins || p.closed
	p.mu.Unlock()
	if full {
		return nil, storage.Checkpoint{}, errBusy
	}
	// First the log, then what stands above it can only be more.
	have, _ := p.node.storage.Checkpoint(part)
	release := p.node.commitLog.log.Pin(part, have.LSN)
	snap, err := p.node.storage.Snapshot(part)
	if err != nil {
		release()
		return nil, storage.Checkpoint{}, err
	}
	held := &pin{id: rand.Text(), partition: part, to: to, since: time.Now(), snap: snap, release: release}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		release()
		snap.Close()
		return nil, storage.Checkpoint{}, errBusy
	}
	p.closing.Add(1)
	held.idle = time.AfterFunc(pinIdle, func() { p.expire(held) })
	p.held[held.id] = held
	return held, snap.Checkpoint(), nil
}

// use returns a snapshot that is held, which the caller gives back by done.
func (p *pins) use(id string) (held *pin, done func(), err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held = p.held[id]
	if held == nil {
		return nil, nil, errPinGone
	}
	held.users++
	held.idle.Stop()
	return held, func() { p.done(held) }, nil
}

func (p *pins) done(held *pin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	held.users--
	switch {
	case held.users > 0:
	case held.gone:
		p.close(held)
	default:
		held.idle.Reset(pinIdle)
	}
}

func (p *pins) expire(held *pin) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held.users == 0 && !held.gone {
		p.node.log.Info("a snapshot is held no longer: nobody has asked for it", "partition", held.partition, "for", held.to.Node)
		p.drop(held)
	}
}

// letGo ends a snapshot that nobody wants any more.
func (p *pins) letGo(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if held := p.held[id]; held != nil {
		p.drop(held)
	}
}

// drop forgets a pin, and closes it when nobody uses it. The lock is held.
func (p *pins) drop(held *pin) {
	delete(p.held, held.id)
	held.gone = true
	held.idle.Stop()
	if held.users == 0 {
		p.close(held)
	}
}

// close is called once, when nobody uses the pin. The lock is held.
func (p *pins) close(held *pin) {
	held.release()
	go func() { // Badger may take its time
		defer p.closing.Done()
		held.endSnapshot()
	}()
}

// endSnapshot lets go of the data, but not of the log above them.
func (h *pin) endSnapshot() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.snap != nil {
		h.snap.Close()
		h.snap = nil
	}
}

// taken says that the snapshot has been taken, and only the log is wanted.
func (p *pins) taken(held *pin) {
	p.mu.Lock()
	held.loaded = true
	p.mu.Unlock()
	held.endSnapshot()
}

// chunk appends the chunk behind a key to buf, or returns io.EOF.
func (h *pin) chunk(buf, after []byte, size int) ([]byte, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.snap == nil {
		return buf, errPinGone
	}
	h.snap.After(after)
	buf, err := h.snap.Next(buf, size)
	if err != nil && !errors.Is(err, io.EOF) {
		err = errors.Join(errDamagedSource, err)
	}
	return buf, err
}

// giving returns what is held.
func (p *pins) giving() []api.Giving {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := []api.Giving{}
	for _, held := range p.held {
		all = append(all, api.Giving{
			Partition: partitionName(held.partition), To: held.to.Node,
			Bytes: held.sent.Load(), Seconds: time.Since(held.since).Seconds(),
		})
	}
	return all
}

// count returns how many snapshots are being given.
func (p *pins) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	n := 0
	for _, held := range p.held {
		if !held.loaded {
			n++
		}
	}
	return n
}

// shut ends all of them and waits until they are closed. No more are opened.
func (p *pins) shut() {
	p.mu.Lock()
	p.closed = true
	for _, held := range p.held {
		p.drop(held)
	}
	p.mu.Unlock()
	p.closing.Wait()
}
