package clusterkit

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// hookLog records the calls of a hook.
type hookLog struct {
	mu    sync.Mutex
	calls []string
}

// hook is of the form with two nodes.
func (l *hookLog) hook(partition string, from, to *Node) {
	l.mu.Lock()
	defer l.mu.Unlock()
	source := "nobody"
	if from != nil {
		source = from.ID
	}
	l.calls = append(l.calls, fmt.Sprintf("%s: %s from %s", partition, to.ID, source))
}

// handle is of the form that can fail.
func (l *hookLog) handle(_ context.Context, c PartitionChange) error {
	l.hook(c.PartitionID, c.CopyFrom, &c.CopyTo)
	return nil
}

func (l *hookLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

func (l *hookLog) want(t *testing.T, when string, calls ...string) {
	t.Helper()
	if got := l.all(); !slices.Equal(got, calls) {
		t.Errorf("%s: called for %q, want %q", when, got, calls)
	}
}

// testRunner is the runner of one node, without the rest of the node.
type testRunner struct {
	*hookRunner
	// last is the map that was seen last.
	last  *Map
	mu    sync.Mutex
	acked []Member
}

// newTestRunner returns the runner of the node, which keeps its cursor in dir.
func newTestRunner(t *testing.T, dir, node, store string, hooks ...partitionHook) *testRunner {
	t.Helper()
	r := &testRunner{hookRunner: newHookRunner(node, store, func(*Map) bool { return true }, quiet)}
	cursor, err := openHookCursor(dir, store, quiet)
	if err != nil {
		t.Fatal(err)
	}
	r.cursor = cursor
	r.acknowledge = func(_ context.Context, _ int, c Member) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.acked = append(r.acked, c)
	}
	for _, hook := range hooks {
		r.add(hook)
	}
	r.seal()
	return r
}

// see passes the maps on as the state machine does, and lets the hooks work at
// each.
func (r *testRunner) see(maps ...*Map) {
	for _, m := range maps {
		r.observe(r.last, m)
		r.last = m
		synctest.Wait()
	}
}

// after lets the time pass.
func after(t *testing.T, d time.Duration) {
	sleep(t.Context(), d)
	synctest.Wait()
}

func (r *testRunner) acknowledged() []Member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.acked)
}

// close stops the runner as the end of a process does.
func (r *testRunner) close(t *testing.T) {
	t.Helper()
	r.stop()
	if err := errors.Join(r.wait(t.Context()), r.cursor.flush()); err != nil {
		t.Error(err)
	}
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

// copyOn returns the copy on the node.
func copyOn(t *testing.T, m *Map, partition int, node string) Member {
	t.Helper()
	return mustMember(t, &m.Partitions[partition], node)
}

// restored returns the map as a snapshot brings it back.
func restored(t *testing.T, m *Map) *Map {
	t.Helper()
	encoded, err := json.Marshal(snapshotState{Format: snapshotFormat, Map: m})
	if err != nil {
		t.Fatal(err)
	}
	s, err := decodeSnapshot(bytes.NewReader(encoded))
	if err != nil {
		t.Fatal(err)
	}
	return s.Map
}

// withoutLearner returns the map in which n2 is not wanted any more.
func withoutLearner(t *testing.T, learner *Map) *Map {
	t.Helper()
	planned := mustApply(t, learner, desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1"}}}})
	return mustApply(t, planned, movesCommand{Term: testTerm, Steps: nextMoves(planned)})
}

func TestHooksFireOnceForEachCopy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		empty, alone, learner := withLearner(t)
		done := mustApply(t, learner, acknowledgeCommand{Member: copyOn(t, learner, 0, "n2")})
		for _, node := range []struct {
			id, store string
			acks      int
		}{{"n1", "s1", 0}, {"n2", "s2", 1}} {
			var log hookLog
			r := newTestRunner(t, t.TempDir(), node.id, node.store, log.handle)
			r.see(empty, alone, learner, mustApply(t, learner, register("n3", "s3", 1)), done)
			log.want(t, "on "+node.id, "partition-0: n1 from nobody", "partition-0: n2 from n1")
			for partition, jobs := range r.jobs {
				t.Errorf("partition %d: %d jobs are kept, although everything is done", partition, len(jobs))
			}
			if got := r.acknowledged(); len(got) != node.acks {
				t.Errorf("%s acknowledged %v, want %d copies", node.id, got, node.acks)
			}
			r.close(t)
		}
	})
}

func TestHooksDoNotFireHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		empty, alone, learner := withLearner(t)
		done := mustApply(t, learner, acknowledgeCommand{Member: copyOn(t, learner, 0, "n2")})
		restarted := func(m *Map) bool { return m.Node("n1").Incarnation == 2 }

		var log hookLog
		r := newTestRunner(t, t.TempDir(), "n2", "s2", log.handle)
		r.joined = restarted
		back := mustApply(t, done, register("n1", "s1", 2))
		r.see(empty, alone, learner, done, back, restored(t, back))
		log.want(t, "when everything was acknowledged")
		r.close(t)

		r = newTestRunner(t, t.TempDir(), "n2", "s2", log.handle)
		r.joined = restarted
		r.see(empty, alone, learner, mustApply(t, learner, register("n1", "s1", 2)))
		log.want(t, "when a copy was not", "partition-0: n2 from n1")
		r.close(t)
	})
}

func TestHooksWaitForALiveSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, learner := withLearner(t)
		orphaned := lose(learner, t, "n1")
		var log hookLog
		r := newTestRunner(t, t.TempDir(), "n2", "s2", log.handle)
		r.see(orphaned)
		log.want(t, "without a source")
		r.see(mustApply(t, orphaned, register("n1", "s1", 2)))
		log.want(t, "with the source back", "partition-0: n2 from n1")
		r.close(t)
	})
}

// TestFirstAssignmentsAreCompletedOverRestarts ends the process in the middle of
// the hooks of a first assignment: what was completed does not fire again, and
// what was not does.
func TestFirstAssignmentsAreCompletedOverRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		empty := mustApply(t, foundedMap(2, 1), register("n1", "s1", 1))
		assigned := mustApply(t, empty, desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1"}}, {1, []string{"n1"}}}})
		var log hookLog
		r := newTestRunner(t, dir, "n1", "s1", log.handle, func(ctx context.Context, c PartitionChange) error {
			if c.Index == 1 {
				<-ctx.Done() // the end of the process
			}
			return nil
		})
		r.see(empty, assigned)
		if got := log.all(); len(got) != 2 {
			t.Errorf("first assignments: %q", got)
		}
		r.close(t)

		restarted := mustApply(t, assigned, register("n1", "s1", 2))
		again := hookLog{}
		r = newTestRunner(t, dir, "n1", "s1", again.handle)
		r.see(restarted)
		again.want(t, "after a restart", "partition-1: n1 from nobody")
		r.close(t)

		third := hookLog{}
		r = newTestRunner(t, dir, "n1", "s1", third.handle)
		r.see(mustApply(t, restarted, register("n1", "s1", 3)))
		third.want(t, "after another")
		r.close(t)
	})
}

// TestASkippedFirstAssignmentFires lets a snapshot take a node over the entry in
// which the partition was assigned.
func TestASkippedFirstAssignmentFires(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		empty, _, learner := withLearner(t)
		var log hookLog
		r := newTestRunner(t, t.TempDir(), "n1", "s1", log.handle)
		r.see(empty, learner)
		log.want(t, "after the snapshot", "partition-0: n1 from nobody", "partition-0: n2 from n1")
		r.close(t)
	})
}

// TestARemovedFirstCopyIsCopied takes a copy of the first assignment out of the
// in-sync set before its hook was completed: it is made from another then, and
// the first assignment is over.
func TestARemovedFirstCopyIsCopied(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		full := clusterOf(t)
		p := &full.Partitions[0]
		removed := mustApply(t, full, inSyncCommand{InSyncChange: InSyncChange{0, p.Epoch, p.Version, withoutMember(p.InSync, copyOn(t, full, 0, "n2"))}})
		back := mustApply(t, removed, acknowledgeCommand{Member: copyOn(t, full, 0, "n2")})
		var log hookLog
		r := newTestRunner(t, dir, "n2", "s2", func(ctx context.Context, c PartitionChange) error {
			_ = log.handle(ctx, c)
			if c.CopyFrom == nil {
				<-ctx.Done()
			}
			return ctx.Err()
		})
		r.see(full)
		log.want(t, "at first", "partition-0: n2 from nobody")
		r.see(removed)
		log.want(t, "after the removal", "partition-0: n2 from nobody", "partition-0: n2 from n1")
		r.see(back)
		r.close(t)
		r = newTestRunner(t, dir, "n2", "s2", log.handle)
		r.see(back)
		if got := log.all(); len(got) != 2 {
			t.Errorf("after a restart: %q", got)
		}
		r.close(t)
	})
}

func TestBadHooksHarmNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustApply(t, foundedMap(4, 2), register("n1", "s1", 1), register("n2", "s2", 1))
		for i := range m.Partitions {
			m = mustApply(t, m, desireCommand{Term: testTerm, Desired: []desire{{i, []string{"n1"}}}})
			m = mustApply(t, m, desireCommand{Term: testTerm, Desired: []desire{{i, []string{"n1", "n2"}}}})
		}
		m = mustApply(t, m, movesCommand{Term: testTerm, Steps: nextMoves(m)})
		release := make(chan struct{})
		var log hookLog
		r := newTestRunner(t, t.TempDir(), "n2", "s2", func(_ context.Context, c PartitionChange) error {
			switch c.Index {
			case 0:
				panic("bad hook")
			case 1:
				<-release
			case 2:
				runtime.Goexit()
			}
			return nil
		}, log.handle)
		r.see(m)
		if got := log.all(); len(got) != 4 {
			t.Errorf("the other hook was called for %q", got)
		}
		if got := r.acknowledged(); !slices.Equal(got, []Member{copyOn(t, m, 3, "n2")}) {
			t.Errorf("acknowledged %v, want only partition 3", got)
		}
		for partition, want := range map[int]copyPhase{0: copyFailed, 1: copyRunning, 2: copyFailed, 3: copyReturned} {
			got, ok := r.progress(partition, copyOn(t, m, partition, "n2"))
			if !ok || got.Phase != want || got.Attempt != 1 || (got.Err != nil) != (want == copyFailed) {
				t.Errorf("progress of partition %d: %+v, want it %s", partition, got, want)
			}
			waiting := map[copyPhase]string{copyFailed: "its hooks have failed, at attempt 1, and are called again: hook ", copyReturned: "it is not acknowledged yet"}[want]
			if got := r.waiting(partition, copyOn(t, m, partition, "n2")); !strings.HasPrefix(got, waiting) || (got == "") != (waiting == "") || strings.Contains(got, "\n") {
				t.Errorf("partition %d waits: %q, want %q", partition, got, waiting)
			}
		}
		if got, ok := r.progress(0, copyOn(t, m, 0, "n1")); ok {
			t.Errorf("progress of a copy that is made: %+v", got)
		}
		r.stop()
		ended, cancel := context.WithCancel(t.Context())
		cancel()
		if err := r.wait(ended); !errors.Is(err, context.Canceled) {
			t.Errorf("a hook does not return, and the wait says %v", err)
		}
		close(release)
		r.close(t)
	})
}

// TestAHookThatFailedIsCalledAgain checks the delays between the calls, and that
// the hooks that have succeeded are left alone.
func TestAHookThatFailedIsCalledAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, learner := withLearner(t)
		var log hookLog
		var delays []time.Duration
		last := time.Now()
		r := newTestRunner(t, t.TempDir(), "n2", "s2", log.handle, func(_ context.Context, c PartitionChange) error {
			delays, last = append(delays, time.Since(last)), time.Now()
			if c.Attempt != len(delays) {
				t.Errorf("attempt %d is call %d", c.Attempt, len(delays))
			}
			switch {
			case c.Attempt == 2:
				panic("not an error, but as bad")
			case c.Attempt <= 10:
				return errors.New("the source is busy")
			}
			return nil
		})
		r.see(learner)
		if len(r.acknowledged()) != 0 {
			t.Error("acknowledged although a hook has failed")
		}
		after(t, 90*time.Second)
		if got := r.acknowledged(); len(got) != 1 {
			t.Errorf("acknowledged %v after the hook has succeeded", got)
		}
		ms := func(n int) time.Duration { return time.Duration(n) * time.Millisecond }
		want := []time.Duration{0, ms(100), ms(200), ms(400), ms(800), ms(1600), ms(3200), ms(6400), ms(12800), ms(25600), ms(30000)}
		if !slices.Equal(delays, want) {
			t.Errorf("called after %v, want %v", delays, want)
		}
		log.want(t, "the other hook", "partition-0: n2 from n1")
		r.close(t)
	})
}

