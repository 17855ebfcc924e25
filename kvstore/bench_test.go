package kvstore_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"

	"github.com/skshohagmiah/clusterkit/kvstore"
)

// BenchmarkSet is a replicated write of 256 bytes on three nodes in one
// process, each with its own log on disk: from the router of the primary to
// the acknowledgement of all three. Its CPU time is that of all nodes.
func BenchmarkSet(b *testing.B) {
	for _, clients := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			nodes, routers := benchCluster(b)
			value := make([]byte, 256)
			measure(b, clients, func(i int) error {
				key := fmt.Appendf(nil, "key-%d", i%100_000)
				part, err := nodes[0].cluster.PartitionIndex(key)
				if err != nil {
					return err
				}
				_, err = routers[part%len(routers)].Set(b.Context(), kvstore.Request{Key: key}, value)
				return err
			})
		})
	}
}

// BenchmarkGet is a linearizable read on the primary.
func BenchmarkGet(b *testing.B) {
	nodes, routers := benchCluster(b)
	const keys = 10_000
	key := func(i int) (kvstore.Request, *kvstore.Router) {
		key := fmt.Appendf(nil, "key-%d", i%keys)
		part, err := nodes[0].cluster.PartitionIndex(key)
		if err != nil {
			b.Fatal(err)
		}
		return kvstore.Request{Key: key}, routers[part%len(routers)]
	}
	var wg sync.WaitGroup
	for from := range 64 {
		wg.Go(func() {
			for i := from; i < keys; i += 64 {
				req, router := key(i)
				if _, err := router.Set(b.Context(), req, make([]byte, 256)); err != nil {
					b.Error(err)
				}
			}
		})
	}
	wg.Wait()
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			measure(b, clients, func(i int) error {
				req, router := key(i)
				_, err := router.Get(b.Context(), req)
				return err
			})
		})
	}
}

// benchCluster returns three nodes, and the routers by the primary's turn.
func benchCluster(b *testing.B) (nodes []*process, routers []*kvstore.Router) {
	b.Helper()
	ids := []string{"a", "b", "c"}
	c := newControl(15, ids...)
	all := startAll(b, c, ids...)
	for _, id := range ids {
		nodes = append(nodes, all[id])
		routers = append(routers, all[id].router)
	}
	for i := range 100 {
		if _, err := routers[0].Set(b.Context(), kvstore.Request{Key: fmt.Append(nil, i)}, nil); err != nil {
			b.Fatal(err)
		}
	}
	return nodes, routers
}

// measure has clients do b.N operations, and reports percentiles and the CPU
// time of the process.
func measure(b *testing.B, clients int, do func(i int) error) {
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
				i := int(next.Add(1))
				if i > b.N {
					return
				}
				start := time.Now()
				if err := do(i); err != nil {
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
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "ops/s")
	b.ReportMetric(float64(total.ValueAtQuantile(50)), "p50-us")
	b.ReportMetric(float64(total.ValueAtQuantile(99)), "p99-us")
	b.ReportMetric((cpu(b)-before).Seconds()*100_000/float64(b.N), "cpu-s/100k")
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
