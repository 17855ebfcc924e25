package partition

import (
	"slices"
	"testing"
	"time"
)

// joining is a story in which C is a learner that has everything, and is about
// to be compared.
func joining(t *testing.T) *story {
	s := serving(t, "A", "B", "C")
	s.verdict = Undecided
	s.decide(func(v *View) { v.InSync = storyMembers("A", "B") })
	s.tell("A", "B", "C")
	s.propose("A", "x")
	s.pass(200 * time.Millisecond)
	return s
}

func TestLearnerIsComparedAtAMark(t *testing.T) {
	s := joining(t)
	s.wantLog("C", "1:", "1:x", "1:")
	a := s.node("A")
	if len(a.verify) != 1 || a.verify[0].Member != storyMember("C") || a.verify[0].At != 3 {
		t.Fatalf("A asks to compare %+v, want C behind the mark", a.verify)
	}
	if got := s.node("C").r.Commit(); got != 3 {
		t.Errorf("C knows %d committed, want the mark", got)
	}
	s.pass(5 * time.Second)
	if len(a.proposals) > 0 || len(a.verify) > 1 {
		t.Fatalf("without an answer A proposes %+v and asks %+v", a.proposals, a.verify)
	}
	s.answer(a, Equal, a.verify[0])
	if len(a.proposals) != 1 || !slices.Equal(a.proposals[0].InSync, storyMembers("A", "B", "C")) {
		t.Errorf("A has proposed %+v, want to add C", a.proposals)
	}
}

func TestUndecidedComparisonsAreRepeatedAtANewMark(t *testing.T) {
	s := joining(t)
	a := s.node("A")
	s.propose("A", "y")
	s.answer(a, Undecided, a.verify[0])
	s.pass(300 * time.Millisecond)
	if len(a.verify) != 2 || a.verify[1].At != 5 {
		t.Fatalf("A asks to compare %+v, want another mark behind y", a.verify)
	}
	s.answer(a, Equal, a.verify[0]) // late
	if len(a.proposals) > 0 {
		t.Error("an answer counts that came too late")
	}
}

func TestDifferentCopyIsRefused(t *testing.T) {
	s := joining(t)
	a := s.node("A")
	s.answer(a, Different, a.verify[0])
	s.pass(2 * time.Second)
	if n := len(a.refused); n < 3 || a.refused[0] != storyMember("C") {
		t.Errorf("A has refused %+v, want C again and again", a.refused)
	}
	s.propose("A", "y")
	s.settle("C")
	s.wantCommitted("A", "x", "y") // C does not count
	if len(a.proposals) > 0 || len(a.verify) > 1 {
		t.Fatalf("A proposes %+v and asks %+v", a.proposals, a.verify)
	}

	// Another copy is another matter, and an answer about the first is not one
	// about it.
	again := storyMember("C")
	again.Incarnation = 2
	s.decide(func(v *View) { v.Members = append(storyMembers("A", "B"), again) })
	s.tell("A", "B", "C")
	s.pass(300 * time.Millisecond)
	if len(a.verify) != 2 || a.verify[1].Member != again {
		t.Fatalf("A asks to compare %+v, want the new copy", a.verify)
	}
	s.answer(a, Equal, a.verify[0])
	s.answer(a, Equal, Verify{Member: storyMember("C"), Ticket: a.verify[1].Ticket})
	if len(a.proposals) > 0 {
		t.Fatal("an answer about another copy counts")
	}
	s.answer(a, Equal, a.verify[1])
	if len(a.proposals) != 1 {
		t.Error("A does not add the new copy")
	}
}

// A learner that leaves the acknowledgement set has to be compared again.
func TestComparisonsEndWithTheJoin(t *testing.T) {
	s := joining(t)
	a := s.node("A")
	s.pass(1500*time.Millisecond, "C")
	s.answer(a, Equal, a.verify[0])
	if len(a.proposals) > 0 {
		t.Error("A adds a silent learner")
	}
	s.verdict = Equal
	s.node("A").r.Reconnected(storyMember("C"))
	s.pass(200 * time.Millisecond)
	if len(a.verify) != 2 || len(a.proposals) != 1 {
		t.Errorf("A asks to compare %+v and proposes %+v", a.verify, a.proposals)
	}
}

// A learner was told more by the old primary than the new one knows, which can
// commit nothing without it.
func TestRecoveringPrimaryLearnsWhatIsCommitted(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.decide(func(v *View) { v.InSync = storyMembers("A", "B") })
	s.tell("A", "B", "C")
	s.verdict = Undecided
	s.pass(200 * time.Millisecond) // C counts
	s.propose("A", "x")
	s.sync("A")
	s.deliver("B", "C")
	s.sync("B", "C")
	s.deliver("A")
	s.wantCommitted("A", "x")
	s.pass(200*time.Millisecond, "B")
	s.wantCommitted("C", "x")
	s.wantCommitted("B")

	s.elect("B")
	s.view.Absent = storyMembers("A")
	s.tell("B", "C")
	s.pass(200*time.Millisecond, "A")
	s.wantRole("B", Recovering)
	s.wantCommitted("B", "x")
	b := s.node("B")
	if len(b.verify) == 0 || b.verify[0].At != b.r.Commit() {
		t.Fatalf("B asks to compare %+v, want C at %d", b.verify, b.r.Commit())
	}
	s.answer(b, Equal, b.verify[0])
	if len(b.proposals) != 1 || !slices.Equal(b.proposals[0].InSync, storyMembers("A", "B", "C")) {
		t.Errorf("B has proposed %+v, want to add C", b.proposals)
	}
}
