package wal

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
)

// Recovery is what [Open] found.
type Recovery struct {
	Partitions map[uint32]Recovered
	// Torn says that the last group was incomplete and has been cut off: it
	// had never been acknowledged.
	Torn bool
}

// Recovered is what the log holds of one partition. The entries themselves
// are read with [Log.Read].
type Recovered struct {
	// State is the last state appended.
	State []byte
	// Base is the position before the first entry held, Last that of the last
	// one; they are equal if there is none.
	Base, Last Position
	// Runs are the epochs of the entries above Base, in order.
	Runs []Run
}

// recovery gathers what the segments hold, oldest first.
type recovery struct {
	opts       Options
	partitions map[uint32]*index
	// headed are the partitions whose base is what a head said, not a reset.
	headed   map[uint32]bool
	segments []*segment
	// identity is that of the log, 0 before the first group. seq is that of
	// the last group, known the number of partitions after it.
	identity uint64
	seq      uint64
	known    int
	// end is where the next group belongs, said as the damage that it is if
	// the log should turn out to go on elsewhere. ended says that it must
	// not: only leftovers of a torn group may follow.
	end   *CorruptError
	ended bool
	torn  bool
	// endOffset is where the last group of the last segment ends.
	endOffset int64
	buf       []byte
}

func (r *recovery) report() *Recovery {
	out := &Recovery{Partitions: make(map[uint32]Recovered, len(r.partitions)), Torn: r.torn}
	for id, x := range r.partitions {
		out.Partitions[id] = Recovered{
			State: slices.Clone(x.state),
			Base:  x.base,
			Last:  x.last(),
			Runs:  slices.Clone(x.runs),
		}
	}
	return out
}

// recoverDir reads the segments in opts.Dir and leaves behind exactly the
// files of the result, each ending with its last valid group. No file is
// changed if there is corruption.
func recoverDir(opts Options) (*recovery, error) {
	r := &recovery{opts: opts, partitions: make(map[uint32]*index), headed: make(map[uint32]bool)}
	seqs, err := listSegments(opts)
	if err != nil {
		return nil, err
	}
	var leftovers []*segment
	for _, seq := range seqs {
		s, err := openSegment(opts, seq)
		if err == nil {
			var groups int
			if groups, err = r.read(s); groups == 0 {
				leftovers = append(leftovers, s)
			} else {
				r.segments = append(r.segments, s)
			}
		}
		if err != nil {
			for _, s := range slices.Concat(r.segments, leftovers) {
				err = errors.Join(err, s.file.Close())
			}
			return nil, err
		}
	}
	r.buf = nil
	if err := r.cut(leftovers); err != nil {
		return nil, fmt.Errorf("wal: cut the leftovers off %s: %w", opts.Dir, err)
	}
	return r, nil
}

// listSegments returns the numbers of the segment files in order.
func listSegments(opts Options) ([]uint32, error) {
	names, err := opts.FS.List(opts.Dir)
	if err != nil {
		return nil, fmt.Errorf("wal: list %s: %w", opts.Dir, err)
	}
	var seqs []uint32
	for _, name := range names {
		seq, ok := segmentSeq(name)
		if !ok {
			return nil, fmt.Errorf("wal: %s is not a file of the log: move it out of the directory", filepath.Join(opts.Dir, name))
		}
		seqs = append(seqs, seq)
	}
	slices.Sort(seqs)
	return seqs, nil
}

func openSegment(opts Options, seq uint32) (*segment, error) {
	s := &segment{seq: seq, name: segmentName(opts.Dir, seq), partitions: make(map[uint32]struct{})}
	file, err := opts.FS.Open(s.name, false)
	if err != nil {
		return nil, fmt.Errorf("wal: %w", err)
	}
	if s.size, err = file.Size(); err != nil {
		return nil, errors.Join(fmt.Errorf("wal: %w", err), file.Close())
	}
	s.file = file
	return s, nil
}

// read takes the groups of s into the indexes and returns their number. s is
// the newest segment so far.
func (r *recovery) read(s *segment) (groups int, err error) {
	if int64(cap(r.buf)) < s.size {
		r.buf = make([]byte, s.size)
	}
	image := r.buf[:s.size]
	if _, err := s.file.ReadAt(image, 0); err != nil && !errors.Is(err, io.EOF) {
		return 0, fmt.Errorf("wal: read %s: %w", s.name, err)
	}
	var offset int64
	for !r.ended {
		h, ok := parseHeader(tail(image, offset))
		if !ok || !r.belongs(h, s) || !r.expects(h.seq) {
			break
		}
		records, ok := cutGroup(image[offset+groupHeader:], h)
		if !ok {
			break
		}
		if err := r.take(s, h, offset, records); err != nil {
			return groups, &CorruptError{s.name, offset, err.Error()}
		}
		r.identity, r.seq = h.identity, h.seq
		groups++
		offset = align(offset + groupHeader + h.length)
	}
	return groups, r.finish(s, image, offset, groups)
}

// belongs reports whether the header was written to the segment under its
// present name, and is not left of an earlier one or in the data of clients.
func (r *recovery) belongs(h header, s *segment) bool {
	return h.segment == s.seq && h.identity != 0 && (r.identity == 0 || h.identity == r.identity)
}

// expects reports whether seq continues the log; the first group found may
// have any.
func (r *recovery) expects(seq uint64) bool { return r.seq == 0 && seq > 0 || seq == r.seq+1 }

