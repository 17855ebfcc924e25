package clusterkit

import (
	"strings"
	"testing"
	"testing/synctest"
)

// volatile returns the registration of a node whose data are in memory, in
// that run of its process.
func volatile(c registerCommand, run string) registerCommand {
	c.Node.Store = volatilePrefix + c.Node.ID + "-" + run
	return c
}

// volatileCluster is clusterOf with data in memory.
func volatileCluster(t *testing.T) *Map {
	t.Helper()
	return mustApply(t, foundedMap(1, 3),
		volatile(register("n1", "s1", 1), "a"), volatile(register("n2", "s2", 1), "a"), volatile(register("n3", "s3", 1), "a"),
		desireCommand{Term: testTerm, Desired: []desire{{Partition: 0, Nodes: []string{"n1", "n2", "n3"}}}},
	)
}

// TestRestartLosesAVolatileStore restarts the primary while its session is
// open.
func TestRestartLosesAVolatileStore(t *testing.T) {
	m := volatileCluster(t)
	before := m.Partitions[0]
	m = mustApply(t, m, volatile(register("n1", "s1", 2), "b"))
	p := m.Partitions[0]
	if _, ok := p.MemberOf("n1"); ok || p.Primary != "n2" || len(p.InSync) != 2 || p.Epoch != before.Epoch+1 || p.Began != before.Began {
		t.Fatalf("n1 came back without its data: %+v", p)
	}
	if n := m.Node("n1"); !n.Alive || n.Incarnation != 2 {
		t.Fatalf("n1 waits for the end of its own session: %+v", n)
	}
	if steps := nextMoves(m); len(steps) != 1 || steps[0].Learner != "n1" {
		t.Fatalf("it does not copy anew: %+v", steps)
	}
	if next, verdict := volatile(register("n1", "another directory", 3), "c").apply(m, testTerm); next != m || verdict.Code != codeConflict {
		t.Fatalf("a process that may run beside n1 was answered with %+v", verdict)
	}
}

func TestPartitionBeginsAnewWhenAllItsProcessesAreGone(t *testing.T) {
	m := volatileCluster(t)
	before := m.Partitions[0]
	restart := func(id, dir string) {
		m = mustApply(t, m, volatile(register(id, dir, 2), "b"))
	}
	m = lose(m, t, "n1", "n2", "n3")
	restart("n1", "s1")
	restart("n2", "s2")
	waiting := m.Partitions[0]
	if waiting.Primary != "" && m.Node(waiting.Primary).Alive || len(waiting.InSync) != 1 || waiting.InSync[0].Node != "n3" || waiting.Began != before.Began {
		t.Fatalf("n3 may still run with all its data: %+v", waiting)
	}
	restart("n3", "s3")
	p := m.Partitions[0]
	if p.Primary != "n1" || len(p.InSync) != 3 || len(p.Members) != 3 || p.Epoch <= waiting.Epoch || p.Began != p.Version || !strings.Contains(p.Reason, "begins empty") {
		t.Fatalf("all data are gone: %+v", p)
	}
	for _, c := range p.InSync {
		if c.Incarnation == 1 || !m.Present(c) {
			t.Errorf("%+v is a copy of before", c)
		}
	}
}

// TestADataDirectoryIsWaitedFor: its data may come back, whatever the other
// copies were on.
func TestADataDirectoryIsWaitedFor(t *testing.T) {
	m := mustApply(t, foundedMap(1, 2), register("n1", "s1", 1), volatile(register("n2", "s2", 1), "a"),
		desireCommand{Term: testTerm, Desired: []desire{{Partition: 0, Nodes: []string{"n1", "n2"}}}})
	m = mustApply(t, m, volatile(register("n2", "s2", 2), "b"))
	m = lose(m, t, "n1")
	m = mustApply(t, m, register("n1", "new", 2), volatile(register("n2", "s2", 3), "c"))
	if p := m.Partitions[0]; p.Began != 1 || p.Primary != "" || len(p.InSync) != 1 || p.InSync[0].Store != "s1" {
		t.Fatalf("the disk of n1 may be found again: %+v", p)
	}
}

