package kvstore

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/migration"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/replication"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
	"github.com/skshohagmiah/clusterkit/kvstore/wal"
)

const (
	// A copy that was in vain is tried again after a delay, which doubles.
	minCopyDelay = 100 * time.Millisecond
	maxCopyDelay = 10 * time.Second
	// busyDelay is how long a copy waits for a source that gives to others.
	busyDelay = 500 * time.Millisecond
	// sourcePatience is how long a source may not answer before another is
	// looked for. What has come from it is kept until that is certain.
	sourcePatience = 15 * time.Second
	// maxSpoilt is how often in a row a chunk may arrive spoilt.
	maxSpoilt = 5
	// copyReserve is the free space that copies leave: they take none of what
	// the log needs to go on with writes.
	copyReserve = wal.DefaultReserveBytes + 128<<20
	// flushEvery is how much of a slow copy a crash may cost, in time.
	flushEvery = time.Second
)

var (
	// errSuperseded is returned for a snapshot that this node has no use for
	// any more.
	errSuperseded = errors.New("the copy has moved on meanwhile")
	// errRefused is returned for a snapshot that is not what the source said.
	errRefused = errors.New("the copy is refused")
)

// failureReasons are the labels of failures in the metrics.
var failureReasons = map[error]string{
	errUnreachable: "unreachable", errSpoilt: "spoilt", errPinGone: "gone", errDamagedSource: "source_damaged",
	errRefused: "digest", errSuperseded: "superseded",
}

func failureReason(err error) string {
	for kind, reason := range failureReasons {
		if errors.Is(err, kind) {
			return reason
		}
	}
	return "other"
}

