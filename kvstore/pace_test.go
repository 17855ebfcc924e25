package kvstore

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/migration"
)

// The rate holds within a few per cent over ten seconds, whatever it was
// before, and for several copies at once.
func TestPaceHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPace(migration.Settings{BytesPerSecond: 16 << 20, Copies: 2}, &latencies{})
		ctx := t.Context()
		sent := make(chan int, 4)
		for range 3 {
			go func() {
				for {
					part := p.part()
					if take(ctx, p.out, part) != nil {
						return
					}
					select {
					case sent <- part:
					case <-ctx.Done():
						return
					}
				}
			}()
		}
		for _, rate := range []int64{16 << 20, migration.MinBytesPerSecond, 1 << 20, 100 << 20} {
			p.apply(migration.Settings{BytesPerSecond: rate, Copies: 2})
			for range 10 {
				<-sent // what the rate before had let go
			}
			total := 0
			for end := time.After(10 * time.Second); ; {
				select {
				case n := <-sent:
					total += n
					continue
				case <-end:
				}
				break
			}
			if off := float64(total)/float64(10*rate) - 1; math.Abs(off) > 0.05 {
				t.Errorf("at %d bytes per second, %d were sent in ten seconds, %.1f %% off", rate, total, 100*off)
			} else {
				t.Logf("at %d: %.2f %% off", rate, 100*off)
			}
		}
	})
}

// While requests are slow copies slow down, as long as there are any.
func TestPaceAdapts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		busy := false
		answered := &latencies{}
		p := newPace(migration.Settings{BytesPerSecond: 32 << 20, Copies: 2, P99Multiple: 3}, answered)
		go p.adapt(t.Context(), func() bool { return busy })
		second := func(took time.Duration) float64 {
			for range 200 {
				answered.observe(took)
			}
			time.Sleep(adaptEvery)
			synctest.Wait()
			return p.now()
		}
		for range 5 {
			second(time.Millisecond)
		}
		if rate := second(50 * time.Millisecond); rate != 32<<20 {
			t.Errorf("nothing is copied, and the rate is %v", rate)
		}
		busy = true
		if rate := second(time.Millisecond); rate != 32<<20 {
			t.Errorf("requests are fast, and the rate is %v", rate)
		}
		var slowest float64
		for range 20 {
			slowest = second(50 * time.Millisecond)
		}
		if slowest > 2<<20 || slowest < migration.MinBytesPerSecond {
			t.Errorf("requests are slow, and the rate is %v", slowest)
		}
		for range 30 {
			second(time.Millisecond)
		}
		if rate := p.now(); rate != 32<<20 {
			t.Errorf("requests are fast again, and the rate is %v", rate)
		}
	})
}
