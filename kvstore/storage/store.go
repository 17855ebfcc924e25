// Package storage keeps the committed data of a node's partitions in Badger.
// It is the only package that imports Badger.
//
// Nothing here is ever undone: only committed operations arrive, in large
// transactions that also hold the partition's [Checkpoint], so that data and
// the position that they stand for become durable together. After a crash the
// log is replayed from the checkpoint.
//
// A partition's data live under a generation, a number that no other data of
// this store ever had. A reload ([Store.Load]) fills a new generation and
// switches to it in one transaction; the old one is deleted in the background
// at a limited rate.
//
// Badger does not find all damage: a key that has changed looks absent.
// Therefore every value carries a checksum that covers its key, and the
// checkpoint carries the number of keys and an order-independent digest of
// all items, against which a [Snapshot] is compared before it ends. All data
// are so compared in the background, at a low rate. What is damaged is told
// of by [Store.Damaged]; the other partitions go on.
package storage

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dgraph-io/badger/v4"
	"golang.org/x/time/rate"
)

var (
	// ErrFailed is wrapped by every error after a write has failed. What that
	// write covered may or may not be durable: only a new [Open] can tell.
	ErrFailed = errors.New("storage: failed, nothing more is written")
	// ErrCloseTimeout is returned by [Store.Close]. Nothing is lost by it that
	// the log holds.
	ErrCloseTimeout = errors.New("storage: Badger does not close; can its directory still be written?")
	// ErrClosed is returned by methods of a closed store.
	ErrClosed = errors.New("storage: closed")
	// ErrNotFound is returned when there is no such key, or no data of the
	// partition at all.
	ErrNotFound = errors.New("storage: not found")
	// ErrCorrupt is returned when what is read is not what was written. The
	// partition must be loaded anew from another replica.
	ErrCorrupt = errors.New("storage: corrupt")
	// ErrNoSpace is returned when free space is below [Options.ReserveBytes].
	// Nothing was written; the call may be repeated.
	ErrNoSpace = errors.New("storage: free disk space is below the reserve")
	// ErrTooLarge is returned for an entry or an item that does not fit into
	// one transaction. Nothing was written.
	ErrTooLarge = errors.New("storage: too large for one transaction")
	// ErrOtherStore is returned by [Open] for a directory of another store.
	ErrOtherStore = errors.New("storage: the directory belongs to another store")
)

const (
	defaultMemTableBytes    = 16 << 20
	minMemTableBytes        = 8 << 20
	defaultReserveBytes     = 128 << 20
	defaultCollectPerSecond = 20_000
	defaultReclaimDelay     = 20 * time.Second

	defaultScrubBytesPerSecond = 4 << 20
	defaultScrubEvery          = 24 * time.Hour
)

// Options configure a [Store]. The zero value of a field stands for its
// default, but Dir and StoreID must be given.
type Options struct {
	// Dir holds Badger's files and nothing else. It is created if absent.
	Dir string
	// StoreID is the identity of the disk. The directory remembers the first
	// one and is not opened with another.
	StoreID string
	// MemTableBytes is the size of Badger's memtables, of which there are at
	// most three; each allocates about a third more. Beside them Badger holds
	// the buffers of a few tables being built, about as large; nothing is
	// cached but by the operating system. An entry may take 13.5 % of
	// MemTableBytes, keys twice, values and about 60 bytes for each operation:
	// with the default, 16 MiB, that is the largest batch of commands; with the
	// least, 8 MiB, one value just below 1 MiB.
	MemTableBytes int64
	// ReserveBytes is the free space of the file system below which writes
	// are refused: Badger writes through mapped files, where a full disk
	// kills the process. Choose less than the reserve of the log, which then
	// stops taking entries first. Negative means none. Default 128 MiB.
	ReserveBytes int64
	// Free returns the bytes that may still be written to the file system of a
	// directory. Default: what the operating system says.
	Free func(dir string) (uint64, error)
	// CollectPerSecond is how many keys of dropped generations are deleted in
	// a second. Default 20000.
	CollectPerSecond int
	// ReclaimDelay is how long nothing more must have been deleted, at least,
	// before the disk space of what was is reclaimed: then all tables are
	// written anew. Up to twice as much is added at random. Default 20 seconds.
	ReclaimDelay time.Duration
	// ScrubBytesPerSecond is how fast all data are verified in the background,
	// again and again; negative means only when [Store.Scrub] is called. A partition is read in one
	// snapshot, for which Badger keeps what is overwritten meanwhile: raise it
	// if one holds many gigabytes. Default 4 MiB.
	ScrubBytesPerSecond int
	// ScrubEvery is the time from one beginning to the next. Default 24 hours.
	ScrubEvery time.Duration
	// OnDamage is called when the data of a partition turn out to be damaged,
	// once until others take their place; what was known before Open is only
	// in [Store.DamagedPartitions]. One goroutine makes all calls. Default
	// none.
	OnDamage func(partition uint32, cause error)
	// Logger receives the store's and Badger's messages. Default none.
	Logger *slog.Logger
}