// copySnapshot makes one attempt to give the replica a snapshot, and tells it
// how that went. After one that was in vain it first waits for a while.
func (c *copying) copySnapshot(ctx context.Context, w wantedSnapshot) {
	n := c.node
	c.note(func(f *migration.Facts) { f.Needed, f.Comparing, f.Source = true, false, w.from.Node })
	err := c.fetch(ctx, w)
	if err == nil {
		c.mu.Lock()
		c.failures, c.facts.Needed, c.facts.Stalled = 0, false, ""
		c.mu.Unlock()
		return
	}
	delay := busyDelay
	switch {
	case ctx.Err() != nil:
		delay = 0
	case errors.Is(err, errBusy):
		c.note(func(f *migration.Facts) { f.Busy = true })
	default:
		n.metrics.migrated.failed(err)
		c.mu.Lock()
		delay = min(minCopyDelay<<min(c.failures, 10), maxCopyDelay)
		c.failures++
		c.facts.Stalled = fmt.Sprintf("%v; it is tried again within %v", err, delay)
		c.mu.Unlock()
		n.log.Warn("snapshot not fetched", "partition", c.partition, "from", w.from.Node, "err", err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(delay):
	}
	c.note(func(f *migration.Facts) { f.Needed, f.Busy, f.Stalled = false, false, "" })
	w.replica.do(func(sm *partition.Replica) { sm.SnapshotFailed() })
}

// fetch copies the snapshot and makes it the replica's.
func (c *copying) fetch(ctx context.Context, w wantedSnapshot) error {
	n := c.node
	if err := n.migrations.slots.acquire(ctx, c); err != nil {
		return err
	}
	defer n.migrations.slots.release(c)
	from, l, err := c.begin(ctx, w.from)
	if err != nil {
		return err
	}
	c.hold(from, l.Origin().Pin)
	c.loaded(l)
	err = c.pull(ctx, from, l)
	if err == nil {
		err = l.Flush()
	}
	if err == nil {
		err = c.install(ctx, w.replica, l)
	}
	switch {
	case err == nil:
		c.mu.Lock()
		c.taken = true
		c.mu.Unlock()
		_ = from.keep(ctx, l.Origin().Pin, true) // the next one says it again
		return nil
	case errors.Is(err, storage.ErrFailed):
		n.fail(err)
		l.Abort()
		return err
	case n.ctx.Err() != nil, ctx.Err() == nil && (errors.Is(err, errUnreachable) || errors.Is(err, errSpoilt)):
		return errors.Join(err, l.Suspend())
	default:
		l.Abort()
		c.letGo()
		return err
	}
}

// begin goes on with what is here of the snapshot, as long as who has it still
// holds it, or has one held by the member from.
func (c *copying) begin(ctx context.Context, from partition.Member) (*source, *storage.Loader, error) {
	s := c.source(replication.Peer{Node: from.Node, Store: from.Store})
	before, l, err := c.resume(ctx, s)
	if err != nil || l != nil {
		return before, l, err
	}
	o, err := s.hold(ctx, c.standing().Urgent)
	if err != nil {
		return nil, nil, err
	}
	o.Incarnation = c.member.Incarnation
	if l, err = c.node.storage.Load(c.partition, o); err != nil {
		s.letGo(ctx, o.Pin)
		return nil, nil, err
	}
	c.mu.Lock()
	c.resumed = 0
	c.mu.Unlock()
	return s, l, nil
}

func (c *copying) source(p replication.Peer) *source {
	return &source{node: c.node, http: c.node.migrations.http, peer: p, partition: c.partition, heard: c.heard}
}

// resume returns no loader if there is nothing to go on with. A source that
// does not answer is waited for if it is still the one to ask.
func (c *copying) resume(ctx context.Context, present *source) (*source, *storage.Loader, error) {
	l, err := c.node.storage.Resume(c.partition)
	if errors.Is(err, storage.ErrNotFound) {
		return nil, nil, nil
	}
	if err != nil {
		return nil, nil, err
	}
	o := l.Origin()
	s := c.source(replication.Peer{Node: o.Node, Store: o.Store})
	err = errPinGone
	if o.Incarnation == c.member.Incarnation {
		err = s.keep(ctx, o.Pin, false)
	}
	switch {
	case err == nil:
		c.mu.Lock()
		c.resumed = l.Loaded().Bytes
		c.facts.Source = o.Node
		c.mu.Unlock()
		c.node.metrics.migrated.resumed.Add(float64(l.Loaded().Bytes))
		return s, l, nil
	case ctx.Err() != nil, errors.Is(err, errUnreachable) && s.peer == present.peer:
		return nil, nil, errors.Join(err, l.Suspend())
	default:
		l.Abort()
		return nil, nil, nil
	}
}

// chunkOf is a chunk on its way from the network to the disk.
type chunkOf struct {
	items []storage.Item
	buf   []byte
}

// chunksAhead is how many chunks are fetched while one is written.
const chunksAhead = 3

// pull copies all chunks.
func (c *copying) pull(ctx context.Context, from *source, l *storage.Loader) error {
	ctx, cancel := context.WithCancel(ctx)
	chunks := make(chan chunkOf, chunksAhead-1)
	free := make(chan []byte, chunksAhead+1)
	for range chunksAhead + 1 {
		free <- nil
	}
	var failed error
	after := bytes.Clone(l.Loaded().Last)
	go func() {
		defer close(chunks)
		failed = c.read(ctx, from, l.Origin().Pin, after, chunks, free)
	}()
	err := c.write(ctx, l, chunks, free)
	cancel()
	for range chunks { // until the reader has ended
	}
	if err != nil {
		return err
	}
	return failed
}

// read asks for chunks one after the other, and again for those that do not
// arrive as they should.
func (c *copying) read(ctx context.Context, from *source, pin string, after []byte, chunks chan<- chunkOf, free <-chan []byte) error {
	var buf []byte
	holds := false // a buffer, which is nil at first
	heard, spoilt := time.Now(), 0
	for {
		switch paused, err := c.yield(ctx); {
		case err != nil:
			return err
		case paused:
			heard = time.Now()
		}
		if !holds {
			select {
			case buf = <-free:
				holds, heard = true, time.Now()
			case <-ctx.Done():
				return ctx.Err()
			}
		}
		asked := time.Now()
		c.owed(true)
		items, filled, err := from.chunk(ctx, pin, after, buf)
		c.owed(false)
		buf = filled
		switch {
		case err == nil && items == nil:
			return nil
		case err == nil:
			c.stall("")
			spoilt = 0
			after = append(after[:0], items[len(items)-1].Key...)
			select {
			case chunks <- chunkOf{items, buf}:
				holds = false
			case <-ctx.Done():
				return ctx.Err()
			}
			continue
		case errors.Is(err, errSpoilt):
			if spoilt++; spoilt >= maxSpoilt {
				return err
			}
		case !errors.Is(err, errUnreachable) && !errors.Is(err, errBusy), asked.Sub(heard) > sourcePatience, !from.present():
			return err
		}
		c.node.metrics.migrated.repeated.Inc()
		c.stall(err.Error())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(minCopyDelay):
		}
	}
}

