package workload

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// worker is one client. Its fields belong to its goroutine while it runs.
type worker struct {
	id        int
	run       string
	kv        KV
	valueSize int
	readRatio float64
	random    *rand.Rand

	// keys are in use, retired ones had a write of unknown outcome.
	keys    []*key
	retired []*key

	writes, reads Latencies
	// gap is between this worker's acknowledged writes, all of everybody's.
	gap, all *gap
	failures Failures
	found    []Violation
}

func newWorker(id int, run string, kv KV, keys int, cfg Config, start time.Time, all *gap) *worker {
	w := &worker{
		id: id, run: run, kv: kv,
		valueSize: cfg.ValueSize,
		readRatio: cfg.ReadRatio,
		random:    rand.New(rand.NewPCG(cfg.Seed, uint64(id))),
		writes:    newLatencies(),
		reads:     newLatencies(),
		gap:       newGap(start),
		all:       all,
	}
	for slot := range keys {
		w.keys = append(w.keys, newKey(run, id, slot, 0))
	}
	return w
}

// work operates until stop is closed. What has begun then is ended, unless
// ctx ends too.
func (w *worker) work(ctx context.Context, stop <-chan struct{}) {
	for generation := 1; ; {
		select {
		case <-stop:
			w.gap.tick()
			return
		default:
		}
		slot := w.random.IntN(len(w.keys))
		k := w.keys[slot]
		if k.acked > 0 && w.random.Float64() < w.readRatio {
			w.read(ctx, k)
			continue
		}
		if known := w.write(ctx, k); !known {
			w.retired = append(w.retired, k)
			w.keys[slot] = newKey(w.run, w.id, slot, generation)
			generation++
		}
	}
}

// write reports whether the outcome is known.
func (w *worker) write(ctx context.Context, k *key) (known bool) {
	seq := k.next
	k.next++
	begun := time.Now()
	_, err := w.kv.Set(ctx, k.name, encodeValue(k.name, seq, w.valueSize))
	switch {
	case err == nil:
		w.writes.record(time.Since(begun))
		w.gap.tick()
		w.all.tick()
		k.acked = seq
		return true
	case client.IsCertain(err):
		w.failures.Refused++
		w.failures.LastRefused = err
		return true
	default:
		w.failures.Unknown++
		w.failures.LastUnknown = err
		k.unknown = seq
		return false
	}
}

func (w *worker) read(ctx context.Context, k *key) {
	begun := time.Now()
	value, err := w.kv.Get(ctx, k.name)
	absent := errors.Is(err, api.ErrNotFound)
	if err != nil && !absent {
		w.failures.Reads++
		w.failures.LastRead = err
		return
	}
	w.reads.record(time.Since(begun))
	if v := k.check(value.Data, !absent); v != nil {
		w.found = append(w.found, *v)
	}
}

// verify reads all keys back. It returns how many it read, and how many it
// could not read until ctx ended.
func (w *worker) verify(ctx context.Context) (verified, unreadable int) {
	for _, keys := range [][]*key{w.keys, w.retired} {
		for _, k := range keys {
			if k.next == 1 {
				continue
			}
			value, err := w.readBack(ctx, k)
			absent := errors.Is(err, api.ErrNotFound)
			if err != nil && !absent {
				unreadable++
				w.failures.LastRead = err
				continue
			}
			verified++
			if v := k.check(value.Data, !absent); v != nil {
				w.found = append(w.found, *v)
			}
		}
	}
	return verified, unreadable
}

func (w *worker) readBack(ctx context.Context, k *key) (client.Value, error) {
	for {
		value, err := w.kv.Get(ctx, k.name)
		if err == nil || !errors.Is(err, api.ErrUnavailable) || ctx.Err() != nil {
			return value, err
		}
	}
}
