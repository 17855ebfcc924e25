package load

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// ErrUnavailable is returned when a store does not take all keys before the load
// begins.
var ErrUnavailable = errors.New("the store was not available")

// load is one run.
type load struct {
	Config
	store        target.Target
	keys         *keys
	chooser      *chooser
	recorder     *recorder
	availability *availability
	start        time.Time
}

// Run puts a store under a load for cfg.Duration, then reads back every key. When
// ctx ends first, the result says Interrupted and holds what there is; nothing is
// read back. It returns an error if cfg is not valid, [ErrUnsupported] and
// [ErrUnavailable].
func Run(ctx context.Context, cfg Config, store target.Target) (*Result, error) {
	return run(ctx, cfg, store, func(ctx context.Context) {
		select {
		case <-time.After(cfg.Ramp + cfg.Warmup + cfg.Duration):
		case <-ctx.Done():
		}
	})
}

// During is like Run, but the load lasts as long as do does, whatever
// cfg.Duration says. do begins with the load. If it fails there is no result but
// its error.
func During(ctx context.Context, cfg Config, store target.Target, do func(context.Context) error) (*Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failure error
	cfg.Duration = forever
	r, err := run(ctx, cfg, store, func(ctx context.Context) {
		if failure = do(ctx); failure != nil {
			cancel()
		}
	})
	if err := errors.Join(failure, err); err != nil {
		return nil, err
	}
	return r, nil
}

// forever is longer than any run.
const forever = 10 * 365 * 24 * time.Hour

func run(ctx context.Context, cfg Config, store target.Target, wait func(context.Context)) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	note, err := cfg.Mix.fits(store)
	if err != nil {
		return nil, err
	}
	l := &load{
		Config:  cfg,
		store:   store,
		keys:    newKeys(runID(), cfg.Keys),
		chooser: newChooser(cfg.distribution(), cfg.Keys),
	}
	r := &Result{Load: cfg.Describe(), Workload: cfg.Mix.Name}
	if note != "" {
		r.Notes = append(r.Notes, note)
	}
	r.Fill, err = l.fill(ctx)
	if err != nil {
		return nil, err
	}
	l.measure(ctx, r, wait)
	if ctx.Err() == nil {
		r.Verified, r.Unreadable = l.verify(ctx)
	}
	r.Violations, r.Failures = l.recorder.found, l.recorder.failures
	r.Interrupted = ctx.Err() != nil
	return r, nil
}

// measure puts the store under load until wait returns.
func (l *load) measure(ctx context.Context, r *Result, wait func(context.Context)) {
	cpu := processorTime()
	l.begin()
	stop := make(chan struct{})
	watching := make(chan struct{})
	var watcher sync.WaitGroup
	watcher.Go(func() { l.watch(watching) })
	var offered offer
	var clients sync.WaitGroup
	clients.Go(func() {
		if l.Rate > 0 {
			offered = l.open(ctx, stop)
		} else {
			offered = l.closed(ctx, stop)
		}
	})
	wait(ctx)
	close(stop)
	clients.Wait()
	close(watching)
	watcher.Wait()
	r.collect(l, offered, processorTime()-cpu)
}

// begin sets the clock to zero.
func (l *load) begin() {
	l.start = time.Now()
	l.recorder = newRecorder(l.start)
	l.availability = newAvailability(l.start)
}

// watch ends the intervals, and tells of the progress.
func (l *load) watch(end <-chan struct{}) {
	lead := l.Ramp + l.Warmup
	for next := time.Duration(0); ; {
		from := next
		if next += time.Second; from < lead && next > lead {
			next = lead
		}
		timer := time.NewTimer(time.Until(l.start.Add(next)))
		select {
		case <-timer.C:
			l.tell(l.recorder.cut(from >= lead))
		case <-end:
			timer.Stop()
			l.recorder.cut(from >= lead)
			return
		}
	}
}

// Progress is how far a load is.
type Progress struct {
	// Phase is what is being done, and Done and Total how far.
	Phase       Phase
	Done, Total time.Duration
	// Keys are those that were written, or read back, in the phases that do
	// that.
	Keys, AllKeys int
	// Failure is why there are no more of them than a moment ago, nil if there
	// are.
	Failure error
	// Last is the interval that has just ended.
	Last Interval
	// Violations is how many there are so far.
	Violations int
}

// Phase is a part of a run.
type Phase string

// The phases.
const (
	Filling   Phase = "fill"
	Warming   Phase = "warm-up"
	Measuring Phase = "load"
	Verifying Phase = "read back"
)

func (l *load) tell(i Interval) {
	if l.Progress == nil {
		return
	}
	p := Progress{Phase: Measuring, Done: i.To, Total: l.Ramp + l.Warmup + l.Duration, Last: i}
	if !i.Measured {
		p.Phase = Warming
	}
	if l.Duration == forever {
		p.Total = 0
	}
	l.recorder.mu.Lock()
	p.Violations = l.recorder.found.Total()
	l.recorder.mu.Unlock()
	l.Progress(p)
}