func (o Options) withDefaults() (Options, error) {
	if o.Dir == "" {
		return o, errors.New("storage: Options.Dir is empty: name the directory of the data")
	}
	if o.StoreID == "" {
		return o, errors.New("storage: Options.StoreID is empty: give the identity of the store")
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = defaultMemTableBytes
	}
	if o.MemTableBytes < minMemTableBytes || o.MemTableBytes > 1<<30 {
		return o, fmt.Errorf("storage: Options.MemTableBytes is %d: choose 8 MiB to 1 GiB", o.MemTableBytes)
	}
	if o.ReserveBytes == 0 {
		o.ReserveBytes = defaultReserveBytes
	}
	if o.Free == nil {
		o.Free = freeBytes
	}
	if o.CollectPerSecond == 0 {
		o.CollectPerSecond = defaultCollectPerSecond
	}
	if o.CollectPerSecond < 0 {
		return o, fmt.Errorf("storage: Options.CollectPerSecond is %d: it must be positive", o.CollectPerSecond)
	}
	if o.ReclaimDelay == 0 {
		o.ReclaimDelay = defaultReclaimDelay
	}
	if o.ReclaimDelay < 0 {
		return o, fmt.Errorf("storage: Options.ReclaimDelay is %v: it must be positive", o.ReclaimDelay)
	}
	if o.ScrubBytesPerSecond == 0 {
		o.ScrubBytesPerSecond = defaultScrubBytesPerSecond
	}
	if o.ScrubEvery == 0 {
		o.ScrubEvery = defaultScrubEvery
	}
	if o.ScrubEvery < 0 {
		return o, fmt.Errorf("storage: Options.ScrubEvery is %v: it must be positive", o.ScrubEvery)
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Store is an open store. Its methods may be called by any number of
// goroutines.
type Store struct {
	opts Options
	db   *badger.DB
	view atomic.Pointer[view]

	// turn holds one token, taken by whoever changes checkpoints: they take
	// turns, over a commit, and nobody else waits for them.
	turn   chan struct{}
	recent *recent

	mu             sync.Mutex
	failed         error
	closing        bool
	checkpoints    map[uint32]Checkpoint
	nextGeneration uint64
	garbage        []generation
	damaged        map[uint32]damage
	// loads are the unfinished ones.
	loads map[uint32]*load
	// readers are the open snapshots and pictures, and opened counts all there
	// were.
	readers map[any]uint64
	opened  uint64
	// deletedAt is what opened was at the last deletion of garbage, and
	// collecting says that one goes on.
	deletedAt  uint64
	collecting bool
	// users are the calls in progress and the open snapshots and loaders.
	users sync.WaitGroup

	// The background goroutines, and the slots that wake two of them.
	stop       context.CancelFunc
	background sync.WaitGroup
	collect    chan struct{}
	noticed    chan struct{}

	collectLimit      *rate.Limiter
	paddingLimit      *rate.Limiter
	deleted, reclaims atomic.Uint64
	// unreclaimed are the generations that were deleted and may still take space,
	// deletedBytes about how much. They belong to the collector.
	unreclaimed  []generation
	deletedBytes int64
	flattening   sync.WaitGroup

	scrubLimit       *rate.Limiter
	verifyLimit      *rate.Limiter
	scrubbed, passes atomic.Uint64

	// closed is closed when Badger is; Close waits closeTimeout for it.
	closed       chan struct{}
	closeTimeout time.Duration
}

// closeTimeout is ample for Badger to write out its memtables, also to a busy
// disk.
const closeTimeout = 15 * time.Second

// Open opens the store in opts.Dir, or creates it. Generations that a crash
// left behind are deleted in the background. It returns [ErrOtherStore] for
// the directory of another store. A checkpoint that is damaged or missing
// makes the data of its partition count as damaged, see [Store.Damaged].
func Open(opts Options) (_ *Store, err error) {
	opts, err = opts.withDefaults()
	if err != nil {
		return nil, err
	}
	db, err := badger.Open(badgerOptions(opts))
	if err != nil {
		return nil, fmt.Errorf("storage: open %s: %w", opts.Dir, err)
	}
	s := &Store{
		opts:    opts,
		db:      db,
		turn:    make(chan struct{}, 1),
		recent:  newRecent(recentSets),
		damaged: make(map[uint32]damage),
		loads:   make(map[uint32]*load),

		readers: make(map[any]uint64),
		collect: make(chan struct{}, 1),
		noticed: make(chan struct{}, 1),
		closed:  make(chan struct{}),

		closeTimeout: closeTimeout,

		collectLimit: rate.NewLimiter(rate.Limit(opts.CollectPerSecond), max(opts.CollectPerSecond, collectBatch)),
		paddingLimit: rate.NewLimiter(paddingBytesPerSecond, inlineLimit),
		scrubLimit:   rate.NewLimiter(rate.Inf, scrubStep),
		verifyLimit:  rate.NewLimiter(verifyBytesPerSecond, scrubStep),
	}
	if opts.ScrubBytesPerSecond > 0 {
		s.scrubLimit.SetLimit(rate.Limit(opts.ScrubBytesPerSecond))
	}
	if err := s.identify(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	if err := s.survey(); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	s.publish(true)
	ctx, cancel := context.WithCancel(context.Background())
	s.stop = cancel
	s.background.Go(func() { s.collectGarbage(ctx) })
	s.background.Go(func() { s.scrubAgain(ctx) })
	s.background.Go(func() { s.reportDamage(ctx) })
	return s, nil
}

// Close waits until calls in progress have returned and all snapshots and
// loaders are closed or ended, and closes Badger. It returns the error that
// made the store fail, if one did, and [ErrCloseTimeout] if Badger does not
// come to an end, as when its directory can no longer be written: it then
// goes on trying by itself. A second Close returns [ErrClosed].
func (s *Store) Close() error {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return ErrClosed
	}
	s.closing = true
	failed := s.failed
	s.mu.Unlock()

	s.stop()
	s.background.Wait()
	s.users.Wait()
	last := s.view.Swap(nil)
	last.release()
	<-last.gone
	var err error
	go func() {
		defer close(s.closed)
		s.flattening.Wait()
		err = s.db.Close()
	}()
	timeout := time.NewTimer(s.closeTimeout)
	defer timeout.Stop()
	select {
	case <-s.closed:
		return errors.Join(failed, err)
	case <-timeout.C:
		return errors.Join(failed, ErrCloseTimeout)
	}
}

// begin registers a call or an object that uses Badger, which Close waits
// for; the caller calls s.users.Done.
func (s *Store) begin() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed != nil {
		return s.failed
	}
	if s.closing {
		return ErrClosed
	}
	s.users.Add(1)
	return nil
}

// fail makes the store fail for good and returns the error to report.
func (s *Store) fail(doing string, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failed == nil {
		s.failed = fmt.Errorf("%w: %s: %w", ErrFailed, doing, err)
		s.opts.Logger.Error("the store failed; the node must stop and recover it", "dir", s.opts.Dir, "error", s.failed)
	}
	return s.failed
}

// Checkpoint returns what is known of a partition's data; ok is false if
// there are none.
func (s *Store) Checkpoint(partition uint32) (c Checkpoint, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c, ok = s.checkpoints[partition]
	return c, ok
}

// Checkpoints returns those of all partitions with data.
func (s *Store) Checkpoints() map[uint32]Checkpoint {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.checkpoints)
}

func signal(slot chan struct{}) {
	select {
	case slot <- struct{}{}:
	default:
	}
}

// Free returns the bytes that may still be written to the file system.
func (s *Store) Free() (uint64, error) {
	free, err := s.opts.Free(s.opts.Dir)
	if err != nil {
		return 0, fmt.Errorf("storage: free space of %s: %w", s.opts.Dir, err)
	}
	return free, nil
}

// checkSpace refuses to write below the reserve.
func (s *Store) checkSpace() error {
	if s.opts.ReserveBytes < 0 {
		return nil
	}
	free, err := s.Free()
	if err != nil {
		return err
	}
	if free < uint64(s.opts.ReserveBytes) {
		return fmt.Errorf("%w: %d bytes are free in %s, the reserve is %d: free space or lower Options.ReserveBytes",
			ErrNoSpace, free, s.opts.Dir, s.opts.ReserveBytes)
	}
	return nil
}
