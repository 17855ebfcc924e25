package partition

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestRepeatsAndReorderingTruncateNothing(t *testing.T) {
	s := serving(t, "A", "B", "C")
	var requests []Message
	for _, data := range []string{"1", "2", "3"} {
		s.propose("A", data)
		requests = append(requests, s.take()...)
	}
	s.sync("A")
	slices.Reverse(requests)
	for range 3 {
		for _, m := range requests {
			s.do(m.To.Node, func(r *Replica) { r.Step(m) })
		}
	}
	s.wantLog("B", "1:", "1:1", "1:2", "1:3")
	s.settle()
	for _, m := range requests { // long after
		s.do(m.To.Node, func(r *Replica) { r.Step(m) })
	}
	s.settle()
	s.pass(200 * time.Millisecond)
	for _, name := range []string{"A", "B", "C"} {
		s.wantLog(name, "1:", "1:1", "1:2", "1:3")
		s.wantCommitted(name, "1", "2", "3")
	}
}

// An answer counts for what it rests on, not for the end of the log: what B
// has above it may be of another primary.
func TestAnswerDoesNotSpeakForTheEndOfTheLog(t *testing.T) {
	s := serving(t, "A", "B", "C")
	for _, data := range []string{"1", "2"} {
		s.propose("A", data)
	}
	s.sync("A")
	s.deliver("B")
	s.sync("B")
	s.take()
	s.elect("C")
	s.tell("C")
	s.sync("C")
	s.take()
	s.do("B", func(r *Replica) {
		r.Step(Message{Kind: Append, From: storyMember("C"), To: storyMember("B"), Epoch: 2, Prev: Position{1, 1}, Commit: 3})
	})
	s.sync("B")
	got := s.answers("B", OK)
	if len(got) != 1 || got[0].Durable != 1 {
		t.Fatalf("B has answered %+v, want that it agrees through LSN 1", got)
	}
	s.wantCommitted("B") // C's commit mark says nothing about B's 2 and 3
	s.wantLog("B", "1:", "1:1", "1:2")
}

// Whatever becomes of the messages, replicas end up with the same log, and
// what was committed stays.
func TestAnyDeliveryConverges(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		s := serving(t, "A", "B", "C")
		proposed := 0
		for range rapid.IntRange(1, 40).Draw(rt, "steps") {
			switch rapid.SampledFrom([]string{"propose", "sync", "deliver", "repeat", "lose", "tick", "elect", "reconnect"}).Draw(rt, "step") {
			case "propose":
				a := s.node(s.view.Primary.Node)
				if a.r.Writable() {
					s.propose(a.name, string(rune('a'+proposed%26)))
					proposed++
				}
			case "sync":
				s.sync(rapid.SampledFrom([]string{"A", "B", "C"}).Draw(rt, "node"))
			case "deliver", "repeat":
				if len(s.mail) == 0 {
					continue
				}
				i := rapid.IntRange(0, len(s.mail)-1).Draw(rt, "message")
				m := s.mail[i]
				if rapid.Bool().Draw(rt, "once") {
					s.mail = slices.Delete(s.mail, i, i+1)
				}
				s.do(m.To.Node, func(r *Replica) { r.Step(m) })
			case "lose":
				if len(s.mail) > 0 {
					i := rapid.IntRange(0, len(s.mail)-1).Draw(rt, "message")
					s.mail = slices.Delete(s.mail, i, i+1)
				}
			case "tick":
				s.now += 60 * time.Millisecond
				for _, a := range s.nodes {
					s.do(a.name, func(r *Replica) { r.Tick(s.now) })
				}
			case "elect":
				s.elect(rapid.SampledFrom([]string{"A", "B", "C"}).Draw(rt, "primary"))
				s.tell("A", "B", "C")
			case "reconnect":
				for _, a := range s.nodes {
					s.do(a.name, func(r *Replica) { r.Reconnected(storyMember("C")) })
				}
			}
		}
		s.pass(2 * time.Second)
		primary := s.node(s.view.Primary.Node)
		if role, _ := primary.r.Role(); role != Serving {
			rt.Fatalf("%s is %v", primary.name, role)
		}
		for _, a := range s.nodes {
			if a.fatal != nil {
				rt.Fatal(a.fatal)
			}
			if !slices.Equal(s.log(a.name), s.log(primary.name)) {
				rt.Fatalf("%s has %q, the primary %s %q", a.name, s.log(a.name), primary.name, s.log(primary.name))
			}
			if got, want := a.committed, primary.committed; !slices.EqualFunc(got, want, sameEntry) {
				rt.Fatalf("%s has committed %v, the primary %v", a.name, got, want)
			}
			for i, e := range a.committed {
				if e.LSN != uint64(i+1) {
					rt.Fatalf("%s has committed LSN %d as number %d", a.name, e.LSN, i+1)
				}
			}
		}
	})
}

func sameEntry(a, b Entry) bool {
	return a.Position() == b.Position() && string(a.Data) == string(b.Data)
}
