package workload

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"sync"
	"time"
)

// Run operates on targets, the clients taking one each in turn, for
// cfg.Duration, then reads back every key that was written. When ctx ends
// first, the result says Interrupted and holds what there is; nothing is read
// back. It returns an error only for a cfg that is not valid.
func Run(ctx context.Context, cfg Config, targets ...KV) (*Result, error) {
	cfg = cfg.WithDefaults()
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	run := runID()
	start := time.Now()
	all := newGap(start)
	workers := make([]*worker, cfg.Clients)
	for i := range workers {
		share := (cfg.Keys + i) / cfg.Clients
		workers[i] = newWorker(i, run, targets[i%len(targets)], share, cfg, start, all)
	}

	load(ctx, workers, cfg.Duration, cfg.Until)
	all.tick()
	r := newResult(workers, time.Since(start), all.value())
	if ctx.Err() == nil {
		r.verify(ctx, workers, cfg.VerifyTimeout)
	}
	r.collect(workers)
	r.Interrupted = ctx.Err() != nil
	return r, nil
}

// load lets the workers work for d, or until one of the others ends.
func load(ctx context.Context, workers []*worker, d time.Duration, until <-chan struct{}) {
	stop := make(chan struct{})
	var running sync.WaitGroup
	for _, w := range workers {
		running.Go(func() { w.work(ctx, stop) })
	}
	select {
	case <-time.After(d):
	case <-until:
	case <-ctx.Done():
	}
	close(stop)
	running.Wait()
}

// runID tells the keys of this run from those of any other.
func runID() string {
	b := make([]byte, 4)
	rand.Read(b)
	return hex.EncodeToString(b)
}