// TestARetryTakesTheNewestSource lets the primary die while a copy is made from
// it: the next call is at once, and from the node that took over.
func TestARetryTakesTheNewestSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := mustApply(t, clusterOf(t), register("n4", "s4", 1))
		planned := mustApply(t, full, desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1", "n2", "n3", "n4"}}}})
		learner := mustApply(t, planned, movesCommand{Term: testTerm, Steps: nextMoves(planned)})
		var changes []PartitionChange
		r := newTestRunner(t, t.TempDir(), "n4", "s4", func(_ context.Context, c PartitionChange) error {
			changes = append(changes, c)
			if len(changes) <= 5 {
				return errors.New("the source does not answer")
			}
			return nil
		})
		r.see(learner)
		after(t, 2*time.Second)
		if len(changes) != 5 {
			t.Fatalf("%d calls in two seconds, want 5", len(changes))
		}
		at := time.Now()
		orphaned := mustApply(t, learner, endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n1", 1}}, DropCopies: true})
		r.see(orphaned)
		if len(changes) != 6 || time.Since(at) != 0 {
			t.Fatalf("%d calls after the source has died, want one more at once", len(changes))
		}
		p, before := &orphaned.Partitions[0], &learner.Partitions[0]
		first, last := changes[0], changes[5]
		if first.CopyFrom.ID != "n1" || first.Epoch != before.Epoch || first.Version != before.Version || first.Reason != before.Reason {
			t.Errorf("first call: %+v, want it from n1 and as in %+v", first, before)
		}
		if last.CopyFrom.ID != p.Primary || last.Epoch != p.Epoch || last.Version != p.Version || last.Reason != first.Reason {
			t.Errorf("last call: %+v, want it from %s and as in %+v", last, p.Primary, p)
		}
		if first.Member != last.Member || last.CopyTo.ID != "n4" || last.PartitionID != "partition-0" || last.Attempt != 6 {
			t.Errorf("last call: %+v", last)
		}
		if got := r.acknowledged(); !slices.Equal(got, []Member{last.Member}) {
			t.Errorf("acknowledged %v", got)
		}
		r.close(t)
	})
}

// TestARetryWaitsForALiveSource lets the only source die, and return after all
// the delays have passed.
func TestARetryWaitsForALiveSource(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, learner := withLearner(t)
		orphaned := lose(learner, t, "n1")
		var log hookLog
		r := newTestRunner(t, t.TempDir(), "n2", "s2", func(ctx context.Context, c PartitionChange) error {
			_ = log.handle(ctx, c)
			return errors.New("the source is gone")
		})
		r.see(learner, orphaned)
		after(t, time.Hour)
		log.want(t, "without a source", "partition-0: n2 from n1")
		r.see(mustApply(t, orphaned, register("n1", "s1", 2)))
		log.want(t, "with the source back", "partition-0: n2 from n1", "partition-0: n2 from n1")
		r.close(t)
	})
}

func TestAHookIsNotCalledAgainForACopyThatNobodyWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, learner := withLearner(t)
		calls := 0
		r := newTestRunner(t, t.TempDir(), "n2", "s2", func(context.Context, PartitionChange) error {
			calls++
			return errors.New("the disk is full")
		})
		r.see(learner, withoutLearner(t, learner))
		after(t, time.Hour)
		if calls != 1 || len(r.acknowledged()) != 0 {
			t.Errorf("%d calls and %v acknowledged for a copy that was released", calls, r.acknowledged())
		}
		r.close(t)
	})
}

