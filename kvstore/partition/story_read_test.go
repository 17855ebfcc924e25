package partition

import (
	"slices"
	"testing"
	"time"
)

func (s *story) confirm(name string) (ticket uint64) {
	s.t.Helper()
	s.do(name, func(r *Replica) {
		var err error
		if ticket, err = r.Confirm(); err != nil {
			s.t.Fatalf("%s does not confirm: %v", name, err)
		}
	})
	return ticket
}

func (s *story) wantConfirmed(name string, want ...Confirmed) {
	s.t.Helper()
	if got := s.node(name).confirmed; !slices.Equal(got, want) {
		s.t.Fatalf("%s has confirmed %+v, want %+v", name, got, want)
	}
}

func TestConfirmationAsksTheWholeAckSet(t *testing.T) {
	s := serving(t, "A", "B", "C")
	ticket := s.confirm("A")
	s.deliver("B")
	s.deliver("A")
	s.wantConfirmed("A")
	s.deliver("C")
	s.deliver("A")
	s.wantConfirmed("A", Confirmed{ticket, true})
}

// Requests that left before a ticket was drawn say nothing about its read.
func TestConfirmationUsesRequestsSentAfterTheTicket(t *testing.T) {
	s := serving(t, "A", "B", "C")
	first := s.confirm("A")
	second := s.confirm("A")
	third := s.confirm("A")
	s.deliver("B", "C")
	s.deliver("A")
	s.wantConfirmed("A", Confirmed{first, true})
	s.deliver("B", "C")
	s.deliver("A")
	s.wantConfirmed("A", Confirmed{first, true}, Confirmed{second, true}, Confirmed{third, true})
}

func TestConfirmationIsRepeatedUntilAnswered(t *testing.T) {
	s := serving(t, "A", "B", "C")
	ticket := s.confirm("A")
	s.settle("C")
	s.pass(time.Second, "C")
	s.wantConfirmed("A")
	s.pass(200 * time.Millisecond)
	s.wantConfirmed("A", Confirmed{ticket, true})
}

func TestConfirmationFailsWhenSomebodyHasMovedOn(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.elect("B")
	s.tell("B", "C")
	s.settle("A")
	ticket := s.confirm("A")
	s.settle()
	s.wantConfirmed("A", Confirmed{ticket, false})
	s.wantRole("A", Follower)
}

func TestLateAnswersOfAnEarlierRoundDoNotCount(t *testing.T) {
	s := serving(t, "A", "B", "C")
	first := s.confirm("A")
	s.deliver("B", "C")
	answers := s.mail
	s.deliver("A")
	s.wantConfirmed("A", Confirmed{first, true})
	second := s.confirm("A")
	s.take()
	for _, m := range answers { // once more
		s.do("A", func(r *Replica) { r.Step(m) })
	}
	s.wantConfirmed("A", Confirmed{first, true})
	s.pass(200 * time.Millisecond)
	s.wantConfirmed("A", Confirmed{first, true}, Confirmed{second, true})
}

// That a later version of the epoch is decided proves that those who left had
// not moved on before.
func TestConfirmationDoesNotWaitForThoseWhoLeft(t *testing.T) {
	s := serving(t, "A", "B", "C")
	ticket := s.confirm("A")
	s.settle("C")
	s.wantConfirmed("A")
	s.decide(func(v *View) { v.Members, v.InSync = storyMembers("A", "B"), storyMembers("A", "B") })
	s.tell("A")
	s.wantConfirmed("A", Confirmed{ticket, true})
}

// A partition with one copy has nobody to ask.
func TestConfirmationAlone(t *testing.T) {
	s := newStory(t, "A")
	s.decide(func(v *View) { v.MinInSync = 1 })
	s.tell("A")
	s.settle()
	ticket := s.confirm("A")
	s.wantConfirmed("A", Confirmed{ticket, true})
}
