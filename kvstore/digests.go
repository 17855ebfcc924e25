package kvstore

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// keptDigests is how many marks a copy remembers the digest of. A comparison
// looks for the last one, or the one before it.
const keptDigests = 16

// errForgotten is returned for the digest of a position that the copy has left
// behind without remembering it.
var errForgotten = errors.New("the digest at that position is not known any more")

// digests remember what a copy was behind its last marks.
type digests struct {
	// wanted is the LSN that somebody waits for, 0 for none.
	wanted atomic.Uint64

	mu sync.Mutex
	// changing: the storage is being changed, and may be ahead of marks.
	changing bool
	marks    []storage.Checkpoint
}

// wants reports whether somebody waits for what is stored with lsn.
func (d *digests) wants(lsn uint64) bool {
	at := d.wanted.Load()
	return at != 0 && at <= lsn
}

func (d *digests) change() {
	d.mu.Lock()
	d.changing = true
	d.mu.Unlock()
}

// changed ends what change began.
func (d *digests) changed(marks []*storage.Checkpoint) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.changing = false
	for _, c := range marks {
		d.marks = append(d.marks, *c)
	}
	if n := len(d.marks) - keptDigests; n > 0 {
		d.marks = append([]storage.Checkpoint(nil), d.marks[n:]...)
	}
}

// digestAt returns the checkpoint that the copy had behind the entry at lsn. It
// waits until the entry is stored, and returns errForgotten when it is not a
// mark and others have been stored since.
func (r *replica) digestAt(ctx context.Context, lsn uint64) (storage.Checkpoint, error) {
	defer r.digests.wanted.CompareAndSwap(lsn, 0)
	for {
		changed := r.node.changed.next()
		c, stored, err := r.digestNow(lsn)
		if stored || err != nil {
			return c, err
		}
		r.digests.wanted.Store(lsn)
		signal(r.node.applier.urgent)
		select {
		case <-changed:
		case <-ctx.Done():
			return c, ctx.Err()
		}
	}
}

func (r *replica) digestNow(lsn uint64) (c storage.Checkpoint, stored bool, err error) {
	d := &r.digests
	d.mu.Lock()
	defer d.mu.Unlock()
	c, _ = r.node.storage.Checkpoint(r.id)
	switch {
	case d.changing || c.LSN < lsn:
		return c, false, nil
	case c.LSN == lsn:
		return c, true, nil
	}
	for _, m := range d.marks {
		if m.LSN == lsn && m.Generation == c.Generation {
			return m, true, nil
		}
	}
	return c, false, errForgotten
}
