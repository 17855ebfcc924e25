// Package wal is the log of a node: one ordered stream of records, shared by
// all partitions, in segment files. It holds what is not yet committed and a
// retained tail of what is, for replicas to catch up from.
//
// Records are gathered into groups: one of those who append makes a group
// durable, with one write for all partitions, while the next group gathers.
// Nothing waits for a timer.
//
// The physical order of records is the truth: an entry whose LSN its
// partition already holds replaces that entry and all above it, whatever the
// epochs are. [Open] tells a torn tail, which it cuts off, from corruption,
// which it refuses with [ErrCorrupt].
//
// Segments are files of a fixed size, filled with zeros once, ahead of their
// use and off the path of commits, and later written anew under another name
// rather than deleted: a durable write that allocates no blocks needs no journal
// commit. They are small (16 MiB) because a whole one is filled while the one
// before it is in use; growing the segment that is being appended to would
// have the zeros flushed with its groups.
//
// The caller holds an exclusive lock on the store; the log takes none of its
// own on its directory.
package wal

import (
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
)

var (
	// ErrFailed is wrapped by every error after a write or an fdatasync has
	// failed. Nothing is acknowledged any more, and what was written since
	// the last acknowledgement may or may not be durable: only a new [Open]
	// can tell.
	ErrFailed = errors.New("wal: failed, nothing more is acknowledged")
	// ErrClosed is returned by methods of a closed log.
	ErrClosed = errors.New("wal: closed")
	// ErrNoSpace is returned by [Log.Append] when free space is below
	// [Options.ReserveBytes]. Nothing of the batch was written; the log
	// serves reads, and takes writes again when there is space.
	ErrNoSpace = errors.New("wal: free disk space is below the reserve")
	// ErrTooLarge is returned by [Log.Append] for a batch that does not fit
	// into half a segment, or when the state of all partitions would not fit
	// into a quarter of one. Nothing of the batch was written.
	ErrTooLarge = errors.New("wal: too large")
	// ErrOrder is returned by [Log.Append] for an entry that would leave a
	// gap, or that would replace one that is applied or no longer held. It is
	// a mistake of the caller; nothing of the batch was written.
	ErrOrder = errors.New("wal: out of order")
	// ErrTruncated is returned by [Log.Read] when the log no longer holds the
	// entry asked for.
	ErrTruncated = errors.New("wal: entry no longer held")
	// ErrCorrupt is wrapped by a [CorruptError].
	ErrCorrupt = errors.New("wal: corrupt")
)

// CorruptError says where the log is damaged. It wraps [ErrCorrupt]. A store
// with such a log must not be trusted: entries that it acknowledged are
// missing.
type CorruptError struct {
	File   string
	Offset int64
	Reason string
}

func (e *CorruptError) Error() string {
	return fmt.Sprintf("wal: corrupt: %s at offset %d: %s", e.File, e.Offset, e.Reason)
}

func (e *CorruptError) Unwrap() error { return ErrCorrupt }

const (
	defaultSegmentBytes = 16 << 20
	defaultRetainBytes  = 256 << 20
	defaultBufferBytes  = 8 << 20
	// DefaultReserveBytes is that of [Options.ReserveBytes].
	DefaultReserveBytes = 256 << 20
	minSegmentBytes     = 4 << 10
)

