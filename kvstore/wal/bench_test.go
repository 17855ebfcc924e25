package wal

import (
	"fmt"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/internal/measure"
)

// BenchmarkAppend measures durable appends of 256 bytes to the real disk by
// writers who each wait for their own: group fsync.
func BenchmarkAppend(b *testing.B) {
	for _, writers := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("clients=%d", writers), func(b *testing.B) {
			l, _, err := Open(Options{Dir: b.TempDir()})
			if err != nil {
				b.Fatal(err)
			}
			type writer struct {
				lsn   uint64
				batch [1]Record
			}
			all := make([]writer, writers)
			data := make([]byte, 256)
			measure.Clients(b, writers, 1, func(client, _ int) error {
				w, partition := &all[client], uint32(client)
				w.lsn++
				w.batch[0] = EntryRecord(partition, Entry{1, w.lsn, data})
				if err := l.Append(w.batch[:]); err != nil {
					return err
				}
				l.Applied(partition, w.lsn)
				return nil
			})
			if err := l.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
}