// write writes a key and notes what is known of it then.
func (l *load) write(ctx context.Context, k *ledger, size int) error {
	shard := shardOf(k.name)
	seq := k.beginWrite()
	l.availability.begin(shard)
	_, err := l.store.Do(ctx, target.Op{Kind: target.Set, Key: k.name, Value: encodeValue(k.name, seq, size)})
	l.availability.end(shard, err == nil)
	switch target.OutcomeOf(err) {
	case target.OK:
		k.acknowledge(seq)
	case target.Failed:
		l.recorder.convict(k.refuse(seq))
	}
	return err
}

// read reads a key and holds what it finds against what is known.
func (l *load) read(ctx context.Context, k *ledger, missing Kind) error {
	began := k.beginRead()
	r, err := l.store.Do(ctx, target.Op{Kind: target.Get, Key: k.name})
	if err != nil {
		k.giveUpRead(began)
		return err
	}
	l.recorder.convict(k.endRead(began, r.Value, r.Found, missing))
	return nil
}

// Fill is the writing of all keys before the load.
type Fill struct {
	Keys    int           `json:"keys"`
	Elapsed time.Duration `json:"elapsed_ns"`
}

// fill writes all keys, each until it may have been written.
func (l *load) fill(ctx context.Context) (Fill, error) {
	bounded, cancel := context.WithTimeoutCause(ctx, l.FillTimeout, fmt.Errorf("it took longer than %v", l.FillTimeout))
	defer cancel()
	l.begin()
	begun := time.Now()
	var acknowledged atomic.Int64
	done := l.each(Filling, func(number uint64, k *ledger) bool {
		random := rand.New(rand.NewPCG(l.Seed, scatter(number)))
		for bounded.Err() == nil {
			err := l.write(bounded, k, l.ValueSize.choose(random))
			if err == nil {
				acknowledged.Add(1)
				return true
			}
			outcome := target.OutcomeOf(err)
			if bounded.Err() == nil {
				l.recorder.fail(outcome, err)
			}
			if outcome != target.Failed {
				return bounded.Err() == nil
			}
			rest(bounded, refusedPause)
		}
		return false
	})
	last := l.recorder.failures.Failed
	l.keys.inserted.Store(uint64(l.Keys))
	switch {
	case ctx.Err() != nil:
		return Fill{}, context.Cause(ctx)
	case done < l.Keys && last == nil:
		return Fill{}, fmt.Errorf("%w: it took %d of %d keys: %w", ErrUnavailable, done, l.Keys, context.Cause(bounded))
	case done < l.Keys:
		return Fill{}, fmt.Errorf("%w: it took %d of %d keys: %w", ErrUnavailable, done, l.Keys, last)
	}
	if acknowledged.Load() == 0 {
		return Fill{}, fmt.Errorf("%w: it acknowledged none of %d writes: %w", ErrUnavailable, l.Keys, l.recorder.failures.Unknown)
	}
	return Fill{done, time.Since(begun)}, nil
}

// verify reads all keys back. It returns how many it read, and how many it could
// not read in time.
func (l *load) verify(ctx context.Context) (verified, unreadable int) {
	ctx, cancel := context.WithTimeoutCause(ctx, l.VerifyTimeout, fmt.Errorf("it took longer than %v", l.VerifyTimeout))
	defer cancel()
	var written atomic.Int64
	verified = l.each(Verifying, func(_ uint64, k *ledger) bool {
		if !k.written() {
			return false
		}
		written.Add(1)
		for {
			err := l.read(ctx, k, Lost)
			if err == nil {
				return true
			}
			l.recorder.fail(target.Failed, err)
			if !rest(ctx, refusedPause) {
				return false
			}
		}
	})
	return verified, int(written.Load()) - verified
}

// each calls do for all keys, by as many goroutines as there are clients. It
// returns how many calls returned true.
func (l *load) each(phase Phase, do func(number uint64, k *ledger) bool) int {
	var (
		next, done atomic.Int64
		clients    sync.WaitGroup
		total      = int64(l.keys.len())
	)
	end := make(chan struct{})
	var watcher sync.WaitGroup
	if l.Progress != nil {
		watcher.Go(func() {
			ticker := time.NewTicker(time.Second)
			defer ticker.Stop()
			before := 0
			for {
				select {
				case <-ticker.C:
					p := Progress{Phase: phase, Keys: int(done.Load()), AllKeys: int(total)}
					if p.Keys == before {
						p.Failure = l.recorder.lastFailed()
					}
					before = p.Keys
					l.Progress(p)
				case <-end:
					return
				}
			}
		})
	}
	for range l.Clients {
		clients.Go(func() {
			for i := next.Add(1) - 1; i < total; i = next.Add(1) - 1 {
				if do(uint64(i), l.keys.at(uint64(i))) {
					done.Add(1)
				}
			}
		})
	}
	clients.Wait()
	close(end)
	watcher.Wait()
	return int(done.Load())
}

// refusedPause is how long a client waits after an operation that was not
// executed, so that a store that is down is not asked a million times a second.
const refusedPause = 10 * time.Millisecond

// rest waits, and returns false if ctx ends before.
func rest(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// runID tells the keys of this run from those of any other.
func runID() string { return fmt.Sprintf("%08x", rand.Uint32()) }
