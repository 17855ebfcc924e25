package sim

import (
	"flag"
	"os"
	"runtime"
	"runtime/debug"
	"sync"
	"testing"
	"time"
)

var (
	seeds = flag.Uint64("seeds", defaultSeeds, "number of schedules to run")
	first = flag.Uint64("seed", 1, "seed of the first schedule")
	show  = flag.Bool("show", false, "print what happens in the first schedule")
)

// A run leaves much behind and lives briefly.
func TestMain(m *testing.M) {
	debug.SetGCPercent(800)
	m.Run()
}

// options gives each seed one of several clusters.
func options(seed uint64) Options {
	opt := Options{Seed: seed, Nodes: 3, MinInSync: 2, Faults: 5 * time.Second, Clients: 4}
	switch seed % 8 {
	case 1, 5:
		opt.Nodes = 4
	case 2:
		opt.Nodes = 5
	case 3, 7:
		opt.MinInSync = 1
	}
	return opt
}

// runAll runs schedules on all processors until it has tried n of them, or
// until found returns true, and returns how many it has run.
func runAll(from, n uint64, change func(*Options), found func(seed uint64, r Result) bool) (ran uint64) {
	var (
		mu   sync.Mutex
		stop bool
		wg   sync.WaitGroup
		next = from
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for {
				mu.Lock()
				seed := next
				if stop || seed >= from+n {
					mu.Unlock()
					return
				}
				next++
				mu.Unlock()
				opt := options(seed)
				change(&opt)
				r := Run(opt)
				mu.Lock()
				stop = found(seed, r) || stop
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return next - from
}

// TestSchedules runs many random schedules. To replay one, and see it:
//
//	go test ./kvstore/sim -run TestSchedules -seeds 1 -seed N -show
func TestSchedules(t *testing.T) {
	start := time.Now()
	var total Counts
	runAll(*first, *seeds, func(o *Options) {
		if *show && o.Seed == *first {
			o.Trace = os.Stdout
		}
	}, func(seed uint64, r Result) bool {
		if r.Violation != "" {
			t.Errorf("seed %d: %s", seed, r.Violation)
		}
		for i, n := range r.Counts {
			total[i] += n
		}
		return false
	})
	t.Logf("%d seeds from %d, %.0f seeds/s: %v", *seeds, *first, float64(*seeds)/time.Since(start).Seconds(), total)
	if *seeds < 50 {
		return
	}
	for i, n := range total {
		if n == 0 {
			t.Errorf("the schedules had no %s: they prove less than they should", countNames[i])
		}
	}
}

// TestReplay shows that a seed gives the same schedule each time.
func TestReplay(t *testing.T) {
	for seed := range uint64(16) {
		a, b := Run(options(seed)), Run(options(seed))
		if a != b {
			t.Errorf("seed %d: %+v and then %+v", seed, a, b)
		}
		if c := Run(options(seed + 100)); c.Hash == a.Hash {
			t.Errorf("seeds %d and %d have the same schedule", seed, seed+100)
		}
	}
}
