package kvstore_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// BenchmarkCopy measures a copy of a partition between two nodes over HTTP,
// without a bound, until it is in sync; the time of each is that of the whole.
// BenchmarkBadgerAlone in package storage moves the same bytes.
func BenchmarkCopy(b *testing.B) {
	for _, size := range []int{256, 4096} {
		b.Run(fmt.Sprintf("values=%d", size), func(b *testing.B) {
			items := 64 << 20 / size
			value := bytes.Repeat([]byte("v"), size)
			b.SetBytes(int64(items * size))
			for b.Loop() {
				b.StopTimer()
				c, nodes := withoutLogOf(b, items, func(int) []byte { return value })
				for _, id := range []string{"a", "b"} {
					nodes[id].start()
				}
				var unbounded int64
				if err := nodes["a"].node.Throttle(b.Context(), api.Throttle{BytesPerSecond: &unbounded}); err != nil {
					b.Fatal(err)
				}
				c.pause(true)
				nodes["c"].start()
				eventually(b, "the copy waits", func() bool { return only(nodes["c"]).Waiting != "" })
				b.StartTimer()
				c.pause(false)
				c.waitInSync(b, 3)
				b.StopTimer()
				for _, p := range nodes {
					p.kill()
				}
				b.StartTimer()
			}
		})
	}
}
