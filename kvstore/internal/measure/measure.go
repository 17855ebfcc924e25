// Package measure is what the benchmarks of the data plane report: throughput,
// latency, and the CPU time of the whole process, which decides how much a
// machine can do when everything else is in order.
package measure

import (
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Clients has so many clients call do, b.N times in all, each call once the
// client's last has returned, and reports what a call costs beside what the
// benchmark does by itself. A call does so many operations. Client numbers
// count from 0, those of calls from 1.
func Clients(b *testing.B, clients, operations int, do func(client, call int) error) {
	b.Helper()
	var next atomic.Int64
	histograms := make([]*hdrhistogram.Histogram, clients)
	before := cpu(b)
	b.ReportAllocs()
	b.ResetTimer()
	var wg sync.WaitGroup
	for c := range clients {
		histograms[c] = hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 3)
		wg.Go(func() {
			for {
				call := int(next.Add(1))
				if call > b.N {
					return
				}
				start := time.Now()
				if err := do(c, call); err != nil {
					b.Error(err)
					return
				}
				_ = histograms[c].RecordValue(time.Since(start).Microseconds())
			}
		})
	}
	wg.Wait()
	b.StopTimer()
	total := histograms[0]
	for _, h := range histograms[1:] {
		total.Merge(h)
	}
	done := float64(b.N * operations)
	b.ReportMetric(done/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(total.ValueAtQuantile(50)), "p50-us")
	b.ReportMetric(float64(total.ValueAtQuantile(99)), "p99-us")
	b.ReportMetric((cpu(b)-before).Seconds()*100_000/done, "cpu-s/100k")
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
