package kvstore

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

// A request that was sent on to a node that does not know yet that it leads is
// sent there again soon, and so after every change.
func TestRequestsLookAgainSoonAfterAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := &Router{node: &Node{}}
		began := time.Now()
		var at []int64
		err := rt.persist(t.Context(), func() (string, error) {
			at = append(at, time.Since(began).Milliseconds())
			switch len(at) {
			case 6:
				rt.node.changed.announce()
			case 10:
				return "", nil
			}
			return "nobody serves", errNotServing
		})
		if want := []int64{0, 2, 6, 14, 30, 62, 62, 64, 68, 76}; err != nil || !slices.Equal(at, want) {
			t.Errorf("attempts after %v ms, %v, want %v", at, err, want)
		}
	})
}
