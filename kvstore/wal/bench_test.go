package wal

import (
	"fmt"
	"sync"
	"testing"
)

// BenchmarkAppend measures durable appends of 256 bytes to the real disk by
// writers who each wait for their own.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("writers=%d", writers), func(b *testing.B) {
			l, _, err := Open(Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			data := make([]byte, 256)
			var wg sync.WaitGroup
			b.ReportAllocs()
			b.SetBytes(int64(len(data)))
			b.ResetTimer()
			for w := range writers {
				wg.Go(func() {
					result := make(chan error, 1)
					done := func(err error) { result <- err }
					batch := make([]Record, 1)
					for lsn := uint64(1); lsn <= uint64((b.N+w)/writers); lsn++ {
						batch[0] = EntryRecord(uint32(w), Entry{1, lsn, data})
						if err := l.Append(batch, done); err != nil {
							b.Error(err)
							return
						}
						if err := <-result; err != nil {
							b.Error(err)
							return
						}
						l.Applied(uint32(w), lsn)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
