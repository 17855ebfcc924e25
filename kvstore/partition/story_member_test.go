package partition

import (
	"slices"
	"testing"
	"time"
)

func TestShrinkCountsOnlyWhenTheViewShowsIt(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.settle("C")
	s.wantCommitted("A")
	s.pass(1500*time.Millisecond, "C")
	p := s.node("A").proposals
	if len(p) == 0 || !slices.Equal(p[0].InSync, storyMembers("A", "B")) || p[0].Epoch != 1 || p[0].Version != 1 {
		t.Fatalf("A has proposed %+v, want the set without C", p)
	}
	s.pass(2*time.Second, "C")
	s.wantCommitted("A")
	if again := s.node("A").proposals; len(again) < 3 || !slices.Equal(again[len(again)-1].InSync, p[0].InSync) {
		t.Errorf("A has proposed %d times, want it to repeat the same", len(again))
	}
	s.accept("A")
	s.wantCommitted("A")
	s.tell("A")
	s.wantCommitted("A", "x")
}

// A late proposal of a deposed primary carries its epoch and version, by which
// the control plane refuses it.
func TestProposalStaysInFlightUntilALaterVersion(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.decide(func(v *View) { v.InSync = storyMembers("A", "B") })
	s.tell("A")
	s.pass(200 * time.Millisecond)
	p := s.node("A").proposals
	if len(p) == 0 || !slices.Equal(p[0].InSync, storyMembers("A", "B", "C")) {
		t.Fatalf("A has proposed %+v, want to add C", p)
	}
	// C may be in the set already: A must wait for it although its view says
	// otherwise and C has fallen silent.
	s.propose("A", "x")
	s.pass(5*time.Second, "C")
	s.wantCommitted("A")
	s.decide(func(*View) {}) // another version: the proposal has failed
	s.tell("A")
	s.pass(2*time.Second, "C")
	s.wantCommitted("A", "x")
}

// The in-sync set never shrinks below min-in-sync: the silent member stays
// electable.
func TestShrinkStopsAtMinInSync(t *testing.T) {
	s := serving(t, "A", "B")
	s.propose("A", "x")
	s.pass(5*time.Second, "B")
	if p := s.node("A").proposals; len(p) > 0 {
		t.Errorf("A has proposed %+v", p)
	}
	s.wantCommitted("A")
}

func TestReturningMemberCatchesUp(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.pass(1500*time.Millisecond, "C")
	s.accept("A")
	s.tell("A", "B")
	for _, data := range []string{"1", "2", "3", "4", "5", "6"} {
		s.propose("A", data)
		s.settle("C")
	}
	s.restart("C")
	s.tell("C")
	s.node("A").r.Reconnected(storyMember("C"))
	s.pass(300 * time.Millisecond)
	s.wantLog("C", s.log("A")...)
	s.accept("A")
	if !slices.Contains(s.view.InSync, storyMember("C")) {
		t.Fatalf("C has not been added: %+v", s.view.InSync)
	}
	s.tell("A", "B", "C")
	s.propose("A", "7")
	s.settle("C")
	s.wantCommitted("A", "1", "2", "3", "4", "5", "6") // C counts again
	s.node("A").r.Reconnected(storyMember("C"))
	s.pass(300 * time.Millisecond)
	s.wantCommitted("A", "1", "2", "3", "4", "5", "6", "7")
}

