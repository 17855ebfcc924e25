package kvstore

import "time"

const (
	// gatherTime is how long a busy log rests between two groups; where the
	// process has nothing else to do, a rest takes a millisecond.
	gatherTime = 500 * time.Microsecond
	// busyTurns is how many turns a group of a busy log is of at least.
	busyTurns = 16
)

// spacing tells when the next group may go to the log. A group costs each node
// a write, a flush and frames whatever its size, so that the groups of many
// writers would leave no time for the writers if each began as soon as the one
// before it had ended. Hence a group of several turns is followed by a rest in
// which others join the next one. A log with few writers never waits, however
// many commands each of them sends at once.
type spacing struct{ next time.Time }

// wrote takes that a group of so many turns has ended.
func (s *spacing) wrote(turns int, now time.Time) {
	s.next = now
	if turns >= busyTurns {
		s.next = now.Add(gatherTime)
	}
}

// wait returns how long the next group has to wait, if at all. It does not for
// the end of a rest in which nobody came.
func (s *spacing) wait(now time.Time) time.Duration {
	if left := s.next.Sub(now); left > gatherTime/2 {
		return left
	}
	return 0
}
