package kvstore

import (
	"testing"
	"time"
)

func TestOnlyGroupsOfABusyLogWait(t *testing.T) {
	end := time.Unix(0, 0)
	for _, test := range []struct {
		name    string
		entries int
		later   time.Duration
		want    time.Duration
	}{
		{"after a lone write", 1, 0, 0},
		{"after few", busyGroup - 1, 0, 0},
		{"after several", busyGroup, 0, gatherTime},
		{"after many", 1000, 100 * time.Microsecond, gatherTime - 100*time.Microsecond},
		{"after a rest", 1000, time.Second, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := spacing{next: end.Add(gatherTime)} // from a group before
			s.wrote(test.entries, end)
			if got := max(0, s.wait(end.Add(test.later))); got != test.want {
				t.Errorf("the next group waits for %v, want %v", got, test.want)
			}
		})
	}
	if (&spacing{}).wait(end) > 0 {
		t.Error("the first group waits")
	}
}
