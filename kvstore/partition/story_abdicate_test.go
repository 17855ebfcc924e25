package partition

import (
	"testing"
	"time"
)

func (s *story) wantTransfer(name string, to ...string) {
	s.t.Helper()
	transfers := s.node(name).transfers
	if len(to) == 0 {
		if len(transfers) > 0 {
			s.t.Fatalf("%s asks for %+v", name, transfers)
		}
		s.wantRole(name, Serving)
		return
	}
	for _, other := range to {
		if len(transfers) > 0 && transfers[0].To == storyMember(other) {
			s.wantRole(name, Relinquished)
			return
		}
	}
	s.t.Fatalf("%s has asked for %+v, want one to %v", name, transfers, to)
}

// A primary that reaches neither of its peers, whose sessions live, has another
// take over, and what it could not commit counts if that one has it.
func TestPrimaryThatReachesNobodyAbdicates(t *testing.T) {
	for name, lost := range map[string]bool{"nothing arrives": true, "no answer arrives": false} {
		t.Run(name, func(t *testing.T) {
			s := serving(t, "A", "B", "C")
			s.propose("A", "x")
			if !lost {
				s.sync("A")
				s.deliver("B", "C")
				s.sync("B", "C")
			}
			s.pass(2500*time.Millisecond, "A")
			s.wantTransfer("A")
			if p := s.node("A").proposals; len(p) > 0 {
				t.Errorf("A proposes %+v while it is itself suspect", p)
			}
			s.pass(time.Second, "A")
			s.wantTransfer("A", "B", "C")
			s.wantCommitted("A")
			if _, err := s.node("A").r.Confirm(); err == nil {
				t.Error("A takes a read after the end")
			}
			to := s.node("A").transfers[0].To.Node
			s.elect(to)
			s.tell("B", "C")
			s.pass(1500*time.Millisecond, "A")
			s.accept(to) // to drop A
			s.tell("B", "C")
			s.settle("A")
			s.wantRole(to, Serving)
			if lost {
				s.wantCommitted(to)
			} else {
				s.wantCommitted(to, "x")
			}
			s.wantTransfer(to)
		})
	}
}

// One peer may have fallen silent a moment before the other, and be out already.
func TestRemovedPeersCountForSuspicion(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.pass(500*time.Millisecond, "B")
	s.pass(700*time.Millisecond, "A", "B")
	s.accept("A") // to drop B
	s.tell("A")
	s.pass(3*time.Second, "A", "B")
	s.wantTransfer("A", "C")
}

func TestPrimaryStaysWhereItIsNotSuspect(t *testing.T) {
	t.Run("one peer", func(t *testing.T) {
		s := serving(t, "A", "B", "C")
		s.pass(5*time.Second, "C")
		s.wantTransfer("A")
	})
	t.Run("the only peer", func(t *testing.T) {
		s := serving(t, "A", "B")
		s.pass(5*time.Second, "B")
		s.wantTransfer("A")
	})
	t.Run("two of four peers", func(t *testing.T) {
		s := serving(t, "A", "B", "C", "D", "E")
		s.pass(5*time.Second, "D", "E")
		s.wantTransfer("A")
	})
	t.Run("absent peers", func(t *testing.T) {
		s := serving(t, "A", "B", "C")
		s.view.Absent = storyMembers("B", "C")
		s.tell("A")
		s.pass(5*time.Second, "B", "C")
		s.wantTransfer("A")
		s.view.Absent = nil // they are back, and need a moment
		s.tell("A")
		s.pass(2500*time.Millisecond, "B", "C")
		s.wantTransfer("A")
		s.pass(time.Second, "B", "C")
		s.wantTransfer("A", "B", "C")
	})
	t.Run("its own session is in doubt", func(t *testing.T) {
		s := serving(t, "A", "B", "C")
		for range 100 {
			s.do("A", (*Replica).SessionInDoubt)
			s.pass(50*time.Millisecond, "B", "C")
		}
		s.wantTransfer("A")
	})
	t.Run("a paused primary", func(t *testing.T) {
		s := serving(t, "A", "B", "C")
		s.now += 5 * time.Second
		s.do("A", func(r *Replica) { r.Tick(s.now) })
		s.settle()
		s.wantTransfer("A")
	})
}

// A minority of five gives the role to the majority.
func TestMinorityAbdicatesToTheMajority(t *testing.T) {
	s := serving(t, "A", "B", "C", "D", "E")
	s.pass(3500*time.Millisecond, "C", "D", "E")
	s.wantTransfer("A", "C", "D", "E")
}

// Where nobody reaches anybody the role does not go round for ever.
func TestAbdicationIsNotRepeatedAtOnce(t *testing.T) {
	s := serving(t, "A", "B", "C")
	all := []string{"A", "B", "C"}
	s.pass(3500*time.Millisecond, all...)
	s.wantTransfer("A", "B", "C")
	s.node("A").transfers = nil
	s.elect("A")
	s.tell(all...)
	s.settle(all...)
	s.sync("A")
	s.pass(5*time.Second, all...)
	s.wantRole("A", Recovering)
	s.pass(6*time.Second, all...)
	s.wantTransfer("A", "B", "C")
}

// A learner that is being given a copy acknowledges nothing, and is reached.
func TestLearnerThatFetchesIsReached(t *testing.T) {
	s := truncatedLog(t)
	s.tell("C")
	s.node("A").r.Reconnected(storyMember("C"))
	s.pass(300 * time.Millisecond)
	if s.node("C").snapshot == nil {
		t.Fatal("C does not fetch")
	}
	s.pass(6*time.Second, "B")
	s.wantTransfer("A")
	s.pass(6*time.Second, "B", "C")
	s.wantTransfer("A", "B")
}
