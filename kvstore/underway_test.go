package kvstore

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
)

// A write that was sent to a primary that is deposed does not wait for it;
// one whose primary stays, or answers within the grace, is let alone.
func TestUnderway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var u underway
		deposed, done0 := u.begin(context.Background(), 0, 3)
		defer done0()
		kept, done1 := u.begin(context.Background(), 1, 3)
		defer done1()

		u.follow(&clusterkit.Map{Partitions: []clusterkit.Partition{{Epoch: 3}, {Epoch: 3}}})
		u.follow(&clusterkit.Map{Partitions: []clusterkit.Partition{{Epoch: 4}, {Epoch: 3}}})
		time.Sleep(deposedGrace - 1)
		synctest.Wait()
		if deposed.Err() != nil {
			t.Error("a write was given up before the grace was over")
		}
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		if deposed.Err() == nil {
			t.Error("a write still waits for a primary that was deposed")
		}
		if kept.Err() != nil {
			t.Error("a write was given up although its primary stayed")
		}
	})
}
