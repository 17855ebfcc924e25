package kvstore

import (
	"testing"
	"time"
)

func TestOnlyABusyLogRests(t *testing.T) {
	end := time.Unix(0, 0)
	for _, test := range []struct {
		name  string
		turns int
		later time.Duration
		want  time.Duration
	}{
		{"one writer", 1, 0, 0},
		{"few writers", busyTurns - 1, 0, 0},
		{"several", busyTurns, 0, gatherTime},
		{"several, and the next comes soon", busyTurns, gatherTime / 10, gatherTime - gatherTime/10},
		{"several, and the next comes late", busyTurns, gatherTime * 2 / 3, 0},
		{"several, and the next comes after the rest", busyTurns, time.Second, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := spacing{next: end.Add(gatherTime)} // from a group before
			s.wrote(test.turns, end)
			if got := s.wait(end.Add(test.later)); got != test.want {
				t.Errorf("the next group waits for %v, want %v", got, test.want)
			}
		})
	}
	if (&spacing{}).wait(end) > 0 {
		t.Error("the first group waits")
	}
}
