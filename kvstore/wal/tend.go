package wal

import (
	"errors"
	"fmt"
	"syscall"
	"time"
)

const (
	// spaceRetry is how often a log without space looks whether there is some.
	spaceRetry = time.Second
	// maxRetired is how many retired segments are kept to be written anew.
	maxRetired = 2
)

// FirstLSN returns the LSN of the first entry of partition that the log
// holds, or will hold when it is appended.
func (l *Log) FirstLSN(partition uint32) uint64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	if x := l.partitions[partition]; x != nil {
		return x.base.LSN + 1
	}
	return 1
}

// Applied says that the entries of partition through lsn are durable
// elsewhere and not needed for recovery. They can be neither replaced nor
// lost any more, but are held as long as [Options.RetainBytes] allows. A
// lower lsn than before has no effect.
func (l *Log) Applied(partition uint32, lsn uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.partitions[partition]
	if x == nil || lsn <= x.applied {
		return
	}
	x.applied = min(lsn, x.last().LSN)
	if l.held() > l.opts.RetainBytes {
		l.wakeTender()
	}
}

// Pin keeps the entries of partition above lsn until release is called, which
// may be done more than once. It keeps what the log holds: ask
// [Log.FirstLSN] afterwards.
func (l *Log) Pin(partition uint32, lsn uint64) (release func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	x := l.partitions[partition]
	if x == nil {
		x = &index{}
		l.partitions[partition] = x
	}
	if x.pins == nil {
		x.pins = make(map[*pin]struct{})
	}
	p := &pin{lsn}
	x.pins[p] = struct{}{}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(x.pins, p)
		if x.blank() && len(x.pins) == 0 && l.partitions[partition] == x {
			delete(l.partitions, partition)
		}
		l.wakeTender()
	}
}

func (l *Log) wakeTender() {
	select {
	case l.tend <- struct{}{}:
	default:
	}
}

// tendSegments is the goroutine that retires old segments and prepares the
// next one, off the path of commits.
func (l *Log) tendSegments() {
	for {
		var again <-chan time.Time
		if err := l.tendOnce(); err != nil {
			if !errors.Is(err, ErrNoSpace) {
				l.mu.Lock()
				l.fail("prepare a segment", err)
				l.mu.Unlock()
				return
			}
			again = time.After(spaceRetry)
		}
		select {
		case <-l.closed:
			return
		case <-l.tend:
		case <-again:
		}
	}
}

func (l *Log) tendOnce() error {
	surplus := l.retire()
	for _, s := range surplus {
		if err := errors.Join(l.opts.FS.Remove(s.name), s.file.Close(), l.opts.FS.SyncDir(l.opts.Dir)); err != nil {
			return err
		}
	}
	l.mu.Lock()
	need := l.next == nil && l.failed == nil
	l.mu.Unlock()
	if !need {
		return nil
	}
	s, err := l.prepare()
	if err != nil && !errors.Is(err, ErrNoSpace) {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if err != nil && l.noSpace == nil {
		l.opts.Logger.Warn("refusing writes until there is disk space", "dir", l.opts.Dir, "error", err)
	}
	l.next, l.noSpace = s, err
	l.room.Broadcast()
	return err
}

// held is the size of all segments in the index; short ones, which an Open
// leaves behind, count for more than they are, lest they become too many.
// l.mu is held.
func (l *Log) held() int64 {
	var sum int64
	for _, s := range l.segments {
		sum += max(s.size, l.opts.SegmentBytes/8)
	}
	return sum
}

// retire takes the oldest segments out of the index while more is held than
// is to be retained, and returns those that are not kept to be written anew.
func (l *Log) retire() (surplus []*segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for len(l.segments) > 1 && l.held() > l.opts.RetainBytes && l.retirable(l.segments[0]) {
		s := l.segments[0]
		for id := range s.partitions {
			if x := l.partitions[id]; x != nil {
				x.forget(x.heldIn(s.seq))
			}
		}
		l.segments = append(l.segments[:0], l.segments[1:]...)
		l.retired = append(l.retired, s)
	}
	// The oldest go first, so that what remains on disk has no gap.
	if n := len(l.retired) - maxRetired; n > 0 {
		surplus = append(surplus, l.retired[:n]...)
		l.retired = append(l.retired[:0], l.retired[n:]...)
	}
	return surplus
}

// retirable reports whether the oldest segment is needed by nobody.
func (l *Log) retirable(s *segment) bool {
	if s.readers > 0 || s.seq >= l.durable || len(l.groups) > 0 && l.groups[0].seq <= l.replaced {
		return false
	}
	for id := range s.partitions {
		x := l.partitions[id]
		if x == nil {
			continue
		}
		if n := x.heldIn(s.seq); n > 0 && x.base.LSN+uint64(n) > x.needed() {
			return false
		}
	}
	return true
}

// prepare returns the segment that follows the last one, ready to be written:
// a retired one under a new name, or a new one.
func (l *Log) prepare() (*segment, error) {
	var old *segment
	if len(l.retired) > 0 {
		old = l.retired[0]
	}
	if err := l.checkSpace(old); err != nil {
		return nil, err
	}
	fs, name := l.opts.FS, segmentName(l.opts.Dir, l.nextSegment)
	s := &segment{seq: l.nextSegment, name: name, partitions: make(map[uint32]struct{})}
	if old != nil {
		if err := fs.Rename(old.name, name); err != nil {
			return nil, err
		}
		s.file, s.size = old.file, old.size
		l.retired = append(l.retired[:0], l.retired[1:]...)
	} else {
		file, err := fs.Open(name, true)
		if err != nil {
			return nil, err
		}
		s.file = file
	}
	if err := s.fill(l.opts.SegmentBytes); err != nil {
		return nil, l.discard(s, err)
	}
	if err := fs.SyncDir(l.opts.Dir); err != nil {
		return nil, errors.Join(err, s.file.Close())
	}
	l.nextSegment++
	return s, nil
}

// checkSpace refuses to prepare a segment when less than the reserve would be
// left.
func (l *Log) checkSpace(old *segment) error {
	need := l.opts.SegmentBytes
	if old != nil {
		need = max(0, need-old.size)
	}
	free, err := l.opts.FS.Free(l.opts.Dir)
	if err != nil {
		return err
	}
	if l.opts.ReserveBytes > 0 && free < uint64(l.opts.ReserveBytes+need) {
		return fmt.Errorf("%w: %d bytes are free in %s, the reserve is %d and a segment needs %d: free space or lower Options.ReserveBytes",
			ErrNoSpace, free, l.opts.Dir, l.opts.ReserveBytes, need)
	}
	return nil
}

// discard removes a segment that could not be filled and returns the error
// that follows from it. A full disk is no failure: no record was in that file.
func (l *Log) discard(s *segment, err error) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(err, s.file.Close())
	}
	if more := errors.Join(s.file.Close(), l.opts.FS.Remove(s.name), l.opts.FS.SyncDir(l.opts.Dir)); more != nil {
		return more
	}
	return fmt.Errorf("%w: while preparing %s: %w", ErrNoSpace, s.name, err)
}
