package storage

import (
	"fmt"
	"strings"
	"testing"

	"github.com/dgraph-io/badger/v4"

	"github.com/skshohagmiah/clusterkit/kvstore/internal/measure"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
)

// BenchmarkApply measures one Apply of values of 256 bytes over 100,000 keys
// in 16 partitions. Operations are writes, latencies those of the whole Apply.
func BenchmarkApply(b *testing.B) {
	for _, size := range []int{64, 512, 4096} {
		b.Run(fmt.Sprintf("writes=%d", size), func(b *testing.B) {
			s := mustOpen(b, Options{Dir: b.TempDir()})
			value := make([]byte, 256)
			lsn := uint64(0)
			measure.Clients(b, 1, size, func(_, _ int) error {
				batches := make([]Batch, 16)
				for i := range size {
					lsn++
					batch := &batches[i%16]
					key := fmt.Appendf(nil, "key %06d", lsn*7919%100_000)
					batch.Partition = uint32(i % 16)
					batch.Through = Position{1, lsn}
					batch.Writes = append(batch.Writes, Write{op.Op{Kind: op.Set, Key: key, Value: value}, 1, lsn})
				}
				return s.Apply(batches)
			})
		})
	}
}

// BenchmarkGet is a lookup of any of 100,000 keys in Badger.
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
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			measure.Clients(b, clients, 1, func(_, i int) error {
				_, err := s.Get(1, fmt.Appendf(nil, "key %06d", i*7919%keys))
				return err
			})
		})
	}
}

// BenchmarkBadgerAlone reads all of a store with Badger and writes it to
// another, in one process: what a copy between nodes is held against, see
// BenchmarkCopy in package kvstore.
func BenchmarkBadgerAlone(b *testing.B) {
	for _, size := range []int{256, 4096} {
		b.Run(fmt.Sprintf("values=%d", size), func(b *testing.B) {
			source := mustOpen(b, Options{Dir: b.TempDir(), ScrubBytesPerSecond: -1})
			value := strings.Repeat("v", size)
			items := 64 << 20 / size
			for from := 0; from < items; from += 4096 {
				var writes []Write
				for i := range 4096 {
					writes = append(writes, set(uint64(from+i+1), fmt.Sprintf("key %09d", from+i), value))
				}
				mustApply(b, source, batch(1, writes...))
			}
			b.SetBytes(int64(items * size))
			for b.Loop() {
				b.StopTimer()
				target := mustOpen(b, Options{Dir: b.TempDir(), ScrubBytesPerSecond: -1})
				b.StartTimer()
				txn := source.db.NewTransaction(false)
				it := txn.NewIterator(badger.IteratorOptions{Prefix: generation{partition: 1}.appendPrefix(nil)[:4]})
				wb := target.db.NewWriteBatch()
				for it.Rewind(); it.Valid(); it.Next() {
					v, err := it.Item().ValueCopy(nil)
					if err != nil {
						b.Fatal(err)
					}
					if err := wb.Set(it.Item().KeyCopy(nil), v); err != nil {
						b.Fatal(err)
					}
				}
				if err := wb.Flush(); err != nil {
					b.Fatal(err)
				}
				b.StopTimer()
				it.Close()
				txn.Discard()
				mustClose(b, target)
				b.StartTimer()
			}
		})
	}
}
