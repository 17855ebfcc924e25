package clusterkit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/hashicorp/raft"
)

// hookLog records the calls of a hook.
type hookLog struct {
	mu    sync.Mutex
	calls []string
}

func (l *hookLog) hook(partition string, from, to *Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	source := "nobody"
	if from != nil {
		source = from.ID
	}
	l.calls = append(l.calls, fmt.Sprintf("%s: %s from %s", partition, to.ID, source))
}

func (l *hookLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// close stops the runner and waits for its hooks.
func (h *hookRunner) close(ctx context.Context) error {
	h.stop()
	return h.wait(ctx)
}

func always(*Map) bool { return true }

// observeAll passes the maps on as the state machine does.
func observeAll(h *hookRunner, maps ...*Map) {
	var prev *Map
	for _, m := range maps {
		h.observe(prev, m)
		prev = m
	}
	synctest.Wait()
}

// withLearner returns maps of a partition on n1 alone, and then with a learner
// on n2.
func withLearner(t *testing.T) (empty, alone, learner *Map) {
	t.Helper()
	empty = mustApply(t, foundedMap(1, 2), register("n1", "s1", 1), register("n2", "s2", 1))
	alone = mustApply(t, empty, desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1"}}}})
	planned := mustApply(t, alone, desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1", "n2"}}}})
	learner = mustApply(t, planned, movesCommand{Term: testTerm, Steps: nextMoves(planned)})
	return empty, alone, learner
}

func TestHooksFireOnceForEachCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		empty, alone, learner := withLearner(t)
		var log hookLog
		var copied atomic.Int64
		h := newHookRunner(always, func(context.Context, int, Member) { copied.Add(1) }, quiet)
		h.add(log.hook)
		renamed := mustApply(t, learner, register("n3", "s3", 1))
		observeAll(h, empty, alone, learner, renamed)
		want := []string{"partition-0: n1 from nobody", "partition-0: n2 from n1"}
		if got := log.all(); !slices.Equal(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if copied.Load() != 1 {
			t.Errorf("%d copies were acknowledged, want 1", copied.Load())
		}
		if err := h.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestHooksDoNotFireHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		empty, alone, learner := withLearner(t)
		c, _ := learner.Partitions[0].MemberOf("n2")
		done := mustApply(t, learner, acknowledgeCommand{Member: c})
		again := mustApply(t, done, register("n1", "s1", 2))
		var log hookLog
		h := newHookRunner(func(m *Map) bool { return m.Node("n1").Incarnation == 2 }, func(context.Context, int, Member) {}, quiet)
		h.add(log.hook)
		observeAll(h, empty, alone, learner, done, again)
		if got := log.all(); len(got) != 0 {
			t.Errorf("history fired: %q", got)
		}
		if err := h.close(t.Context()); err != nil {
			t.Error(err)
		}
		unfinished := mustApply(t, learner, register("n1", "s1", 2))
		h = newHookRunner(h.joined, h.copied, quiet)
		h.add(log.hook)
		observeAll(h, empty, alone, learner, unfinished)
		if got := log.all(); !slices.Equal(got, []string{"partition-0: n2 from n1"}) {
			t.Errorf("a copy that was not acknowledged fired %q", got)
		}
		if err := h.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestHooksWaitForALiveSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, learner := withLearner(t)
		orphaned := lose(learner, t, "n1")
		back := mustApply(t, orphaned, register("n1", "s1", 2))
		var log hookLog
		h := newHookRunner(always, func(context.Context, int, Member) {}, quiet)
		h.add(log.hook)
		observeAll(h, orphaned)
		if got := log.all(); len(got) != 0 {
			t.Errorf("fired without a source: %q", got)
		}
		h.observe(orphaned, back)
		synctest.Wait()
		if got := log.all(); !slices.Equal(got, []string{"partition-0: n2 from n1"}) {
			t.Errorf("after the source is back: %q", got)
		}
		if err := h.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestBadHooksHarmNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		planned := mustApply(t, foundedMap(3, 2), register("n1", "s1", 1), register("n2", "s2", 1))
		for i := range planned.Partitions {
			planned = mustApply(t, planned, desireCommand{Term: testTerm, Desired: []desire{{i, []string{"n1"}}}})
			planned = mustApply(t, planned, desireCommand{Term: testTerm, Desired: []desire{{i, []string{"n1", "n2"}}}})
		}
		m := mustApply(t, planned, movesCommand{Term: testTerm, Steps: nextMoves(planned)})
		release := make(chan struct{})
		var mu sync.Mutex
		var copied []int
		h := newHookRunner(always, func(_ context.Context, partition int, _ Member) {
			mu.Lock()
			defer mu.Unlock()
			copied = append(copied, partition)
		}, quiet)
		h.add(func(partition string, _, _ *Node) {
			switch partition {
			case "partition-0":
				panic("bad hook")
			case "partition-1":
				<-release
			}
		})
		var log hookLog
		h.add(log.hook)
		observeAll(h, m)
		if got := log.all(); len(got) != 3 {
			t.Errorf("the other hook was called %q", got)
		}
		mu.Lock()
		if !slices.Equal(copied, []int{2}) {
			t.Errorf("acknowledged %v, want only partition 2", copied)
		}
		mu.Unlock()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := h.close(ended); err == nil {
			t.Error("closing did not report the hook that does not return")
		}
		close(release)
		if err := h.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAHookThatPanickedIsCalledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		empty, alone, learner := withLearner(t)
		var copied, calls atomic.Int64
		h := newHookRunner(always, func(context.Context, int, Member) { copied.Add(1) }, quiet)
		var log hookLog
		h.add(log.hook)
		h.add(func(_ string, from, _ *Node) {
			if from != nil && calls.Add(1) <= 3 {
				panic("the source is busy")
			}
		})
		observeAll(h, empty, alone, learner)
		if copied.Load() != 0 {
			t.Error("a copy was acknowledged although a hook has failed")
		}
		sleep(t.Context(), time.Minute)
		if copied.Load() != 1 || calls.Load() != 4 {
			t.Errorf("%d copies were acknowledged after %d calls, want 1 and 4", copied.Load(), calls.Load())
		}
		if got := log.all(); len(got) != 2 {
			t.Errorf("the hook that had returned was called again: %q", got)
		}
		if err := h.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestAHookIsNotCalledAgainForACopyThatNobodyWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, learner := withLearner(t)
		var calls atomic.Int64
		h := newHookRunner(always, func(context.Context, int, Member) { t.Error("acknowledged") }, quiet)
		h.add(func(string, *Node, *Node) {
			calls.Add(1)
			panic("the disk is full")
		})
		observeAll(h, learner)
		planned := mustApply(t, learner, desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1"}}}})
		h.observe(learner, mustApply(t, planned, movesCommand{Term: testTerm, Steps: nextMoves(planned)}))
		before := calls.Load()
		sleep(t.Context(), time.Hour)
		if before != 1 || calls.Load() != 1 {
			t.Errorf("%d calls before the copy was released and %d in all, want 1", before, calls.Load())
		}
		if err := h.close(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestAStopDoesNotLetRaftWaitForHooks stops a node while a hook is running: Raft
// must not be led by a node that does nothing else any more.
func TestAStopDoesNotLetRaftWaitForHooks(t *testing.T) {
	c := newTestCluster(t, Config{PartitionCount: 1})
	release := make(chan struct{})
	c.start(func(ck *ClusterKit) {
		ck.OnPartitionChange(func(string, *Node, *Node) { <-release })
	}, "node-1")
	ck := c.nodes["node-1"]
	stopped := make(chan error, 1)
	go func() { stopped <- ck.Shutdown(t.Context()) }()
	c.eventually("end of Raft and the release of the directory", func() bool {
		dir, err := openDataDir(ck.opts.DataDir, "node-1")
		return err == nil && dir.close() == nil && ck.book.raft.Load().State() == raft.Shutdown
	})
	select {
	case err := <-stopped:
		t.Errorf("did not wait for the hook: %v", err)
	default:
	}
	close(release)
	if err := <-stopped; err != nil {
		t.Error(err)
	}
}

// TestSeedScenarioNodeDies is the first scenario of "When Hooks Fire": of four
// nodes with three copies, one dies.
func TestSeedScenarioNodeDies(t *testing.T) {
	c := newTestCluster(t, Config{})
	four := []string{"node-1", "node-2", "node-3", "node-4"}
	logs := make(map[string]*hookLog)
	for _, id := range four {
		logs[id] = &hookLog{}
		c.start(func(ck *ClusterKit) { ck.OnPartitionChange(logs[id].hook) }, id)
	}
	c.ready(four...)
	c.settled(3)
	before := c.nodes["node-2"].Map()
	seen := len(logs["node-2"].all())
	c.kill("node-1")
	c.eventually("return to three live copies", func() bool {
		for _, ck := range c.nodes {
			m := ck.Map()
			for i := range m.Partitions {
				p := &m.Partitions[i]
				if _, stays := p.MemberOf("node-1"); stays || len(p.InSync) != 3 {
					return false
				}
			}
		}
		return true
	})
	after := c.nodes["node-2"].Map()
	calls := logs["node-2"].all()[seen:]
	for i := range after.Partitions {
		was, is := &before.Partitions[i], &after.Partitions[i]
		if _, had := was.MemberOf("node-1"); !had {
			continue
		}
		for _, member := range is.Members {
			if _, had := was.MemberOf(member.Node); had {
				continue
			}
			fired := slices.ContainsFunc(was.InSync, func(source Member) bool {
				return source.Node != "node-1" && slices.Contains(calls, fmt.Sprintf("%s: %s from %s", is.ID, member.Node, source.Node))
			})
			if !fired {
				t.Errorf("no hook for the copy of %s on %s: %q", is.ID, member.Node, calls)
			}
		}
	}
	// The others saw the same.
	c.eventually("calls on the other nodes", func() bool {
		for _, call := range calls {
			if !slices.Contains(logs["node-3"].all(), call) || !slices.Contains(logs["node-4"].all(), call) {
				return false
			}
		}
		return true
	})
}

// TestSeedScenarioNodeJoins is the second: a fourth node joins three, and the
// copies that move to it are made before anything points at it.
func TestSeedScenarioNodeJoins(t *testing.T) {
	c := startThree(t, nil)
	var log hookLog
	release := make(chan struct{})
	var early atomic.Bool
	c.start(func(ck *ClusterKit) {
		ck.OnPartitionChange(func(partition string, from, to *Node) {
			if to.ID != "node-4" {
				return
			}
			<-release
			for _, p := range ck.Map().Partitions {
				if p.ID == partition && p.Primary == "node-4" {
					early.Store(true)
				}
			}
			log.hook(partition, from, to)
		})
	}, "node-4")
	c.ready("node-4")
	defer c.singlePrimaries()()
	c.eventually("learner on node-4", func() bool {
		return slices.ContainsFunc(c.partitions(), func(p Partition) bool { _, ok := p.MemberOf("node-4"); return ok })
	})
	for _, p := range c.partitions() {
		if member, ok := p.MemberOf("node-4"); ok && p.IsInSync(member) {
			t.Errorf("%s counts a copy that was not made", p.ID)
		}
	}
	close(release)
	c.settled(3)
	if early.Load() {
		t.Error("node-4 was a primary before it had the data")
	}
	copies := 0
	for _, p := range c.partitions() {
		if _, ok := p.MemberOf("node-4"); ok {
			copies++
			if !slices.ContainsFunc(log.all(), func(call string) bool { return len(call) > len(p.ID) && call[:len(p.ID)+1] == p.ID+":" }) {
				t.Errorf("%s moved to node-4 without a hook", p.ID)
			}
		}
	}
	if copies != 12 {
		t.Errorf("node-4 has %d of 48 copies on 4 nodes", copies)
	}
}