// yield gives the slot up during a pause, and reports whether there was one.
func (c *copying) yield(ctx context.Context) (paused bool, err error) {
	if !c.standing().Paused {
		return false, nil
	}
	c.node.migrations.slots.release(c)
	return true, c.node.migrations.slots.acquire(ctx, c)
}

// write adds the chunks to what is loaded.
func (c *copying) write(ctx context.Context, l *storage.Loader, chunks <-chan chunkOf, free chan<- []byte) error {
	flush := time.NewTicker(flushEvery)
	defer flush.Stop()
	for {
		select {
		case chunk, ok := <-chunks:
			if !ok {
				return nil
			}
			if err := c.add(ctx, l, chunk.items); err != nil {
				return err
			}
			c.loaded(l)
			free <- chunk.buf
		case <-flush.C:
			if err := l.Flush(); err != nil {
				return err
			}
		}
	}
}

// add waits while the disk is full.
func (c *copying) add(ctx context.Context, l *storage.Loader, items []storage.Item) error {
	for {
		err := c.checkSpace()
		if err == nil {
			err = l.Add(items)
		}
		if !errors.Is(err, storage.ErrNoSpace) {
			c.unwritten("")
			return err
		}
		c.unwritten(err.Error())
		select {
		case <-ctx.Done():
			c.unwritten("")
			return ctx.Err()
		case <-time.After(flushEvery):
		}
	}
}

// checkSpace refuses to take the space that writes need, unless they wait for
// this copy.
func (c *copying) checkSpace() error {
	if c.standing().Urgent {
		return nil
	}
	free, err := c.node.storage.Free()
	if err != nil {
		return err
	}
	if free < copyReserve {
		return fmt.Errorf("%w: %d bytes are free on the disk of %s, copies leave %d: free space, or move the copy elsewhere",
			storage.ErrNoSpace, free, c.member.Node, copyReserve)
	}
	return nil
}

// install makes the loaded data the partition's. The applier calls it, so that
// nothing that was committed before is applied over it.
func (c *copying) install(ctx context.Context, r *replica, l *storage.Loader) error {
	var taken atomic.Bool
	done := make(chan error, 1)
	c.node.applier.between(r, func() {
		if !taken.Swap(true) {
			done <- c.node.install(r, l)
		}
	})
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		if taken.Swap(true) {
			return <-done
		}
		return ctx.Err()
	}
}

func (n *Node) install(r *replica, l *storage.Loader) error {
	at := l.Origin().Base
	if have, _ := n.storage.Checkpoint(r.id); at.LSN <= have.LSN || n.replica(r.id) != r {
		return errSuperseded
	}
	if err := l.Commit(); err != nil {
		if errors.Is(err, storage.ErrCorrupt) {
			return fmt.Errorf("%w: %w", errRefused, err)
		}
		return err
	}
	r.overlay.clear()
	r.do(func(sm *partition.Replica) { sm.SnapshotLoaded(partition.Position(at)) })
	n.log.Info("snapshot loaded", "partition", r.id, "lsn", at.LSN)
	return nil
}
