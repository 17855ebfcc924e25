package clusterkit

import (
	"runtime"
	"sync/atomic"
	"testing"
	"time"
)

// TestIsPrimaryJudgesOneMapByOneLease lets a node lose its session and its role
// and open another session, over and over, while somebody asks for the role:
// the lease of the later session must not vouch for the map of the earlier.
func TestIsPrimaryJudgesOneMapByOneLease(t *testing.T) {
	primary := mustApply(t, foundedMap(1, 3),
		register("n1", "s1", 1), register("n2", "s2", 1),
		desireCommand{Term: testTerm, Desired: []desire{{Partition: 0, Nodes: []string{"n1", "n2"}}}})
	deposed := mustApply(t, primary,
		endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n1", 1}}},
		register("n1", "s1", 2))
	state := &fsm{}
	s := &session{state: state, clock: systemClock{}}
	ck := &ClusterKit{opts: settings{Options: Options{NodeID: "n1"}}, storeID: "s1", state: state, session: s, handover: &handover{}}
	valid := s.clock.Now() + time.Hour
	first, over, second := &lease{sessionRef{"n1", 1}, valid}, &lease{sessionRef{"n1", 1}, 0}, &lease{sessionRef{"n1", 2}, valid}

	state.current.Store(primary)
	s.lease.Store(first)
	p := &primary.Partitions[0]
	if !ck.IsPrimary(p) {
		t.Fatal("not the primary while the lease holds")
	}
	// deposals is odd while the node cannot be the primary.
	var deposals, asked atomic.Uint64
	done := make(chan struct{})
	awaitQuestions := func() {
		for end := asked.Load() + 2; asked.Load() < end; {
			runtime.Gosched()
		}
	}
	go func() {
		defer close(done)
		for range 20_000 {
			s.lease.Store(over)
			deposals.Add(1)
			awaitQuestions()
			state.current.Store(deposed)
			s.lease.Store(second)
			awaitQuestions()
			deposals.Add(1)
			s.lease.Store(nil)
			state.current.Store(primary)
			s.lease.Store(first)
		}
	}()
	for {
		select {
		case <-done:
			return
		default:
		}
		before := deposals.Load()
		claimed := ck.IsPrimary(p)
		if claimed && before%2 == 1 && deposals.Load() == before {
			t.Error("the primary by the map of one session and the lease of another")
		}
		asked.Add(1)
	}
}