// Options configure a [Log]. The zero value of a field stands for its default.
type Options struct {
	// Dir holds the segments and nothing else. It is created if it is absent.
	Dir string
	// SegmentBytes is the size of a segment file, at least 4 KiB, rounded up
	// to a multiple of 512. It may change from one Open to the next. A batch
	// takes at most half of it. Default 16 MiB.
	SegmentBytes int64
	// RetainBytes is how much log is kept although it is applied, for
	// replicas to catch up from. Entries that are not applied or are pinned
	// stay in any case. Default 256 MiB.
	RetainBytes int64
	// BufferBytes bounds what has been appended and is not yet durable;
	// [Log.Append] blocks above it. A single batch may exceed it. Default
	// 8 MiB.
	BufferBytes int64
	// ReserveBytes is the free space of the file system below which new
	// entries are refused, leaving room for those who must write to make
	// space. It is looked at whenever a segment is prepared. Negative means
	// no reserve. Default 256 MiB.
	ReserveBytes int64
	// FS is the file system. Default [OS].
	FS FS
	// Logger receives the log's few messages. Default none.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("wal: Options.Dir is empty: name the directory of the log")
	}
	setDefault(&o.SegmentBytes, defaultSegmentBytes)
	setDefault(&o.RetainBytes, defaultRetainBytes)
	setDefault(&o.BufferBytes, defaultBufferBytes)
	setDefault(&o.ReserveBytes, DefaultReserveBytes)
	if o.SegmentBytes < minSegmentBytes || o.SegmentBytes > 1<<31 {
		return o, fmt.Errorf("wal: Options.SegmentBytes is %d: choose 4 KiB to 2 GiB", o.SegmentBytes)
	}
	o.SegmentBytes = align(o.SegmentBytes)
	if o.RetainBytes < 0 || o.BufferBytes < 0 {
		return o, errors.New("wal: Options.RetainBytes and BufferBytes cannot be negative")
	}
	o.ReserveBytes = max(o.ReserveBytes, 0)
	if o.FS == nil {
		o.FS = OS
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

func setDefault(field *int64, value int64) {
	if *field == 0 {
		*field = value
	}
}

// Log is an open log. Its methods may be called by any number of goroutines;
// what one goroutine appends keeps its order.
type Log struct {
	opts Options

	mu sync.Mutex
	// room wakes appenders and Close: the buffer drained, a segment is
	// prepared or cannot be, a reader left, or the log failed or closes.
	room sync.Cond

	failed  error
	closing bool

	// identity is in the header of every group.
	identity   uint64
	partitions map[uint32]*index
	// headBytes is at least the encoded size of the heads that start a segment.
	headBytes int64

	// segments are the files of the indexes, oldest first; groups go to the
	// last. next is prepared, or nil while it is being prepared or cannot be:
	// noSpace then says why.
	segments []*segment
	next     *segment
	noSpace  error
	// durable is the newest segment with a durable head: all before it can
	// do without those still older.
	durable uint32
	// replaced is the last group that replaces or resets entries. Until it is
	// durable, what it replaces is still needed.
	replaced uint64

	// groups wait to be written, in order; the first one is being written while
	// writing is set, and written is the last that is durable. end is where the
	// group after them starts. spare ones keep their buffers.
	groups  []*group
	writing bool
	written uint64
	spare   []*group
	end     int64
	seq     uint64
	pending int64

	// retired segments, oldest first, wait to be written anew; they and the
	// number of the segment to prepare belong to the tender.
	retired     []*segment
	nextSegment uint32

	tend    chan struct{}
	closed  chan struct{}
	running sync.WaitGroup
}

// Open opens the log in opts.Dir, or creates it, and returns what it holds. It
// reads every segment once and verifies all of it. A damaged tail is cut off;
// any other damage makes Open fail with a [*CorruptError] and leaves the files
// as they are.
func Open(opts Options) (*Log, *Recovery, error) {
	opts, err := opts.withDefaults()
	if err != nil {
		return nil, nil, err
	}
	if err := opts.FS.MkdirAll(opts.Dir); err != nil {
		return nil, nil, fmt.Errorf("wal: create %s: %w", opts.Dir, err)
	}
	found, err := recoverDir(opts)
	if err != nil {
		return nil, nil, err
	}
	l := &Log{
		opts:        opts,
		identity:    found.identity,
		partitions:  found.partitions,
		segments:    found.segments,
		seq:         found.seq,
		written:     found.seq,
		nextSegment: 1,
		tend:        make(chan struct{}, 1),
		closed:      make(chan struct{}),
	}
	l.room.L = &l.mu
	for _, x := range l.partitions {
		l.headBytes += recordSize(len(x.state))
	}
	if l.identity == 0 {
		l.identity = newIdentity()
	}
	if n := len(l.segments); n > 0 {
		last := l.segments[n-1]
		l.nextSegment, l.durable, l.end = last.seq+1, last.seq, last.size
	}
	l.wakeTender()
	l.running.Go(l.tendSegments)
	return l, found.report(), nil
}

// Close waits until everything appended before it is durable, and releases the
// files. It waits for the log's goroutine and for concurrent reads as well. It
// returns the error that made the log fail, if one did. A second Close returns
// [ErrClosed].
func (l *Log) Close() error {
	l.mu.Lock()
	if l.closing {
		l.mu.Unlock()
		return ErrClosed
	}
	l.closing = true
	l.room.Broadcast()
	l.mu.Unlock()
	close(l.closed)
	l.running.Wait()

	l.mu.Lock()
	defer l.mu.Unlock()
	for l.writing || len(l.groups) > 0 && l.failed == nil || l.beingRead() {
		l.room.Wait()
	}
	files := slices.Concat(l.segments, l.retired)
	if l.next != nil {
		files = append(files, l.next)
	}
	err := l.failed
	for _, s := range files {
		err = errors.Join(err, s.file.Close())
	}
	return err
}

func (l *Log) beingRead() bool {
	for _, s := range l.segments {
		if s.readers > 0 {
			return true
		}
	}
	return false
}

// usable returns why the log takes no calls, if it does not. l.mu is held.
func (l *Log) usable() error {
	if l.failed != nil {
		return l.failed
	}
	if l.closing {
		return ErrClosed
	}
	return nil
}

// fail makes the log fail for good, unless it has failed before. l.mu is held.
func (l *Log) fail(doing string, err error) {
	if l.failed != nil {
		return
	}
	l.failed = fmt.Errorf("%w: %s: %w", ErrFailed, doing, err)
	l.opts.Logger.Error("the log failed; the node must stop and recover it", "dir", l.opts.Dir, "error", l.failed)
	for _, g := range l.groups {
		g.written.Broadcast()
	}
	l.room.Broadcast()
}
