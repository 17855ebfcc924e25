package kvstore

import "github.com/skshohagmiah/clusterkit/kvstore/partition"

// A turn is what one goroutine has replicas do before it lets others act on
// it: the messages of a frame, the commands that a client sent together, the
// writes that a group made durable. What comes of them is gathered, and leaves
// when the turn ends: as one group to the log, as one frame to each peer.
//
// Entries are sent when the log begins to write them, so that all disks work at
// the same time and what has gathered for one has gathered for the others. If the
// log is idle that is at once. Frames are sent by the goroutine whose turn ends, as
// far as they leave without waiting, and those of a group by the senders.
type turn struct {
	// wrote is how many goroutines or clients have written.
	wrote int
	said  bool
}

// join adds another turn, which is empty afterwards.
func (t *turn) join(other *turn) {
	t.wrote += other.wrote
	t.said = t.said || other.said
	*other = turn{}
}

// gather takes that the output is being queued.
func (t *turn) gather(out *partition.Output) {
	if len(out.Writes) > 0 {
		t.wrote = 1
	} else if len(out.Ready) > 0 {
		t.said = true
	}
	if len(out.Messages) > 0 {
		t.said = true
	}
}

// end has everything carried out that was queued in the turn. The turn may be
// used again. No lock of a replica is held: the senders ask the replicas.
func (n *Node) end(t *turn) {
	if t.wrote > 0 {
		n.commitLog.begin(t.wrote)
	}
	if t.said {
		n.peers.flush()
	}
	*t = turn{}
}
