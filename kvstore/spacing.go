package kvstore

import "time"

const (
	// gatherTime lies between two groups of a busy log.
	gatherTime = 500 * time.Microsecond
	// busyGroup is how many entries a group of a busy log has at least.
	busyGroup = 4
)

// spacing tells when the next group may go to the log. A group costs each node
// a write, a flush and frames whatever its size, so that the groups of many
// writers would leave no time for the writers if each began as soon as the one
// before it had ended. Hence a group of several entries is followed by a pause
// in which others join the next one. Who writes alone, or seldom, never waits.
type spacing struct{ next time.Time }

// wrote takes that a group of so many entries has ended.
func (s *spacing) wrote(entries int, now time.Time) {
	s.next = now
	if entries >= busyGroup {
		s.next = now.Add(gatherTime)
	}
}

// wait returns how long the next group has to wait, if at all.
func (s *spacing) wait(now time.Time) time.Duration { return s.next.Sub(now) }
