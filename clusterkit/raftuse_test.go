package clusterkit

import (
	"context"
	"fmt"
	"sync"
	"testing"
	"time"
)

// TestALeaderThatStopsWaitsForNothing stops leaders in the moment after a change
// of the map, when Raft still has something to hand to the state machine.
func TestALeaderThatStopsWaitsForNothing(t *testing.T) {
	var wg sync.WaitGroup
	for i := range 8 {
		c := newTestCluster(t, Config{PartitionCount: 4})
		c.start(nil, "node-1")
		ck := c.nodes["node-1"]
		wg.Go(func() {
			for n := range 20 {
				if err := ck.SetMetadata(t.Context(), fmt.Sprint(n), "value"); err != nil {
					t.Errorf("node %d: %v", i, err)
				}
			}
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			if err := ck.Shutdown(ctx); err != nil {
				t.Errorf("node %d: %v", i, err)
			}
		})
	}
	wg.Wait()
}
