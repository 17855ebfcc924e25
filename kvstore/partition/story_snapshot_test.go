package partition

import (
	"fmt"
	"testing"
	"time"
)

// store is told to a node that everything committed is in its storage, and
// that the log below first is gone.
func (s *story) store(name string, first uint64) {
	a := s.node(name)
	a.applied = a.committed[len(a.committed)-1].Position()
	a.retained = first
	s.do(name, func(r *Replica) {
		r.Applied(a.applied.LSN)
		r.Retained(first)
	})
}

// truncatedLog is a story in which A and B have let go of their log below
// LSN 9, and C has nothing.
func truncatedLog(t *testing.T) *story {
	s := serving(t, "A", "B", "C")
	s.pass(1500*time.Millisecond, "C")
	s.accept("A")
	s.tell("A", "B")
	for i := range 10 {
		s.propose("A", fmt.Sprint(i))
		s.settle("C")
	}
	s.pass(200*time.Millisecond, "C")
	s.store("A", 9)
	s.store("B", 9)
	c := s.node("C")
	c.disk, c.unsynced = disk{}, nil
	s.restart("C")
	return s
}

// load gives C the snapshot that A has.
func (s *story) load(name, from string) {
	a, source := s.node(name), s.node(from)
	a.snapshot = nil
	a.applied = source.applied
	s.do(name, func(r *Replica) { r.SnapshotLoaded(source.applied) })
}

func TestSnapshotWhenTheLogIsGone(t *testing.T) {
	s := truncatedLog(t)
	s.tell("C")
	s.node("A").r.Reconnected(storyMember("C"))
	s.pass(300 * time.Millisecond)
	c := s.node("C")
	if c.snapshot == nil || *c.snapshot != storyMember("A") {
		t.Fatalf("C fetches from %v, want A", c.snapshot)
	}
	s.propose("A", "meanwhile") // C learns of it from the log
	s.settle()
	s.wantLog("C") // nothing is appended to a log that is about to be replaced
	s.load("C", "A")
	s.pass(300 * time.Millisecond)
	s.wantLog("C", "1:meanwhile", "1:")
	s.wantCommitted("C", "meanwhile")
	s.restart("C")
	if got, want := s.node("C").r.Last(), s.node("A").r.Last(); got != want {
		t.Errorf("after a restart C is at %v, A at %v", got, want)
	}
	s.accept("A") // to add C
}

// The switch of the data comes before that of the log; a crash in between
// leaves a log that ends below the data.
func TestCrashBetweenSnapshotAndLog(t *testing.T) {
	s := truncatedLog(t)
	s.tell("C")
	s.node("A").r.Reconnected(storyMember("C"))
	s.pass(300 * time.Millisecond)
	s.load("C", "A")
	if len(s.node("C").unsynced) == 0 {
		t.Fatal("C does not begin its log anew")
	}
	s.restart("C")
	s.tell("C")
	s.node("A").r.Reconnected(storyMember("C"))
	s.propose("A", "more")
	s.pass(300 * time.Millisecond)
	s.wantCommitted("C", "more")
	s.wantLog("C", "1:more", "1:")
}

// What is committed while the snapshot is on its way would follow it into the
// storage, out of order.
func TestNothingIsCommittedDuringASnapshot(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.decide(func(v *View) { v.InSync = storyMembers("A", "B") })
	s.tell("A", "B", "C")
	s.propose("A", "x")
	s.sync("A")
	s.deliver("C")
	behind := Message{Kind: Behind, From: storyMember("A"), To: storyMember("C"), Epoch: 1, Prev: Position{1, 50}}
	mark := Message{Kind: Append, From: storyMember("A"), To: storyMember("C"), Epoch: 1, Prev: Position{1, 2}, Commit: 2}
	s.do("C", func(r *Replica) {
		r.Step(mark)
		r.Step(behind)
	})
	s.sync("C")
	s.wantCommitted("C")
	s.do("C", func(r *Replica) { r.SnapshotFailed() })
	s.wantCommitted("C", "x")
}

func TestSnapshotThatFailsIsAskedForAgain(t *testing.T) {
	s := truncatedLog(t)
	s.tell("C")
	s.node("A").r.Reconnected(storyMember("C"))
	s.pass(300 * time.Millisecond)
	c := s.node("C")
	c.snapshot = nil
	s.pass(time.Second)
	if c.snapshot != nil {
		t.Fatal("C fetches twice at once")
	}
	s.do("C", func(r *Replica) { r.SnapshotFailed() })
	s.pass(300 * time.Millisecond)
	if c.snapshot == nil {
		t.Error("C does not try again")
	}
}

// A member of the in-sync set never throws its log away: it may be the last
// that has an acknowledged write.
func TestInSyncMemberKeepsItsLog(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.settle()
	before := s.log("C")
	s.do("C", func(r *Replica) {
		r.Step(Message{Kind: Behind, From: storyMember("A"), To: storyMember("C"), Epoch: 1, Prev: Position{1, 100}})
	})
	if s.node("C").snapshot != nil {
		t.Error("C fetches a snapshot")
	}
	s.wantLog("C", before...)
}

// The primary was wrong: its peer has the entry at which the primary's log
// begins.
func TestPeerThatIsNotBehindSaysSo(t *testing.T) {
	s := truncatedLog(t)
	s.do("B", func(r *Replica) {
		r.Step(Message{Kind: Behind, From: storyMember("A"), To: storyMember("B"), Epoch: 1, Prev: Position{1, 8}})
	})
	got := s.answers("B", Mismatch)
	if len(got) != 1 || got[0].Hint != s.node("B").r.Last() {
		t.Errorf("B has answered %+v, want its end", got)
	}
}

// What is no longer in memory is read from the disk.
func TestPeerThatLagsIsServedFromTheDisk(t *testing.T) {
	s := truncatedLog(t)
	a := s.node("A")
	a.retained = 1
	s.restart("A") // which forgets everything that the storage has
	s.elect("A")
	s.tell("A", "B", "C")
	s.settle()
	s.pass(300 * time.Millisecond)
	s.wantRole("A", Serving)
	if s.node("C").snapshot != nil {
		t.Error("C fetches a snapshot although the log is there")
	}
	s.wantLog("C", s.log("A")...)
	s.wantCommitted("C", "0", "1", "2", "3", "4", "5", "6", "7", "8", "9")
}
