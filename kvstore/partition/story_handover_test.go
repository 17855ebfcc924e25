package partition

import (
	"errors"
	"testing"
	"time"
)

func TestHandOver(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.do("A", func(r *Replica) {
		if !r.HandOver(storyMember("B"), time.Second) {
			t.Fatal("A does not hand over")
		}
		if r.HandOver(storyMember("C"), time.Second) {
			t.Error("A hands over twice")
		}
		if _, err := r.Propose([]byte("y")); !errors.Is(err, ErrNotServing) {
			t.Errorf("A takes a write while it drains: %v", err)
		}
	})
	s.settle("C")
	s.wantRole("A", Serving) // x is not committed: C is missing
	if n := len(s.node("A").transfers); n > 0 {
		t.Fatal("A asks for the transfer before everything is settled")
	}
	s.node("A").r.Reconnected(storyMember("C"))
	s.pass(100 * time.Millisecond)
	s.wantCommitted("A", "x")
	s.wantRole("A", Relinquished)
	if got := s.node("A").transfers; len(got) != 1 || got[0] != (Transfer{Epoch: 1, To: storyMember("B")}) {
		t.Fatalf("A has asked for %+v", got)
	}
	s.pass(5 * time.Second) // longer than the patience: there is no way back
	s.wantRole("A", Relinquished)
	if n := len(s.node("A").transfers); n < 5 {
		t.Errorf("A has asked %d times, want it to repeat itself", n)
	}
	if _, err := s.node("A").r.Confirm(); !errors.Is(err, ErrNotServing) {
		t.Errorf("A takes a read after the end: %v", err)
	}

	s.elect("B")
	s.tell("A", "B", "C")
	s.settle()
	s.wantRole("A", Follower)
	s.wantRole("B", Serving)
	s.wantCommitted("B", "x")
	s.propose("B", "y")
	s.settle()
	s.wantCommitted("B", "x", "y")
}

func TestHandOverThatDoesNotSettleIsGivenUp(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.do("A", func(r *Replica) { r.HandOver(storyMember("B"), 500*time.Millisecond) })
	s.pass(600*time.Millisecond, "C")
	s.wantRole("A", Serving)
	if s.node("A").r.handover.draining {
		t.Error("A still drains")
	}
	s.propose("A", "y")
	if n := len(s.node("A").transfers); n > 0 {
		t.Errorf("A has asked for %d transfers", n)
	}
	s.node("A").r.Reconnected(storyMember("C"))
	again := func() (ok bool) {
		s.do("A", func(r *Replica) { ok = r.HandOver(storyMember("B"), time.Second) })
		return ok
	}
	s.pass(time.Second)
	if again() {
		t.Error("A lets its writes wait again at once")
	}
	s.pass(5 * time.Second)
	if !again() {
		t.Error("A does not try again")
	}
}

func TestHandOverGoesToInSyncMembersOnly(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.decide(func(v *View) { v.InSync = storyMembers("A", "B") })
	s.tell("A")
	for _, name := range []string{"A", "C", "Z"} {
		s.do("A", func(r *Replica) {
			if r.HandOver(storyMember(name), time.Second) {
				t.Errorf("A hands over to %s", name)
			}
		})
	}
	s.do("B", func(r *Replica) {
		if r.HandOver(storyMember("A"), time.Second) {
			t.Error("a follower hands over")
		}
	})
}

// A proposal in flight may yet put a member into the set that has to be waited
// for: nobody relinquishes before it is settled.
func TestHandOverWaitsForProposals(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.do("A", func(r *Replica) {
		if !r.HandOver(storyMember("B"), 10*time.Second) {
			t.Fatal("A does not hand over")
		}
	})
	s.pass(2*time.Second, "C")
	s.wantRole("A", Serving)
	s.accept("A") // to drop C
	s.tell("A")
	s.pass(100*time.Millisecond, "C")
	s.wantCommitted("A", "x")
	s.wantRole("A", Relinquished)
}

func TestHandOverDoesNotBeginDuringAProposal(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.pass(1500*time.Millisecond, "C")
	begins := func() (ok bool) {
		s.do("A", func(r *Replica) { ok = r.HandOver(storyMember("B"), time.Second) })
		return ok
	}
	if len(s.node("A").proposals) == 0 || begins() {
		t.Error("A hands over while its proposal is in flight")
	}
	s.accept("A")
	s.tell("A")
	if !begins() {
		t.Error("A does not hand over when the proposal is settled")
	}
}

func TestHandOverEndsWhenTheTargetLeaves(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.do("A", func(r *Replica) { r.HandOver(storyMember("B"), 10*time.Second) })
	s.decide(func(v *View) { v.InSync = storyMembers("A", "C") })
	s.tell("A")
	s.settle()
	s.wantRole("A", Serving)
	s.wantCommitted("A", "x")
	s.propose("A", "y")
}
