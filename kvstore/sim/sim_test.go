package sim

import (
	"flag"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"
)

var (
	seeds = flag.Int("seeds", 300, "number of schedules to run")
	first = flag.Uint64("seed", 1, "seed of the first schedule")
)

func options(seed uint64) Options {
	opt := Options{Seed: seed, Nodes: 3, MinInSync: 2, Faults: 10 * time.Second, Clients: 4, Keys: 2}
	switch seed % 8 {
	case 1, 5:
		opt.Nodes = 4
	case 3:
		opt.MinInSync = 1
	}
	return opt
}

// TestSchedules runs many random schedules. To replay one:
//
//	go test ./kvstore/sim -run TestSchedules -seeds 1 -seed N
func TestSchedules(t *testing.T) {
	start := time.Now()
	var (
		mu    sync.Mutex
		total Result
		wg    sync.WaitGroup
		next  = make(chan uint64)
	)
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			for seed := range next {
				r := Run(options(seed))
				mu.Lock()
				if r.Violation != "" {
					t.Errorf("seed %d: %s", seed, r.Violation)
				}
				total.Acked += r.Acked
				total.Unknown += r.Unknown
				total.Reads += r.Reads
				total.Crashes += r.Crashes
				total.Epochs += r.Epochs
				total.Snapshots += r.Snapshots
				total.Wipes += r.Wipes
				total.HandOvers += r.HandOvers
				mu.Unlock()
			}
		})
	}
	for i := range uint64(*seeds) {
		next <- *first + i
	}
	close(next)
	wg.Wait()
	t.Logf("%d seeds from %d, %.0f seeds/s: %+v", *seeds, *first, float64(*seeds)/time.Since(start).Seconds(), fmt.Sprintf("%+v", total))
	if *seeds >= 100 {
		for name, n := range map[string]int{
			"acknowledged writes": total.Acked, "unknown writes": total.Unknown, "reads": total.Reads, "crashes": total.Crashes,
			"epochs": total.Epochs, "snapshots": total.Snapshots, "wiped disks": total.Wipes, "hand-overs": total.HandOvers,
		} {
			if n == 0 {
				t.Errorf("the schedules had no %s: they prove less than they should", name)
			}
		}
	}
}

// TestReplay shows that a seed gives the same schedule each time.
func TestReplay(t *testing.T) {
	for seed := range uint64(5) {
		a, b := Run(options(seed)), Run(options(seed))
		if a != b {
			t.Errorf("seed %d: %+v and then %+v", seed, a, b)
		}
		if c := Run(options(seed + 100)); c.Hash == a.Hash {
			t.Errorf("seeds %d and %d have the same schedule", seed, seed+100)
		}
	}
}
