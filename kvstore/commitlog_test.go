package kvstore

import (
	"iter"
	"log/slog"
	"net/http/httptest"
	"slices"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/replication"
)

// nothingReady is the source of a sender that only has what is queued.
type nothingReady struct{ connected chan struct{} }

func (nothingReady) Next(uint32, replication.Peer, bool) (m partition.Message, wait, ok bool) {
	return m, false, false
}

func (s nothingReady) Reconnected(replication.Peer) { s.connected <- struct{}{} }

// What a turn has to send leaves when it ends if the log is idle, and otherwise
// when the log begins the group, together with what comes until then.
func TestEntriesLeaveWithTheirGroup(t *testing.T) {
	const patience = time.Minute
	self, peer := replication.Peer{Node: "a", Store: "disk-a"}, replication.Peer{Node: "b", Store: "disk-b"}
	log := slog.New(slog.DiscardHandler)
	frames := make(chan []uint32, 16)
	receiver := replication.NewReceiver(func() string { return "uuid" }, peer, func(frame iter.Seq2[replication.Envelope, error]) error {
		var parts []uint32
		for e, err := range frame {
			if err != nil {
				return err
			}
			parts = append(parts, e.Partition)
		}
		frames <- parts
		return nil
	}, func(replication.Reason) {}, log)
	defer receiver.Close()
	server := httptest.NewServer(receiver)
	defer server.Close()
	connected := make(chan struct{}, 16)
	sender := replication.NewSender("uuid", self, peer, server.Listener.Addr().String, nothingReady{connected}, log)
	defer sender.Close()
	n := &Node{}
	n.peers = newPeers(n)
	n.peers.senders.Store(&map[replication.Peer]*replication.Sender{peer: sender})
	c := newCommitLog(n, nil) // whose goroutine does not run
	send := func(part uint32) {
		sender.Send(replication.Envelope{Partition: part, Message: partition.Message{Kind: partition.Confirm}})
	}
	want := func(parts ...uint32) {
		t.Helper()
		select {
		case got := <-frames:
			if !slices.Equal(got, parts) {
				t.Fatalf("a frame has the messages %v, want %v", got, parts)
			}
		case <-time.After(patience):
			t.Fatalf("the messages %v do not arrive", parts)
		}
	}
	select {
	case <-connected:
	case <-time.After(patience):
		t.Fatal("there is no connection")
	}
	send(0)
	n.peers.flush()
	want(0)

	c.idle = true
	send(1)
	c.begin(1)
	want(1)
	// The log is woken already.
	send(2)
	c.begin(1)
	// It rests before the next group.
	c.idle = true
	c.spacing.next = time.Now().Add(time.Hour)
	send(3)
	c.begin(1)
	n.peers.flushInBackground() // as the goroutine does with a group
	want(2, 3)
	if c.turns != 3 || len(c.wake) != 1 {
		t.Errorf("%d turns have ended, and %d wake-ups wait", c.turns, len(c.wake))
	}
}
