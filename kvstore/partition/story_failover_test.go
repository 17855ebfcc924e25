package partition

import (
	"errors"
	"slices"
	"testing"
	"time"
)

func TestNewPrimaryServesOnlyAfterItsNoOp(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.sync("A", "B", "C")
	s.deliver("B", "C")
	s.take() // A dies; nobody else knows whether x is committed
	s.sync("B", "C")
	s.take()
	s.decide(func(v *View) { v.Epoch, v.Primary, v.InSync = 2, storyMember("B"), storyMembers("B", "C") })

	s.tell("B", "C")
	s.wantRole("B", Activating)
	if mail := s.take(); len(mail) > 0 {
		t.Fatalf("B speaks for an epoch that it has not promised on disk: %+v", mail)
	}
	s.sync("B")
	s.wantRole("B", Recovering)
	if _, err := s.node("B").r.Propose([]byte("y")); !errors.Is(err, ErrNotServing) {
		t.Fatalf("B takes a write while it recovers: %v", err)
	}
	if _, err := s.node("B").r.Confirm(); !errors.Is(err, ErrNotServing) {
		t.Fatalf("B takes a read while it recovers: %v", err)
	}
	s.deliver("C")
	s.wantCommitted("B")
	s.wantRole("B", Recovering)
	s.settle("A")
	s.wantRole("B", Serving)
	s.wantCommitted("B", "x")
	s.wantLog("C", "1:", "1:x", "2:")
}

// With one of two in-sync members dead, a learner is what lets the partition
// serve again.
func TestRecoveringPrimaryReplacesADeadMember(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.decide(func(v *View) { v.InSync = storyMembers("A", "B") })
	s.tell("A", "B", "C")
	s.propose("A", "x")
	s.settle()
	s.wantCommitted("A", "x")

	s.elect("B")
	s.tell("B", "C")
	s.settle("A")
	s.wantRole("B", Recovering)
	s.wantLog("C", "1:", "1:x", "1:", "2:")
	s.pass(1500*time.Millisecond, "A") // nothing is committed without A: the copies are compared as they are
	if p := s.node("B").proposals; len(p) == 0 || !slices.Equal(p[0].InSync, storyMembers("A", "B", "C")) {
		t.Fatalf("B has proposed %+v, want to add C first", p)
	}
	s.pass(2*time.Second, "A")
	s.wantRole("B", Recovering)
	s.accept("B")
	s.tell("B", "C")
	s.pass(2*time.Second, "A")
	s.wantRole("B", Recovering)
	if p := s.node("B").proposals; !slices.Equal(p[len(p)-1].InSync, storyMembers("B", "C")) {
		t.Fatalf("B has proposed %+v, want to drop A then", p[len(p)-1])
	}
	s.accept("B")
	s.tell("B", "C")
	s.settle("A")
	s.wantRole("B", Serving)
	s.wantCommitted("B", "x")
}

func TestRestartedPrimaryNeedsANewEpoch(t *testing.T) {
	s := serving(t, "A", "B")
	s.propose("A", "x")
	s.sync("A")
	s.restart("A")
	s.take()
	s.tell("A")
	s.settle()
	s.wantRole("A", Follower)
	s.elect("A")
	s.tell("A", "B")
	s.settle()
	s.wantRole("A", Serving)
	s.wantCommitted("A", "x")
	s.wantLog("B", "1:", "1:x", "2:")
}

// What A promised and did not get to disk it may promise again; what was on
// disk it keeps for ever.
func TestPromiseIsOnDiskBeforeAnyAnswer(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.elect("B")
	s.tell("B")
	s.sync("B")
	s.deliver("C")
	s.pass(0)
	if got := append(s.answers("C", OK), s.answers("C", Mismatch)...); len(got) > 0 {
		t.Fatalf("C has answered epoch 2 before its promise was on disk: %+v", got)
	}
	if got := s.node("C").r.Promise(); got != 2 {
		t.Fatalf("C has promised %d", got)
	}
	s.restart("C") // before the fsync
	if got := s.node("C").r.Promise(); got != 1 {
		t.Fatalf("C remembers a promise of %d that never was on disk", got)
	}
	s.tell("C")
	s.node("B").r.Reconnected(storyMember("C"))
	s.pass(100*time.Millisecond, "A")
	s.restart("C")
	s.tell("C")
	s.do("C", func(r *Replica) {
		r.Step(Message{Kind: Append, From: storyMember("A"), To: storyMember("C"), Epoch: 1, Prev: Position{1, 1}})
	})
	if got := s.answers("C", Stale); len(got) != 1 || got[0].Epoch != 2 {
		t.Errorf("C has answered %+v to epoch 1, want its promise of 2", got)
	}
}

func TestHigherEpochEndsTheRole(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.do("A", func(r *Replica) {
		if _, err := r.Confirm(); err != nil {
			t.Fatal(err)
		}
		r.Step(Message{Kind: Confirm, From: storyMember("B"), To: storyMember("A"), Epoch: 2, Round: 1})
	})
	s.wantRole("A", Follower)
	if got := s.node("A").confirmed; len(got) != 1 || got[0].OK {
		t.Errorf("the read was answered %+v, want a refusal", got)
	}
	if got := s.answers("A", OK); len(got) != 0 {
		t.Errorf("A has answered %+v before its promise was on disk", got)
	}
	s.sync("A")
	if got := s.answers("A", OK); len(got) != 1 || got[0].Kind != ConfirmReply || got[0].Epoch != 2 {
		t.Errorf("A has answered %+v", got)
	}
}
