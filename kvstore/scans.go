package kvstore

import (
	"context"
	"sync"
	"time"
)

const (
	// maxScans is how many snapshots of scans are kept for their next pages. One
	// that has ended gives way first, then the one that nobody has asked for
	// longest.
	maxScans = 64
	// scanEnd is how long one is kept whose last page has been read: its answer
	// may get lost, and be asked for again.
	scanEnd = 5 * time.Second
	// scanIdle is how long one is kept that nobody asks for, and scanAge how long
	// any is: as long as it is open, what is overwritten stays on the disk.
	scanIdle = 30 * time.Second
	scanAge  = 10 * time.Minute
	scanTick = 5 * time.Second
)

// scans are the snapshots that this node keeps for the next pages of scans.
type scans struct {
	mu     sync.Mutex
	kept   map[uint64]*keptScan
	closed bool
}

type keptScan struct {
	*scan
	taken, asked time.Time
	// users are the pages being read; the last one closes a scan that has gone.
	users int
	gone  bool
	// ended: the last page has been read.
	ended bool
}

// before reports whether k gives way before another.
func (k *keptScan) before(o *keptScan) bool {
	if k.ended != o.ended {
		return k.ended
	}
	return k.asked.Before(o.asked)
}

// over reports whether k has been kept for long enough.
func (k *keptScan) over(now time.Time) bool {
	idle := now.Sub(k.asked)
	return idle > scanIdle || k.ended && idle > scanEnd || now.Sub(k.taken) > scanAge
}

// keep takes over a scan.
func (t *scans) keep(s *scan, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		s.close()
		return
	}
	if t.kept == nil {
		t.kept = map[uint64]*keptScan{}
	}
	if len(t.kept) >= maxScans {
		var first *keptScan
		for _, k := range t.kept {
			if first == nil || k.before(first) {
				first = k
			}
		}
		t.drop(first)
	}
	t.kept[s.id] = &keptScan{scan: s, taken: now, asked: now}
}

// use returns a scan that is kept, nil if it is not. The caller calls done when
// it no longer reads, and says whether it has read the last page.
func (t *scans) use(id uint64, now time.Time) (s *scan, done func(ended bool)) {
	t.mu.Lock()
	defer t.mu.Unlock()
	k := t.kept[id]
	if k == nil {
		return nil, nil
	}
	k.users++
	k.asked = now
	return k.scan, func(ended bool) {
		t.mu.Lock()
		defer t.mu.Unlock()
		k.users--
		k.ended = k.ended || ended
		if k.gone && k.users == 0 {
			k.close()
		}
	}
}

// drop forgets a scan. t.mu is held.
func (t *scans) drop(k *keptScan) {
	delete(t.kept, k.id)
	if k.gone = true; k.users == 0 {
		k.close()
	}
}

// expire forgets what is kept for too long, or everything.
func (t *scans) expire(now time.Time, all bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = t.closed || all
	for _, k := range t.kept {
		if all || k.over(now) {
			t.drop(k)
		}
	}
}

// size returns how many are kept.
func (t *scans) size() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.kept)
}

// run forgets scans until the context ends, and then all of them.
func (t *scans) run(ctx context.Context) {
	tick := time.NewTicker(scanTick)
	defer tick.Stop()
	for {
		select {
		case now := <-tick.C:
			t.expire(now, false)
		case <-ctx.Done():
			t.expire(time.Now(), true)
			return
		}
	}
}
