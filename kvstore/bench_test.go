package kvstore_test

import (
	"fmt"
	"sync"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/internal/measure"
)

// BenchmarkSet is a replicated write of 256 bytes on three nodes in one
// process, each with its own log on disk: from the router of the primary to
// the acknowledgement of all three. Its CPU time is that of all nodes.
func BenchmarkSet(b *testing.B) {
	for _, clients := range []int{1, 64, 512} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			nodes, routers := benchCluster(b)
			value := make([]byte, 256)
			measure.Clients(b, clients, 1, func(_, i int) error {
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
			measure.Clients(b, clients, 1, func(_, i int) error {
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
