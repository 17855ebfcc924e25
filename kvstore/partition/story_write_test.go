package partition

import (
	"errors"
	"testing"
	"time"
)

func TestWriteIsCommittedWhenAllInSyncHaveItOnDisk(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.deliver("B", "C")
	s.wantCommitted("A")
	s.sync("A")
	s.wantCommitted("A")
	s.sync("B")
	s.deliver("A")
	s.wantCommitted("A") // C has it, but not on disk
	s.sync("C")
	s.wantCommitted("A")
	s.deliver("A")
	s.wantCommitted("A", "x")
	s.wantCommitted("B") // nobody has told it yet
	s.pass(100 * time.Millisecond)
	s.wantCommitted("B", "x")
	s.wantCommitted("C", "x")
}

func TestAnswerSpeaksForTheDiskOnly(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.deliver("B")
	if got := s.answers("B", OK); len(got) != 0 {
		t.Fatalf("B has answered %+v before the fsync", got)
	}
	s.sync("B")
	got := s.answers("B", OK)
	if len(got) != 1 || got[0].Durable != s.node("B").r.Last().LSN {
		t.Fatalf("B has answered %+v", got)
	}
}

func TestStalePrimaryIsRejected(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.elect("B")
	s.tell("B", "C")
	s.settle("A")
	s.wantRole("A", Serving) // it does not know yet
	s.propose("A", "late")
	s.sync("A")
	s.deliver("B", "C")
	stale := s.answers("C", Stale)
	if len(stale) != 1 || stale[0].Epoch != 2 {
		t.Fatalf("C has answered %+v, want that it has taken part in epoch 2", stale)
	}
	s.deliver("A")
	s.wantRole("A", Follower)
	if _, err := s.node("A").r.Propose([]byte("later")); !errors.Is(err, ErrNotServing) {
		t.Errorf("A takes a write: %v", err)
	}
	s.wantCommitted("A")
	s.tell("A")
	s.node("B").r.Reconnected(storyMember("A"))
	s.pass(200 * time.Millisecond)
	s.wantRole("B", Serving)
	s.wantLog("A", "1:", "2:") // "late" had to go
}

// Both have entries that nobody acknowledged, from different epochs. They
// lose them by comparing epochs, not by going back entry for entry.
func TestDivergentSuffixIsTruncatedByEpochHistory(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.settle()
	for _, data := range []string{"a1", "a2", "a3", "a4", "a5", "a6"} {
		s.propose("A", data)
	}
	s.sync("A")
	s.take() // lost with A

	s.elect("B")
	s.tell("B")
	s.sync("B")
	s.deliver("C")
	s.tell("C")
	s.settle("A") // C has B's no-op; A misses, so B does not serve
	s.wantRole("B", Recovering)
	s.elect("C")
	s.tell("C")
	s.sync("C")
	s.take() // C's no-op stays with C

	// B comes back to lead again and adds its own no-op over its old one.
	s.elect("B")
	s.tell("B")
	s.sync("B")
	s.wantLog("A", "1:", "1:x", "1:a1", "1:a2", "1:a3", "1:a4", "1:a5", "1:a6")
	s.wantLog("B", "1:", "1:x", "2:", "4:")
	s.wantLog("C", "1:", "1:x", "2:", "3:")

	s.tell("A", "C")
	mismatches := 0
	for range 50 {
		s.sync("A", "B", "C")
		mismatches += len(s.answers("A", Mismatch)) + len(s.answers("C", Mismatch))
		s.deliver("A", "B", "C")
	}
	s.wantRole("B", Serving)
	s.pass(200 * time.Millisecond)
	for _, name := range []string{"A", "B", "C"} {
		s.wantLog(name, "1:", "1:x", "2:", "4:")
		s.wantCommitted(name, "x")
	}
	if mismatches == 0 || mismatches > 4 {
		t.Errorf("it took %d steps back to agree, want one or two for each", mismatches)
	}
}

func TestNothingIsCommittedBelowMinInSync(t *testing.T) {
	s := serving(t, "A", "B")
	s.decide(func(v *View) { v.InSync = storyMembers("A") })
	s.tell("A")
	if s.node("A").r.Writable() {
		t.Error("A takes writes alone")
	}
	if _, err := s.node("A").r.Propose([]byte("x")); !errors.Is(err, ErrNotServing) {
		t.Errorf("A takes a write alone: %v", err)
	}
}

// A write that somebody silent would have to acknowledge could only end with
// an unknown outcome: it is refused for certain until the set is settled.
func TestWritesAreRefusedWhileAMemberIsSilent(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.pass(1500*time.Millisecond, "C")
	if _, err := s.node("A").r.Propose([]byte("x")); !errors.Is(err, ErrNotServing) {
		t.Errorf("A takes a write: %v", err)
	}
	s.accept("A") // to drop C
	s.tell("A", "B")
	s.propose("A", "x")
	s.settle("C")
	s.wantCommitted("A", "x")
}

// A process that stood still has heard nobody, and that is nobody's fault.
func TestPauseOfThePrimaryIsNotItsPeersSilence(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.now += 10 * time.Second
	s.do("A", func(r *Replica) { r.Tick(s.now) })
	if p := s.node("A").proposals; len(p) > 0 {
		t.Errorf("A has proposed %+v", p)
	}
	s.propose("A", "x")
}

// A follower that is told to replace what it knows committed has met a disk
// that contradicts the protocol.
func TestReplacingTheCommittedIsFatal(t *testing.T) {
	s := serving(t, "A", "B")
	s.propose("A", "x")
	s.settle()
	s.pass(200 * time.Millisecond)
	s.wantCommitted("B", "x")
	s.do("B", func(r *Replica) {
		r.Step(Message{
			Kind: Append, From: storyMember("A"), To: storyMember("B"), Epoch: 2,
			Prev: Position{1, 1}, Entries: []Entry{{Epoch: 2, LSN: 2}},
		})
	})
	if s.node("B").fatal == nil {
		t.Fatal("B goes on")
	}
	before := s.log("B")
	s.do("B", func(r *Replica) {
		r.Step(Message{Kind: Append, From: storyMember("A"), To: storyMember("B"), Epoch: 3, Prev: r.Last(), Entries: []Entry{{Epoch: 3, LSN: r.Last().LSN + 1}}})
	})
	if got := s.log("B"); len(got) != len(before) {
		t.Errorf("B has appended to %q: %q", before, got)
	}
}
