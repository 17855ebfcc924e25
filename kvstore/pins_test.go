package kvstore

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/migration"
	"github.com/skshohagmiah/clusterkit/kvstore/op"
	"github.com/skshohagmiah/clusterkit/kvstore/replication"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
	"github.com/skshohagmiah/clusterkit/kvstore/wal"
)

// giver is a node as far as it gives snapshots, with ten items.
func giver(t *testing.T, copies int) *Node {
	t.Helper()
	store, err := storage.Open(storage.Options{Dir: t.TempDir(), StoreID: "store", ScrubBytesPerSecond: -1})
	if err != nil {
		t.Fatal(err)
	}
	log, _, err := wal.Open(wal.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	batch := storage.Batch{Through: storage.Position{Epoch: 1, LSN: 10}}
	for i := range uint64(10) {
		batch.Writes = append(batch.Writes, storage.Write{Op: op.Op{Kind: op.Set, Key: fmt.Append(nil, i)}, Epoch: 1, LSN: i + 1})
	}
	if err := store.Apply([]storage.Batch{batch}); err != nil {
		t.Fatal(err)
	}
	n := &Node{storage: store, metrics: newMetrics(), log: slog.New(slog.DiscardHandler)}
	n.commitLog = newCommitLog(n, log)
	n.pace = newPace(migration.Settings{Copies: copies}, &n.metrics.answered)
	n.pins = newPins(n)
	t.Cleanup(func() {
		n.pins.shut()
		if err := errors.Join(log.Close(), store.Close()); err != nil {
			t.Error(err)
		}
	})
	return n
}

func hold(t *testing.T, n *Node, peer string) *pin {
	t.Helper()
	held, c, err := n.pins.open(0, replication.Peer{Node: peer}, false)
	if err != nil {
		t.Fatal(err)
	}
	if c.LSN != 10 || c.Sum.Count != 10 {
		t.Fatalf("the snapshot shows %+v", c)
	}
	return held
}

// A snapshot is held as long as somebody asks for it, and a minute longer.
func TestSnapshotsAreHeldWhileTheyAreAskedFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := giver(t, 2)
		held := hold(t, n, "b")
		for range 5 {
			time.Sleep(pinIdle - time.Second)
			if _, done, err := n.pins.use(held.id); err != nil {
				t.Fatal(err)
			} else {
				done()
			}
		}
		_, done, err := n.pins.use(held.id)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * pinIdle)
		if chunk, err := held.chunk(nil, nil, 100); err != nil || len(chunk) == 0 {
			t.Errorf("it has gone while it is used: %v", err)
		}
		done()
		time.Sleep(pinIdle + time.Second)
		synctest.Wait()
		if _, _, err := n.pins.use(held.id); !errors.Is(err, errPinGone) {
			t.Errorf("nobody has asked for it for a minute: %v", err)
		}
		if _, err := held.chunk(nil, nil, 100); !errors.Is(err, errPinGone) {
			t.Errorf("its data are still there: %v", err)
		}
	})
}

func TestSnapshotsAreFewAtATime(t *testing.T) {
	n := giver(t, 2)
	first, second := hold(t, n, "b"), hold(t, n, "c")
	if _, _, err := n.pins.open(0, replication.Peer{Node: "d"}, false); !errors.Is(err, errBusy) {
		t.Errorf("a third one: %v", err)
	}
	if _, _, err := n.pins.open(0, replication.Peer{Node: "d"}, true); err != nil {
		t.Errorf("an urgent third one: %v", err)
	}
	n.pins.letGo(first.id)
	n.pins.letGo(first.id)
	if _, _, err := n.pins.open(0, replication.Peer{Node: "e"}, false); !errors.Is(err, errBusy) {
		t.Errorf("as many as before: %v", err)
	}
	// One of which only the log is wanted does not count, and who asks again has
	// lost what it had.
	n.pins.taken(second)
	if _, err := second.chunk(nil, nil, 100); !errors.Is(err, errPinGone) {
		t.Errorf("the data of one that was taken: %v", err)
	}
	again := hold(t, n, "e")
	if hold(t, n, "e"); n.pins.count() != 2 {
		t.Errorf("%d snapshots are given", n.pins.count())
	}
	if _, _, err := n.pins.use(again.id); !errors.Is(err, errPinGone) {
		t.Errorf("the one before: %v", err)
	}
}

func TestChunksOfASnapshot(t *testing.T) {
	n := giver(t, 2)
	held := hold(t, n, "b")
	var after []byte
	for i := range 10 {
		chunk, err := held.chunk(nil, after, 1)
		if err != nil {
			t.Fatal(err)
		}
		items, err := storage.DecodeChunk(chunk)
		if err != nil || len(items) != 1 || string(items[0].Key) != fmt.Sprint(i) {
			t.Fatalf("behind %q come %v, %v", after, items, err)
		}
		after = items[0].Key
	}
	if _, err := held.chunk(nil, after, 1); !errors.Is(err, io.EOF) {
		t.Errorf("behind the last comes %v", err)
	}
}
