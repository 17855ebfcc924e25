package kvstore_test

import (
	"bytes"
	"fmt"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// BenchmarkCopy measures a copy of a partition between two nodes over HTTP,
// without a bound: until the snapshot is the partition's, and until it is in
// sync. BenchmarkBadgerAlone in package storage moves the same bytes.
func BenchmarkCopy(b *testing.B) {
	for _, size := range []int{256, 4096} {
		b.Run(fmt.Sprintf("values=%d", size), func(b *testing.B) { benchmarkCopy(b, 64<<20/size, size) })
	}
}

func benchmarkCopy(b *testing.B, items, size int) {
	c := newControl(1, "a", "c")
	alone := []clusterkit.Member{memberOn("a", 1)}
	c.update(func(m *clusterkit.Map) {
		p := &m.Partitions[0]
		p.Members, p.InSync, p.Epoch, m.Config.MinInSync = alone, alone, 2, 1
	})
	source := newProcess(b, c, "a")
	value := bytes.Repeat([]byte("v"), size)
	fillWith(b, source, items, func(int) []byte { return value })
	source.start()
	var unbounded int64
	if err := source.node.Throttle(b.Context(), api.Throttle{BytesPerSecond: &unbounded}); err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(items * size))
	var inSync time.Duration
	incarnation := uint64(1)
	for b.Loop() {
		b.StopTimer()
		target := newProcess(b, c, "c")
		incarnation++
		target.cluster.session.Store(incarnation)
		target.start()
		c.pause(true)
		c.updatePartitions(func(p *clusterkit.Partition) bool {
			p.Members = append(alone[:1:1], memberOn("c", incarnation))
			return true
		})
		eventually(b, "the copy waits", func() bool { return only(target).Waiting != "" })
		began := time.Now()
		b.StartTimer()
		c.pause(false)
		eventually(b, "the snapshot is there", func() bool {
			phase := only(target).Phase
			return phase != "copying snapshot" && phase != "waiting"
		})
		b.StopTimer()
		c.waitInSync(b, 2)
		inSync += time.Since(began)
		c.updatePartitions(func(p *clusterkit.Partition) bool {
			p.Members, p.InSync = alone, alone
			return true
		})
		target.kill()
		b.StartTimer()
	}
	b.ReportMetric(float64(inSync.Milliseconds())/float64(b.N), "ms-until-in-sync")
}
