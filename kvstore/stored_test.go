package kvstore_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
	"github.com/skshohagmiah/clusterkit/kvstore/wal"
)

// stored is how many values fill puts on a disk.
const stored = 500

// secondEpoch returns a control plane of one partition, in the epoch after the
// one in which fill has written, and a process for each node, none of which has
// been started.
func secondEpoch(t testing.TB, ids ...string) (*control, map[string]*process) {
	t.Helper()
	c := newControl(1, ids...)
	c.updatePartitions(func(p *clusterkit.Partition) bool {
		p.Epoch = 2
		return true
	})
	nodes := map[string]*process{}
	for _, id := range ids {
		nodes[id] = newProcess(t, c, id)
	}
	return c, nodes
}

// fill puts a partition on the disk of a node, committed and with nothing of
// it left in the log.
func fill(t *testing.T, p *process) {
	t.Helper()
	fillBut(t, p, "")
}

// fillBut does so, and gives one key another value.
func fillBut(t *testing.T, p *process, key string) {
	t.Helper()
	fillWith(t, p, stored, func(i int) []byte {
		if fmt.Sprint("old ", i) == key {
			return []byte("other")
		}
		return fmt.Append(nil, i)
	})
}

// fillWith does so with n values.
func fillWith(t testing.TB, p *process, n int, value func(i int) []byte) {
	t.Helper()
	store, err := storage.Open(storage.Options{Dir: filepath.Join(p.dir, "data"), StoreID: "disk-" + p.id})
	if err != nil {
		t.Fatal(err)
	}
	batch := storage.Batch{Through: storage.Position{Epoch: 1, LSN: uint64(n)}}
	for i := range n {
		set := op.Op{Kind: op.Set, Key: command.UserKey(fmt.Append(nil, "old ", i)), Value: value(i)}
		batch.Writes = append(batch.Writes, storage.Write{Op: set, Epoch: 1, LSN: uint64(i) + 1})
	}
	if err := store.Apply([]storage.Batch{batch}); err != nil {
		t.Fatal(err)
	}
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	log, _, err := wal.Open(wal.Options{Dir: filepath.Join(p.dir, "log")})
	if err != nil {
		t.Fatal(err)
	}
	err = log.Append([]wal.Record{
		wal.ResetRecord(0, wal.Position{Epoch: 1, LSN: uint64(n)}),
		wal.StateRecord(0, kvstore.EncodeState(partition.State{Promise: 1, Incarnation: 1})),
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := log.Close(); err != nil {
		t.Fatal(err)
	}
}

// withoutLog is a cluster in which a and b are in-sync, and c, whose disk is
// empty, lacks what their logs no longer hold.
func withoutLog(t *testing.T) (*control, map[string]*process) {
	t.Helper()
	return withoutLogOf(t, stored, func(i int) []byte { return fmt.Append(nil, i) })
}

func withoutLogOf(t testing.TB, n int, value func(i int) []byte) (*control, map[string]*process) {
	t.Helper()
	c, nodes := secondEpoch(t, "a", "b", "c")
	c.updatePartitions(func(p *clusterkit.Partition) bool {
		p.InSync = []clusterkit.Member{memberOn("a", 1), memberOn("b", 1)}
		return true
	})
	fillWith(t, nodes["a"], n, value)
	fillWith(t, nodes["b"], n, value)
	return c, nodes
}

func wantStored(t *testing.T, p *process) {
	t.Helper()
	for i := range stored {
		p.want(fmt.Sprint("old ", i), fmt.Sprint(i))
	}
}

// wantKept makes a node the primary and wants of it what was stored, and "new"
// and "newer", which were set since; and what was stored once more after a
// crash.
func wantKept(t *testing.T, c *control, p *process) {
	t.Helper()
	c.elect(p.id)
	wantStored(t, p)
	p.want("new", "1")
	p.want("newer", "2")
	p.kill()
	p.start()
	c.elect(p.id)
	wantStored(t, p)
}
