package kvstore

import (
	"errors"
	"math"
	"testing"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/replication"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

// What no correct peer sends is refused with the reason, and goes no further.
func TestMessagesThatCannotBeRight(t *testing.T) {
	store, err := storage.Open(storage.Options{Dir: t.TempDir(), StoreID: "store"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = store.Close() })
	n := &Node{storage: store}
	m := &clusterkit.Map{Partitions: []clusterkit.Partition{{Epoch: 5}, {Epoch: 9}}}
	entry := func(ops ...op.Op) []byte { return op.Append(nil, op.Entry{Clock: 1, Ops: ops}) }
	set := func(key string, size int) op.Op {
		return op.Op{Kind: op.Set, Key: []byte(key), Value: make([]byte, size)}
	}
	for name, tc := range map[string]struct {
		partition uint32
		epoch     uint64
		data      []byte
		want      replication.Reason
	}{
		"partition that the cluster has not": {partition: 2, epoch: 5, want: replication.BadPartition},
		"greatest partition":                 {partition: math.MaxUint32, epoch: 5, want: replication.BadPartition},
		"epoch out of reach":                 {epoch: 6 + maxEpochLead, want: replication.BadEpoch},
		"greatest epoch":                     {epoch: math.MaxUint64, want: replication.BadEpoch},
		"entry of another version":           {epoch: 5, data: []byte{99, 1, 2, 3}, want: replication.BadEntry},
		"entry that the storage cannot take": {epoch: 5, data: entry(set("a", 1<<20), set("b", 1<<20), set("c", 1<<20)), want: replication.Oversized},
		"epoch ahead of the map":             {epoch: 5 + maxEpochLead, data: entry(set("a", 1))},
		"earlier epoch":                      {partition: 1, epoch: 1, data: entry(set("a", 1<<20-1))},
	} {
		e := replication.Envelope{Partition: tc.partition, Message: partition.Message{Kind: partition.Append, Epoch: tc.epoch}}
		if tc.data != nil {
			e.Message.Entries = []partition.Entry{{Epoch: 1, LSN: 1, Data: tc.data}}
		}
		err := n.admissible(m, &e)
		if refused := (*replication.FrameError)(nil); tc.want == "" && err != nil || tc.want != "" && (!errors.As(err, &refused) || refused.Reason != tc.want) {
			t.Errorf("%s: %v, want it refused for its %q", name, err, tc.want)
		}
	}
}
