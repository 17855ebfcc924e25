package wal

import "fmt"

// Append adds the records of batch to the log, in order, and returns when all
// of them are durable. What others append meanwhile becomes durable together.
// The records are copied, and [Log.Read] finds the entries even before they are
// durable.
//
// If Append returns an error that wraps [ErrFailed], the outcome of the batch
// is unknown; with any other error nothing was added. A batch need not be
// atomic: a crash may leave any first part of it. Two goroutines must not
// append to one partition at the same time.
//
// With free space below the reserve, a batch with an entry is refused with
// [ErrNoSpace]; states and resets are taken while the segment has room.
func (l *Log) Append(batch []Record) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	g, err := l.gather(batch)
	if err != nil {
		return err
	}
	return l.commit(g, g.seq)
}

// gather adds batch to the group that is next to be written, and returns the
// group. l.mu is held, and may have been released meanwhile.
func (l *Log) gather(batch []Record) (*group, error) {
	var size int64
	for i := range batch {
		size += recordSize(len(batch[i].Data))
	}
	if limit := l.opts.SegmentBytes / 2; groupHeader+size > limit {
		return nil, fmt.Errorf("%w: a batch of %d bytes, the limit is half of SegmentBytes, %d", ErrTooLarge, size, limit)
	}

	if err := l.makeRoom(batch, size); err != nil {
		return nil, err
	}
	growth, err := l.check(batch)
	if err != nil {
		return nil, err
	}
	if len(l.segments) == 0 || l.openEnd()+groupHeader+size > l.current().size {
		l.roll()
	}
	g := l.openGroup()
	before := len(g.buf)
	for i := range batch {
		l.add(g, &batch[i])
	}
	l.headBytes += growth
	l.count(g, int64(len(g.buf)-before))
	return g, nil
}

// makeRoom waits until the buffer and a segment can take size bytes. l.mu is
// held on return, and was released while waiting.
func (l *Log) makeRoom(batch []Record, size int64) error {
	for {
		if err := l.usable(); err != nil {
			return err
		}
		fits := len(l.segments) > 0 && l.openEnd()+groupHeader+size <= l.current().size
		switch {
		case l.noSpace != nil && (!fits || hasEntry(batch)):
			return l.noSpace
		case l.pending > 0 && l.pending+size > l.opts.BufferBytes:
		case !fits && l.next == nil:
		default:
			return nil
		}
		l.room.Wait()
	}
}

func hasEntry(batch []Record) bool {
	for i := range batch {
		if batch[i].Kind == KindEntry {
			return true
		}
	}
	return false
}

// check returns an error if batch cannot be added as a whole, and otherwise
// by how much at most it makes the heads grow. l.mu is held.
func (l *Log) check(batch []Record) (growth int64, err error) {
	var base, last Position
	for i := range batch {
		r := &batch[i]
		if i == 0 || r.Partition != batch[i-1].Partition {
			base, last = l.boundsBefore(batch[:i], r.Partition)
			if l.partitions[r.Partition] == nil {
				growth += recordHeader
			}
		}
		switch r.Kind {
		case KindEntry:
			if r.LSN <= base.LSN || r.LSN > last.LSN+1 {
				return 0, fmt.Errorf("%w: entry %d of partition %d, whose log goes from %d to %d: append an LSN above %d and at most %d, or reset",
					ErrOrder, r.LSN, r.Partition, base.LSN+1, last.LSN, base.LSN, last.LSN+1)
			}
			last = r.position()
		case KindReset:
			base, last = r.position(), r.position()
		case KindState:
			old := 0
			if x := l.partitions[r.Partition]; x != nil {
				old = len(x.state)
			}
			growth += int64(max(0, len(r.Data)-old))
		default:
			return 0, fmt.Errorf("%w: record %d has kind %d", ErrOrder, i, r.Kind)
		}
	}
	if limit := l.opts.SegmentBytes / 4; growth > 0 && l.headBytes+growth > limit {
		return 0, fmt.Errorf("%w: the states of all partitions need %d bytes, the limit is a quarter of SegmentBytes, %d: raise SegmentBytes",
			ErrTooLarge, l.headBytes+growth, limit)
	}
	return growth, nil
}