// finish judges what follows the last valid group of s. Groups are written
// one after the other, each only when the one before it is durable: so a
// header of a later group proves that what precedes it was acknowledged.
func (r *recovery) finish(s *segment, image []byte, offset int64, groups int) error {
	rest := offset
	h, ok := parseHeader(tail(image, offset))
	if !r.ended {
		place := &CorruptError{s.name, offset, "the group that belongs here is damaged or missing, and later ones exist"}
		switch {
		case ok && r.belongs(h, s) && r.expects(h.seq):
			r.torn, r.ended = true, true
			// What stands in the torn group itself is data of clients.
			rest = align(offset + groupHeader + h.length)
		case ok && r.belongs(h, s) && groups == 0 && r.end != nil:
			return r.end
		case groups == 0:
			r.ended = true
		}
		r.torn = r.torn || startsTorn(tail(image, offset), s.seq)
		r.end = place
	}
	for ; rest < int64(len(image)); rest += sector {
		if h, ok := parseHeader(image[rest:]); ok && r.belongs(h, s) {
			return r.end
		}
	}
	if groups > 0 {
		r.endOffset = offset
	}
	return nil
}

// startsTorn reports whether b starts like a group of the segment.
func startsTorn(b []byte, segment uint32) bool {
	return len(b) >= 8 && binary.LittleEndian.Uint32(b) == groupMagic && binary.LittleEndian.Uint32(b[4:]) == segment
}

func tail(image []byte, offset int64) []byte {
	return image[min(offset, int64(len(image))):]
}

// take brings the indexes up to date with a group.
func (r *recovery) take(s *segment, h header, offset int64, records []located) error {
	heads := 0
	for i := range records {
		rec := &records[i]
		if rec.Kind == kindHead {
			heads++
		}
		if err := r.check(rec); err != nil {
			return fmt.Errorf("record %d of the group: %w", i, err)
		}
		switch rec.Kind {
		case kindHead:
			r.takeHead(rec)
			continue
		case KindReset:
			delete(r.headed, rec.Partition)
		case KindEntry:
			s.partitions[rec.Partition] = struct{}{}
			r.lowerBase(rec)
		}
		at := location{s.seq, uint32(offset+groupHeader) + rec.offset, uint32(recordSize(len(rec.Data))), h.seed}
		apply(r.partitions, &rec.Record, at)
	}
	if offset == 0 && len(r.segments) > 0 && heads != r.known {
		return fmt.Errorf("the segment begins with %d partitions, %d are known", heads, r.known)
	}
	r.known = len(r.partitions)
	return nil
}

type located struct {
	Record
	prevEpoch uint64
	offset    uint32
}

// cutGroup returns the records of the group of header h, if b starts with all
// of them undamaged.
func cutGroup(b []byte, h header) ([]located, bool) {
	if h.length > int64(len(b)) {
		return nil, false
	}
	var records []located
	for rest := b[:h.length]; len(rest) > 0; {
		offset := h.length - int64(len(rest))
		rec, prevEpoch, more, err := cutRecord(rest, h.seed)
		if err != nil {
			return nil, false
		}
		records = append(records, located{rec, prevEpoch, uint32(offset)})
		rest = more
	}
	return records, true
}

// check returns an error unless rec continues the log: a record that does not
// shows that others are missing.
func (r *recovery) check(rec *located) error {
	x, known := r.partitions[rec.Partition]
	if !known {
		x = &index{}
	}
	switch rec.Kind {
	case kindHead:
		oldest := len(r.segments) == 0
		if oldest && known || !oldest && (x.last() != rec.position() || !bytes.Equal(x.state, rec.Data)) {
			return fmt.Errorf("partition %d ends at %v, the head of the segment says %v", rec.Partition, x.last(), rec.position())
		}
	case KindEntry:
		last := x.last()
		replaces := r.headed[rec.Partition] && rec.LSN > 0 && rec.LSN <= x.base.LSN
		follows := rec.LSN > x.base.LSN && rec.LSN <= last.LSN+1 && rec.prevEpoch == x.epoch(rec.LSN-1)
		if !replaces && !follows {
			return fmt.Errorf("entry %v of partition %d follows epoch %d, the log goes from %v to %v",
				rec.position(), rec.Partition, rec.prevEpoch, x.base, last)
		}
	case KindState, KindReset:
	default:
		return fmt.Errorf("unknown kind %d", rec.Kind)
	}
	return nil
}

// takeHead lets the oldest segment say where partitions begin; in later ones
// it has been checked and says nothing new.
func (r *recovery) takeHead(rec *located) {
	if len(r.segments) > 0 {
		return
	}
	x := &index{state: bytes.Clone(rec.Data)}
	x.reset(rec.position())
	r.partitions[rec.Partition] = x
	r.headed[rec.Partition] = true
}

// lowerBase makes way for an entry that replaces one of a segment that is
// gone, where the head of the oldest segment still counts the replaced ones.
// Those below it were applied, or their segment would be here.
func (r *recovery) lowerBase(rec *located) {
	if x := r.partitions[rec.Partition]; x != nil && rec.LSN <= x.base.LSN {
		x.reset(Position{rec.prevEpoch, rec.LSN - 1})
	}
}

// cut removes what may follow the last valid group, so that it can never be
// taken for a part of the log: the log goes on in a new file.
func (r *recovery) cut(leftovers []*segment) error {
	if r.torn {
		r.opts.Logger.Warn("the last group of the log was incomplete and is cut off",
			"file", r.end.File, "offset", r.end.Offset)
	}
	for _, s := range leftovers {
		if err := errors.Join(s.file.Close(), r.opts.FS.Remove(s.name)); err != nil {
			return err
		}
	}
	if n := len(r.segments); n > 0 {
		last := r.segments[n-1]
		if err := last.file.Truncate(r.endOffset); err != nil {
			return err
		}
		if err := last.file.Sync(); err != nil {
			return err
		}
		last.size = r.endOffset
	}
	return r.opts.FS.SyncDir(r.opts.Dir)
}
