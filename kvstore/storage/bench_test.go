package storage

import (
	"fmt"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/op"
)

// BenchmarkApply measures one Apply of values of 256 bytes over 100,000 keys
// in 16 partitions.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{64, 512} {
		b.Run(fmt.Sprintf("writes=%d", size), func(b *testing.B) {
			s := mustOpen(b, Options{Dir: b.TempDir()})
			value := make([]byte, 256)
			lsn := uint64(0)
			b.ReportAllocs()
			for b.Loop() {
				batches := make([]Batch, 16)
				for i := range size {
					lsn++
					batch := &batches[i%16]
					key := fmt.Appendf(nil, "key %06d", lsn*7919%100_000)
					batch.Partition = uint32(i % 16)
					batch.Through = Position{1, lsn}
					batch.Writes = append(batch.Writes, Write{op.Op{Kind: op.Set, Key: key, Value: value}, 1, lsn})
				}
				if err := s.Apply(batches); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N*size)/b.Elapsed().Seconds(), "writes/s")
		})
	}
}

func BenchmarkGet(b *testing.B) {
	s := mustOpen(b, Options{Dir: b.TempDir()})
	const keys = 100_000
	value := string(make([]byte, 256))
	for from := 0; from < keys; from += 1000 {
		var writes []Write
		for i := range 1000 {
			writes = append(writes, set(uint64(from+i+1), fmt.Sprintf("key %06d", from+i), value))
		}
		mustApply(b, s, batch(1, writes...))
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if _, err := s.Get(1, fmt.Appendf(nil, "key %06d", i*7919%keys)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}