// boundsBefore returns the position below which entries of partition cannot
// be replaced, and its last one, as they will be after batch.
func (l *Log) boundsBefore(batch []Record, partition uint32) (base, last Position) {
	if x := l.partitions[partition]; x != nil {
		base, last = Position{LSN: max(x.base.LSN, x.applied)}, x.last()
	}
	for i := range batch {
		r := &batch[i]
		if r.Partition != partition {
			continue
		}
		switch r.Kind {
		case KindEntry:
			last = r.position()
		case KindReset:
			base, last = r.position(), r.position()
		}
	}
	return base, last
}

// add encodes r, which was checked, into g and brings the index up to date.
func (l *Log) add(g *group, r *Record) {
	at := location{g.segment.seq, uint32(g.offset) + uint32(len(g.buf)), uint32(recordSize(len(r.Data))), g.seed}
	var prev uint64
	if x := l.partitions[r.Partition]; x != nil && r.Kind == KindEntry {
		prev = x.epoch(r.LSN - 1)
		if r.LSN <= x.last().LSN {
			l.replaced = g.seq
		}
	}
	if r.Kind == KindReset {
		l.replaced = g.seq
	}
	g.buf = appendRecord(g.buf, g.seed, *r, prev)
	apply(l.partitions, r, at)
	if r.Kind == KindEntry {
		g.segment.partitions[r.Partition] = struct{}{}
	}
}

// apply brings the indexes up to date with r, which stands at the location.
func apply(partitions map[uint32]*index, r *Record, at location) {
	x := partitions[r.Partition]
	if x == nil {
		x = &index{}
		partitions[r.Partition] = x
	}
	switch r.Kind {
	case KindEntry:
		x.put(r.position(), at)
	case KindState:
		x.state = append(x.state[:0], r.Data...)
	case KindReset:
		x.reset(r.position())
	}
	if x.blank() && len(x.pins) == 0 {
		delete(partitions, r.Partition)
	}
}

func (l *Log) current() *segment { return l.segments[len(l.segments)-1] }

// openGroup returns the group that takes records, beginning one if the last
// is on its way to disk.
func (l *Log) openGroup() *group {
	if n := len(l.groups); n > 0 && !l.groups[n-1].sealed {
		return l.groups[n-1]
	}
	var g *group
	if n := len(l.spare); n > 0 {
		g, l.spare = l.spare[n-1], l.spare[:n-1]
	} else {
		g = &group{}
		g.written.L = &l.mu
	}
	l.seq++
	g.begin(l.identity, l.current(), l.end, l.seq)
	l.groups = append(l.groups, g)
	l.count(g, groupHeader)
	return g
}

func (l *Log) count(g *group, n int64) {
	g.counted += n
	l.pending += n
}

// openEnd is where the next record goes, up to a group header.
func (l *Log) openEnd() int64 {
	if n := len(l.groups); n > 0 && !l.groups[n-1].sealed {
		g := l.groups[n-1]
		return g.offset + int64(len(g.buf))
	}
	return l.end
}

// roll goes on in the next segment, whose first group begins with the heads.
func (l *Log) roll() {
	l.sealOpen()
	l.segments = append(l.segments, l.next)
	l.next, l.end = nil, 0
	l.wakeTender()

	g := l.openGroup()
	for id, x := range l.partitions {
		if !x.blank() {
			last := x.last()
			g.buf = appendRecord(g.buf, g.seed, Record{Kind: kindHead, Partition: id, Epoch: last.Epoch, LSN: last.LSN, Data: x.state}, 0)
		}
	}
	l.headBytes = int64(len(g.buf) - groupHeader)
	l.count(g, l.headBytes)
}

func (l *Log) sealOpen() {
	if n := len(l.groups); n > 0 && !l.groups[n-1].sealed {
		l.groups[n-1].seal()
		l.end = l.groups[n-1].end()
	}
}
