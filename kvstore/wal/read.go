package wal

import "fmt"

// spanWaste bounds what Read fetches beside the records it wants in order to
// fetch neighbours with one call.
const spanWaste = 4 << 10

// Read returns entries of partition from LSN from on, none if from is above
// the last, else at least one and at most maxBytes, counting each with its
// record header of 37 bytes. It includes entries that are appended but not
// yet durable. The data belong to the caller. It returns [ErrTruncated] if
// from is no longer held, and a [*CorruptError] if what it reads is not what
// was written.
func (l *Log) Read(partition uint32, from uint64, maxBytes int) ([]Entry, error) {
	r, err := l.locate(partition, from, maxBytes)
	if err != nil || len(r.entries) == 0 {
		return nil, err
	}
	defer l.release(r.pieces)
	for i := range r.pieces {
		if err := r.fetch(&r.pieces[i]); err != nil {
			return nil, err
		}
	}
	return r.entries, nil
}

// reading is one call of Read.
type reading struct {
	partition uint32
	entries   []Entry
	where     []location
	pieces    []piece
}

// piece is a range of entries that stand close together in one file. Entries
// of groups not yet durable are in no piece: their bytes were copied.
type piece struct {
	segment     *segment
	first, next int
}

// locate finds the entries under the lock, so that fetching them needs none.
func (l *Log) locate(partition uint32, from uint64, maxBytes int) (*reading, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if err := l.usable(); err != nil {
		return nil, err
	}
	r := &reading{partition: partition}
	x := l.partitions[partition]
	if x == nil {
		x = &index{}
	}
	if from <= x.base.LSN {
		return nil, fmt.Errorf("%w: entry %d of partition %d, the first one held is %d", ErrTruncated, from, partition, x.base.LSN+1)
	}
	for lsn, size := from, 0; lsn <= x.last().LSN; lsn++ {
		at := x.where[lsn-x.base.LSN-1]
		size += int(at.length)
		if len(r.entries) > 0 && size > maxBytes {
			break
		}
		r.where = append(r.where, at)
		r.entries = append(r.entries, Entry{Epoch: x.epoch(lsn), LSN: lsn})
	}
	for i, at := range r.where {
		if g := l.holding(at); g != nil {
			start := int64(at.offset) - g.offset + recordHeader
			r.entries[i].Data = append([]byte{}, g.buf[start:start+int64(at.length)-recordHeader]...)
			continue
		}
		if n := len(r.pieces); n > 0 && r.joins(&r.pieces[n-1], at) {
			r.pieces[n-1].next = i + 1
			continue
		}
		s := l.segments[at.segment-l.segments[0].seq]
		s.readers++
		r.pieces = append(r.pieces, piece{s, i, i + 1})
	}
	return r, nil
}

// holding returns the group not yet durable that the location lies in.
func (l *Log) holding(at location) *group {
	for _, g := range l.groups {
		if g.segment.seq == at.segment && int64(at.offset) >= g.offset && int64(at.offset) < g.offset+int64(len(g.buf)) {
			return g
		}
	}
	return nil
}

// joins reports whether the record at the location is worth fetching with p.
func (r *reading) joins(p *piece, at location) bool {
	last := r.where[p.next-1]
	return p.segment.seq == at.segment && int64(at.offset)-int64(last.offset)-int64(last.length) <= spanWaste
}

func (l *Log) release(pieces []piece) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := range pieces {
		pieces[i].segment.readers--
	}
	if l.closing {
		l.room.Broadcast()
	}
	if l.held() > l.opts.RetainBytes {
		l.wakeTender()
	}
}

func (r *reading) fetch(p *piece) error {
	start := int64(r.where[p.first].offset)
	last := r.where[p.next-1]
	buf := make([]byte, int64(last.offset)+int64(last.length)-start)
	if _, err := p.segment.file.ReadAt(buf, start); err != nil {
		return fmt.Errorf("wal: read %s: %w", p.segment.name, err)
	}
	for i := p.first; i < p.next; i++ {
		at, e := r.where[i], &r.entries[i]
		rec, _, rest, err := cutRecord(buf[int64(at.offset)-start:][:at.length], at.seed)
		if err != nil || len(rest) > 0 || rec.Partition != r.partition || rec.position() != (Position{e.Epoch, e.LSN}) {
			return &CorruptError{p.segment.name, int64(at.offset), fmt.Sprintf("not entry %d of partition %d", e.LSN, r.partition)}
		}
		e.Data = rec.Data
	}
	return nil
}