// TestTheContextEndsWithTheCopy has hooks that return nil because their context
// has ended: that counts for nothing.
func TestTheContextEndsWithTheCopy(t *testing.T) {
	_, _, learner := withLearner(t)
	for _, tt := range []struct {
		name string
		end  func(*testRunner)
	}{
		{"released", func(r *testRunner) { r.see(withoutLearner(t, learner)) }},
		{"assigned anew", func(r *testRunner) {
			gone := mustApply(t, learner, endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n2", 1}}, DropCopies: true})
			r.see(gone)
		}},
		{"stopped", func(r *testRunner) { r.stop() }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				running := false
				r := newTestRunner(t, t.TempDir(), "n2", "s2", func(ctx context.Context, _ PartitionChange) error {
					running = true
					<-ctx.Done()
					running = false
					return nil
				})
				r.see(learner)
				if !running {
					t.Fatal("the hook does not run")
				}
				tt.end(r)
				synctest.Wait()
				if running || len(r.acknowledged()) != 0 {
					t.Errorf("running: %t, acknowledged %v", running, r.acknowledged())
				}
				r.close(t)
			})
		})
	}
}

// TestTheContextOutlastsTheReturn is about an application that goes on copying
// when its hook has returned, and acknowledges by itself.
func TestTheContextOutlastsTheReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, learner := withLearner(t)
		done := mustApply(t, learner, acknowledgeCommand{Member: copyOn(t, learner, 0, "n2")})
		var ended atomic.Bool
		r := newTestRunner(t, t.TempDir(), "n2", "s2", func(ctx context.Context, _ PartitionChange) error {
			context.AfterFunc(ctx, func() { ended.Store(true) })
			return nil
		})
		r.acknowledge = nil
		r.see(learner)
		after(t, time.Hour)
		if ended.Load() {
			t.Error("the context ended with the hook")
		}
		r.see(done)
		if !ended.Load() {
			t.Error("the context outlasts the acknowledgement")
		}
		r.close(t)
	})
}

// TestAHookMayAcknowledgeBeforeItReturns has the copy in sync while its hook
// still works: the hook is not interrupted, and not called again when it fails.
func TestAHookMayAcknowledgeBeforeItReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, learner := withLearner(t)
		done := mustApply(t, learner, acknowledgeCommand{Member: copyOn(t, learner, 0, "n2")})
		var calls, interrupted atomic.Int64
		r := newTestRunner(t, t.TempDir(), "n2", "s2", func(ctx context.Context, _ PartitionChange) error {
			calls.Add(1)
			sleep(ctx, time.Minute)
			if ctx.Err() != nil {
				interrupted.Add(1)
			}
			return errors.New("cannot clean up")
		})
		r.acknowledge = nil
		r.see(learner, done)
		after(t, time.Hour)
		if calls.Load() != 1 || interrupted.Load() != 0 {
			t.Errorf("%d calls, %d interrupted, want 1 and 0", calls.Load(), interrupted.Load())
		}
		r.close(t)
	})
}

// TestChangesOfAPartitionComeInOrder takes a copy away and assigns it again
// while its hook does not return.
func TestChangesOfAPartitionComeInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, _, learner := withLearner(t)
		gone := withoutLearner(t, learner)
		planned := mustApply(t, gone, desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1", "n2"}}}})
		again := mustApply(t, planned, movesCommand{Term: testTerm, Steps: nextMoves(planned)})
		release := make(chan struct{})
		var members []Member
		r := newTestRunner(t, t.TempDir(), "n2", "s2", func(_ context.Context, c PartitionChange) error {
			members = append(members, c.Member)
			<-release
			return nil
		})
		r.see(learner, gone, again)
		if got, _ := r.progress(0, copyOn(t, again, 0, "n2")); len(members) != 1 || got.Phase != copyQueued {
			t.Errorf("%d hooks run, the later copy is %s", len(members), got.Phase)
		}
		close(release)
		synctest.Wait()
		want := []Member{copyOn(t, learner, 0, "n2"), copyOn(t, again, 0, "n2")}
		if !slices.Equal(members, want) {
			t.Errorf("called for %v, want %v", members, want)
		}
		if got := r.acknowledged(); !slices.Equal(got, want[1:]) {
			t.Errorf("acknowledged %v, want the later copy alone", got)
		}
		r.close(t)
	})
}