// A first assignment names members in-sync that never answered anything: they
// may lead that epoch. A copy that was assigned anew must not.
func TestPromiseAtJoin(t *testing.T) {
	t.Run("first assignment", func(t *testing.T) {
		s := newStory(t, "A", "B")
		s.tell("A")
		s.wantRole("A", Activating)
		s.tell("B")
		if got := s.node("B").r.Promise(); got != 0 {
			t.Errorf("B has promised %d", got)
		}
		s.settle()
		s.wantRole("A", Serving)
	})
	t.Run("added again", func(t *testing.T) {
		s := serving(t, "A", "B", "C")
		again := storyMember("C")
		again.Incarnation = 2
		s.decide(func(v *View) {
			v.Epoch, v.Primary = 5, storyMember("B")
			v.InSync, v.Members = storyMembers("A", "B"), append(storyMembers("A", "B"), again)
		})
		s.tell("C")
		if got := s.node("C").r.Promise(); got != 5 {
			t.Fatalf("C has promised %d, want the epoch in which it was assigned", got)
		}
		// A still leads epoch 1 and knows C under its old assignment.
		s.do("C", func(r *Replica) {
			r.Step(Message{Kind: Append, From: storyMember("A"), To: storyMember("C"), Epoch: 1, Prev: Position{1, 1}})
			r.Step(Message{Kind: Append, From: storyMember("A"), To: again, Epoch: 4, Prev: Position{1, 1}})
		})
		if got := s.answers("C", NotMember); len(got) != 1 {
			t.Errorf("to the old assignment C has answered %+v, want NotMember", got)
		}
		if got := s.answers("C", Stale); len(got) != 0 {
			t.Errorf("C has answered %+v before its promise was on disk", got)
		}
		s.sync("C")
		if got := s.answers("C", Stale); len(got) != 1 || got[0].Epoch != 5 {
			t.Errorf("to epoch 4 C has answered %+v, want its promise of 5", got)
		}
	})
	t.Run("an older promise holds", func(t *testing.T) {
		s := newStory(t, "A", "B")
		s.node("B").disk.state = State{Promise: 7}
		s.restart("B")
		s.tell("B")
		s.sync("B")
		if got := s.node("B").disk.state; got != (State{Promise: 7, Incarnation: 1}) {
			t.Errorf("B remembers %+v", got)
		}
	})
}

// Acknowledgements of an earlier assignment say nothing about the new one.
func TestAcknowledgementsBelongToTheAssignment(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.settle("C")
	s.sync("C")
	s.deliver("C")
	s.sync("C")
	late := s.take()
	again := storyMember("C")
	again.Incarnation = 2
	s.decide(func(v *View) {
		v.Members, v.InSync = append(storyMembers("A", "B"), again), append(storyMembers("A", "B"), again)
	})
	s.tell("A")
	for _, m := range late {
		s.do("A", func(r *Replica) { r.Step(m) })
	}
	s.do("A", func(r *Replica) {
		r.Step(Message{Kind: AppendReply, From: storyMember("C"), To: storyMember("A"), Epoch: 1, Durable: r.Last().LSN})
	})
	s.wantCommitted("A")
}

func TestUnassignedNodeAnswersNotMember(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.decide(func(v *View) { v.Members, v.InSync = storyMembers("A", "B"), storyMembers("A", "B") })
	s.tell("C")
	s.do("C", func(r *Replica) {
		r.Step(Message{Kind: Append, From: storyMember("A"), To: storyMember("C"), Epoch: 1, Prev: Position{1, 1}})
	})
	if got := s.answers("C", NotMember); len(got) != 1 {
		t.Errorf("C has answered %+v", s.mail)
	}
	s.decide(func(v *View) { v.Members, v.InSync = storyMembers("B", "C"), storyMembers("B", "C") })
	s.tell("A")
	s.wantRole("A", Follower)
}

func TestOlderViewsAreIgnored(t *testing.T) {
	s := serving(t, "A", "B")
	old := s.view
	s.elect("B")
	s.tell("A")
	s.wantRole("A", Follower)
	s.do("A", func(r *Replica) { r.Configure(old) })
	if got := s.node("A").r.View(); got.Version != s.view.Version {
		t.Errorf("A went back to version %d", got.Version)
	}
}