// TestPartitionBeginsAnewWhereThePlanSaysSo loses the data while no wanted node
// is there.
func TestPartitionBeginsAnewWhereThePlanSaysSo(t *testing.T) {
	m := mustApply(t, foundedMap(1, 1), volatile(register("n1", "s1", 1), "a"), volatile(register("n2", "s2", 1), "a"),
		desireCommand{Term: testTerm, Desired: []desire{{Partition: 0, Nodes: []string{"n1"}}}})
	m = mustApply(t, lose(m, t, "n2"), desireCommand{Term: testTerm, Desired: []desire{{Partition: 0, Nodes: []string{"n2"}}}})
	m = mustApply(t, m, volatile(register("n1", "s1", 2), "b"))
	if p := m.Partitions[0]; p.Primary != "" || p.Began != 1 {
		t.Fatalf("it began where it is not wanted: %+v", p)
	}
	m = mustApply(t, m, desireCommand{Term: testTerm, Desired: []desire{{Partition: 0, Nodes: []string{"n1"}}}})
	if p := m.Partitions[0]; p.Primary != "n1" || p.Began != p.Version {
		t.Fatalf("after the plan: %+v", p)
	}
}

// TestHooksSayThatAPartitionBeginsAnew looks at a node that stayed, and was
// copying, and at the one whose return says that all is gone.
func TestHooksSayThatAPartitionBeginsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := mustApply(t, foundedMap(1, 2), volatile(register("n1", "s1", 1), "a"), volatile(register("n2", "s2", 1), "a"))
		alone := mustApply(t, m, desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1"}}}})
		planned := mustApply(t, alone, desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1", "n2"}}}})
		learner := mustApply(t, planned, movesCommand{Term: testTerm, Steps: nextMoves(planned)})
		anew := mustApply(t, learner, volatile(register("n1", "s1", 2), "b"))

		joined := func(m *Map) bool { return m.Node("n1").Incarnation == 2 }
		for _, node := range []struct {
			id, run string
			joined  func(*Map) bool
			made    []string
		}{
			{"n2", "a", func(*Map) bool { return true }, []string{"partition-0: n2 from n1"}},
			{"n1", "b", joined, nil},
		} {
			var log hookLog
			r := newTestRunner(t, t.TempDir(), node.id, volatilePrefix+node.id+"-"+node.run, log.handle)
			r.joined = node.joined
			r.see(learner, anew)
			log.want(t, "on "+node.id, append(node.made, "partition-0: n1 from nobody", "partition-0: n2 from nobody")...)
			if got := r.acknowledged(); len(got) != len(node.made) {
				t.Errorf("%s acknowledged %v", node.id, got)
			}
			r.close(t)
		}
	})
}

func volatileStore(o *Options) { o.VolatileStore = true }

// TestVolatileNodeRestarts: to Raft it is the same server as before.
func TestVolatileNodeRestarts(t *testing.T) {
	t.Parallel()
	c := startThree(t, volatileStore)
	before := c.nodes["node-2"].Self()
	c.kill("node-2")
	var log hookLog
	c.start(func(ck *ClusterKit) { ck.OnPartitionChange(log.hook) }, "node-2")
	c.ready("node-2")
	after := c.nodes["node-2"].Self()
	if after.Store == before.Store || after.Store != c.nodes["node-2"].StoreID() || after.RaftID != before.RaftID {
		t.Errorf("%+v came back as %+v", before, after)
	}
	c.settled(3)
	copied := 0
	for _, call := range log.all() {
		if strings.Contains(call, "node-2 from node-") {
			copied++
		}
	}
	if copied != len(c.partitions()) {
		t.Errorf("%d of %d partitions were copied: %q", copied, len(c.partitions()), log.all())
	}
	for _, p := range c.partitions() {
		if p.Began != 1 {
			t.Errorf("two copies were left: %+v", p)
		}
	}
}

func TestVolatileClusterRestarts(t *testing.T) {
	t.Parallel()
	c := startThree(t, volatileStore)
	epochs := make([]uint64, len(c.partitions()))
	for i, p := range c.partitions() {
		epochs[i] = p.Epoch
	}
	for _, id := range three {
		c.kill(id)
	}
	var log hookLog
	c.start(func(ck *ClusterKit) { ck.OnPartitionChange(log.hook) }, three...)
	c.ready(three...)
	c.settled(3)
	for i, p := range c.partitions() {
		if p.Began == 1 || p.Epoch <= epochs[i] {
			t.Errorf("nobody has the data of %+v", p)
		}
	}
	c.eventually("word that every partition begins empty", func() bool {
		told := make(map[string]bool)
		for _, call := range log.all() {
			if id, found := strings.CutSuffix(call, "from nobody"); found {
				told[id] = true
			}
		}
		return len(told) == 3*len(epochs)
	})
}
