package workload

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"sync"
	"time"
)

// Run operates on targets, the clients taking one each in turn, for
// cfg.Duration, then reads back every key that was written. When ctx ends
// first, the result says Interrupted and holds what there is; nothing is read
// back. It returns an error only for a cfg that is not valid.
func Run(ctx context.Context, cfg Config, targets ...KV) (*Result, error) {
	return run(ctx, cfg, targets, func() {
		select {
		case <-time.After(cfg.Duration):
		case <-ctx.Done():
		}
	})
}

// During is like Run, but the load lasts as long as do does, whatever
// cfg.Duration says. If do fails there is no result but its error.
func During(ctx context.Context, cfg Config, do func(context.Context) error, targets ...KV) (*Result, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var failure error
	r, err := run(ctx, cfg, targets, func() {
		if failure = do(ctx); failure != nil {
			cancel()
		}
	})
	if err := errors.Join(failure, err); err != nil {
		return nil, err
	}
	return r, nil
}

// run loads the targets until wait returns.
func run(ctx context.Context, cfg Config, targets []KV, wait func()) (*Result, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	id := runID()
	start := time.Now()
	all := newGap(start)
	workers := make([]*worker, cfg.Clients)
	for i := range workers {
		share := (cfg.Keys + i) / cfg.Clients
		workers[i] = newWorker(i, id, targets[i%len(targets)], share, cfg, start, all)
	}

	load(ctx, workers, wait)
	all.tick()
	r := newResult(workers, time.Since(start), all.value())
	if ctx.Err() == nil {
		r.verify(ctx, workers, cfg.VerifyTimeout)
	}
	r.collect(workers)
	r.Interrupted = ctx.Err() != nil
	return r, nil
}

// load lets the workers work until wait returns.
func load(ctx context.Context, workers []*worker, wait func()) {
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, w := range workers {
		running.Go(func() { w.work(ctx, stop) })
	}
	wait()
	close(stop)
	running.Wait()
}

// runID tells the keys of this run from those of any other.
func runID() string {
	b := make([]byte, 4)
	rand.Read(b)
	return hex.EncodeToString(b)
}
