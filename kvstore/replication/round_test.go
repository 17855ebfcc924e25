package replication

import (
	"testing"
	"time"
)

func TestARoundGathersWhatBecomesReadyDuringTheOneBefore(t *testing.T) {
	got := make(chan Envelope, 8)
	addr, _ := startReceiver(t, func(e Envelope) { got <- e })
	src := newSource()
	s := startSender(t, addr, src)
	ready := func(parts ...uint32) {
		for _, part := range parts {
			src.put(appendOf(part, "entry"))
			s.Ready(part)
		}
		s.Flush()
	}
	ready(1)
	first := receive(t, got).Message.Round
	if first == 0 || !s.InRound() {
		t.Fatalf("round %d is not under way", first)
	}
	ready(2, 3)
	s.Send(numbered(9, 7))
	s.Flush()
	if e := receive(t, got); e.Partition != 9 {
		t.Fatalf("%+v came before the answers of the round, and an answer did not", e)
	}
	if s.Answered(first-1, 1); !s.InRound() {
		t.Fatal("an answer to another round has ended this one")
	}
	if !s.Answered(first, 1) {
		t.Fatal("the round is not over")
	}
	for _, part := range []uint32{2, 3} {
		if e := receive(t, got); e.Partition != part || e.Message.Round != first+1 {
			t.Fatalf("partition %d in round %d, want %d in %d", e.Partition, e.Message.Round, part, first+1)
		}
	}
	if s.Answered(first+1, 1) {
		t.Fatal("the round is over with one of two answers")
	}
	if !s.Answered(first+1, 1) {
		t.Fatal("the round is not over")
	}
}

func TestARoundThatIsNotAnsweredIsGivenUp(t *testing.T) {
	var r round
	now := time.Now()
	r.begin(now)
	if r.ask(2); r.over(now.Add(roundTimeout - 1)) {
		t.Fatal("over without answers")
	}
	if now = now.Add(roundTimeout); !r.over(now) {
		t.Fatal("not over although its time is")
	}
	r.begin(now)
	if r.ask(1); !r.over(now) {
		t.Fatal("waits for a peer that does not speak")
	}
	r.answered(1, 2)
	if !r.over(now) || r.unanswered != 1 {
		t.Fatal("counts answers to the round before")
	}
	r.begin(now)
	r.ask(3)
	if r.answered(r.number, 1); r.over(now) {
		t.Fatal("does not wait for a peer that speaks again")
	}
	if r.end(); !r.over(now) {
		t.Fatal("outlives the connection")
	}
	if r.begin(now); !r.over(now) {
		t.Fatal("nothing was asked, but the round lasts")
	}
}