// A learner counts for acknowledgements before it is proposed, so that it has
// everything when it is.
func TestLearnerIsProposedWhenItHasEverything(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.decide(func(v *View) { v.InSync = storyMembers("A", "B") })
	s.tell("A")
	s.propose("A", "x")
	s.propose("A", "y")
	s.do("A", func(r *Replica) { r.Tick(s.now) })
	s.sync("A", "B")
	s.deliver("B", "C")
	s.sync("B")
	s.deliver("A")
	s.wantCommitted("A") // C is so close that it counts
	if p := s.node("A").proposals; len(p) > 0 {
		t.Fatalf("A has proposed %+v before C has everything", p)
	}
	s.settle()
	s.wantCommitted("A", "x", "y")
	if p := s.node("A").proposals; len(p) == 0 || !slices.Equal(p[0].InSync, storyMembers("A", "B", "C")) {
		t.Errorf("A has proposed %+v, want to add C", p)
	}
}

// The control plane knows sooner than a time-out that a node has died; its
// sessions are no change of the partition.
func TestAbsentMembersAreSilentAtOnce(t *testing.T) {
	s := serving(t, "A", "B", "C")
	s.propose("A", "x")
	s.settle("C")
	s.view.Absent = storyMembers("C")
	s.tell("A")
	if s.node("A").r.Writable() {
		t.Error("A takes writes that C cannot acknowledge")
	}
	s.pass(50*time.Millisecond, "C")
	if p := s.node("A").proposals; len(p) != 1 || !slices.Equal(p[0].InSync, storyMembers("A", "B")) {
		t.Fatalf("A has proposed %+v, want the set without C", p)
	}
	s.wantCommitted("A")
	s.accept("A")
	s.tell("A")
	s.wantCommitted("A", "x")

	s.view.Absent = nil
	s.tell("A")
	s.node("A").r.Reconnected(storyMember("C"))
	s.pass(200 * time.Millisecond)
	if p := s.node("A").proposals; !slices.Equal(p[len(p)-1].InSync, storyMembers("A", "B", "C")) {
		t.Errorf("A has proposed %+v, want to add C again", p[len(p)-1])
	}
}

// Writes wait for a member of the in-sync set, so it is not held, whatever was
// asked for when it was a learner, or is asked for too late.
func TestWhoCountsIsNotHeld(t *testing.T) {
	for name, hold := range map[string]struct{ before, after bool }{
		"held before": {before: true}, "held too late": {after: true},
	} {
		t.Run(name, func(t *testing.T) {
			s := serving(t, "A", "B", "C")
			s.decide(func(v *View) { v.InSync = storyMembers("A", "B") })
			s.tell("A")
			a, c := s.node("A"), storyMember("C")
			if hold.before {
				a.r.Hold(c, true)
			}
			s.decide(func(v *View) { v.InSync = storyMembers("A", "B", "C") })
			s.tell("A")
			if hold.after {
				a.r.Hold(c, true)
			}
			s.propose("A", "x")
			s.settle()
			s.wantCommitted("A", "x")
		})
	}
}

// A learner that is held gets heartbeats and no entries, until that ends.
func TestHeldLearnersGetHeartbeats(t *testing.T) {
	s := serving(t, "A", "B", "C")
	for range 2 * DefaultConfig("", "").CatchUpLag {
		s.propose("A", "x")
	}
	s.settle("C")
	a, c := s.node("A"), storyMembers("C")[0]
	s.decide(func(v *View) { v.InSync = storyMembers("A", "B") })
	s.tell("A")
	a.r.Hold(c, true)
	s.pass(3 * time.Second)
	if got := s.node("C").r.Last(); got.LSN > 1 {
		t.Errorf("C was given entries through %v", got)
	}
	if p := a.r.peer(c); a.r.now-p.heard > time.Second || len(a.proposals) > 0 {
		t.Errorf("C was last heard of at %v of %v, and A proposes %v", p.heard, a.r.now, a.proposals)
	}
	a.r.Hold(c, false)
	s.pass(3 * time.Second)
	if len(a.proposals) == 0 {
		t.Errorf("C is not proposed, it has entries through %v of %v", s.node("C").r.Last(), a.r.Last())
	}
}
