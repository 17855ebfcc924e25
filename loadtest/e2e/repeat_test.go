package e2e

import (
	"testing"
	"time"
)

// Increments are sent again, whatever happens to the nodes, and counted once.
func TestIncrementsAreExecutedOnce(t *testing.T) {
	ctx := within(t, 4*time.Minute)
	c := startCluster(t, ctx, 3)
	n := startCounting(t, ctx, c)
	for _, leads := range []bool{false, true} {
		_, err := killPrimary(ctx, t, c, &n.progress, leads)
		must(t, "kill", err)
	}
	n.finish(ctx)
}
