package replication

import "time"

// A round is what is sent to a peer together, in one frame or several, and
// lasts until the peer has answered each message with entries. What becomes
// ready meanwhile gathers for the next one. So groups are as large as the way
// there and back and the disk at its end allow, and no timer makes anybody wait
// for a group to fill.
//
// Answers to the peer's own messages never wait for a round: two nodes would
// wait for one another.
type round struct {
	number uint64
	// unanswered counts the messages whose answers have not come.
	unanswered int
	began      time.Time
	// late: the round before this one was given up, and the peer has answered
	// nothing of this one yet.
	late bool
}

// roundTimeout is how long the next round waits for answers that may have been
// lost, or that a peer withholds which has frozen. Until it speaks again there
// is no more waiting for it.
const roundTimeout = 50 * time.Millisecond

// begin begins a round.
func (r *round) begin(now time.Time) {
	r.late = r.unanswered > 0
	r.number++
	r.unanswered, r.began = 0, now
}

// ask takes that messages are sent to which answers are due.
func (r *round) ask(messages int) { r.unanswered += messages }

// answered takes that the peer has answered messages of a round.
func (r *round) answered(number uint64, messages int) {
	if number == r.number {
		r.unanswered -= messages
		r.late = false
	}
}

// end gives the round up: the connection is gone.
func (r *round) end() { r.unanswered, r.late = 0, false }

// over reports whether the next round may begin.
func (r *round) over(now time.Time) bool {
	return r.unanswered <= 0 || r.late || now.Sub(r.began) >= roundTimeout
}

// Answered takes that the peer has answered some messages of a round, which is
// the number in [partition.Message.Round], and reports whether the next round
// may begin. If something is ready, it does.
func (s *Sender) Answered(number uint64, messages int) (over bool) {
	s.mu.Lock()
	s.round.answered(number, messages)
	over = s.round.over(time.Now())
	next := over && len(s.ready) > 0
	s.mu.Unlock()
	if next {
		s.signal()
	}
	return over
}

// InRound reports whether the peer has yet to answer what was sent last.
func (s *Sender) InRound() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.round.over(time.Now())
}
