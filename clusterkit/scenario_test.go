package clusterkit_test

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/clusterkit/clustertest"
)

// inCluster runs a test with a healthy cluster, in fake time.
func inCluster(t *testing.T, config clustertest.Config, test func(t *testing.T, c *clustertest.Cluster)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		c := clustertest.New(t, config)
		c.WaitHealthy()
		test(t, c)
	})
}

// hookCall is a call of a hook: on which node, and with what.
type hookCall struct{ on, partition, from, to string }

// hookCalls records the hooks of all nodes. While it is held, no hook returns
// that has a copy to make on its own node.
type hookCalls struct {
	mu    sync.Mutex
	freed *sync.Cond
	held  bool
	calls []hookCall
}

func newHookCalls() *hookCalls {
	h := &hookCalls{}
	h.freed = sync.NewCond(&h.mu)
	return h
}

// record is a Prepare of clustertest.
func (h *hookCalls) record(ck *clusterkit.ClusterKit) {
	on := ck.GetMyNodeID()
	ck.OnPartitionChange(func(partition string, from, to *clusterkit.Node) {
		call := hookCall{on: on, partition: partition, to: to.ID}
		if from != nil {
			call.from = from.ID
		}
		h.mu.Lock()
		defer h.mu.Unlock()
		h.calls = append(h.calls, call)
		for h.held && from != nil && to.ID == on {
			h.freed.Wait()
		}
	})
}

// hold makes hooks wait until release, and forgets the calls before.
func (h *hookCalls) hold() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held, h.calls = true, nil
}

func (h *hookCalls) release() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.held = false
	h.freed.Broadcast()
}

func (h *hookCalls) forget() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.calls = nil
}

// on returns the calls on a node.
func (h *hookCalls) on(node string) []hookCall {
	h.mu.Lock()
	defer h.mu.Unlock()
	var calls []hookCall
	for _, call := range h.calls {
		if call.on == node {
			calls = append(calls, call)
		}
	}
	return calls
}

// nodesOf returns the nodes of the copies.
func nodesOf(copies []clusterkit.Member) []string {
	nodes := make([]string, len(copies))
	for i, c := range copies {
		nodes[i] = c.Node
	}
	return nodes
}

// TestHooksFireWhenANodeDies: of four nodes with three copies of each partition
// one dies.
//
//	Before: partition-5 -> Node 1 (primary), Node 2 (replica), Node 3 (replica)
//	After:  partition-5 -> Node 2 (NEW primary), Node 3 (replica), Node 4 (NEW replica)
func TestHooksFireWhenANodeDies(t *testing.T) {
	hooks := newHookCalls()
	inCluster(t, clustertest.Config{Nodes: 4, Prepare: hooks.record}, func(t *testing.T, c *clustertest.Cluster) {
		before := c.Map()
		dead := before.Partitions[5].Primary
		hooks.hold()
		c.Kill(dead)
		c.WaitFor("new primaries, and a fourth node for each copy that was lost", func(m *clusterkit.Map) bool {
			for _, p := range m.Partitions {
				if _, stays := p.MemberOf(dead); stays || p.Primary == dead || len(p.Members) != 3 {
					return false
				}
			}
			return true
		})
		lost := make(map[string]string)
		for i, p := range c.Map().Partitions {
			was := before.Partitions[i]
			if _, had := was.MemberOf(dead); !had {
				continue
			}
			fourth := nodesOf(p.Members)[slices.IndexFunc(p.Members, func(c clusterkit.Member) bool { return !was.IsMember(c) })]
			if !slices.Contains(nodesOf(was.InSync), p.Primary) {
				t.Errorf("%s was on %v, and its new primary is %s", p.ID, nodesOf(was.InSync), p.Primary)
			}
			lost[p.ID] = fourth
		}
		hooks.release()
		c.WaitHealthy()
		synctest.Wait()
		for _, node := range c.Nodes() {
			calls := hooks.on(node.GetMyNodeID())
			for _, call := range calls {
				had := nodesOf(before.Partitions[indexOf(t, call.partition)].InSync)
				if call.to != lost[call.partition] || call.from == dead || !slices.Contains(had, call.from) {
					t.Errorf("%+v: %s was on %v and is to be copied to %s", call, call.partition, had, lost[call.partition])
				}
			}
			if len(calls) != len(lost) {
				t.Errorf("%d hooks fired on %s for the %d copies that were lost", len(calls), node.GetMyNodeID(), len(lost))
			}
		}
	})
}

// TestHooksFireWhenANodeJoins: a fourth node joins three, and copies move to
// it. Nothing points at it before they are made.
//
//   - partition-3 moves to Node 4 -> Copy from Node 1
//   - partition-7 moves to Node 4 -> Copy from Node 2
//   - partition-12 moves to Node 4 -> Copy from Node 3
func TestHooksFireWhenANodeJoins(t *testing.T) {
	hooks := newHookCalls()
	inCluster(t, clustertest.Config{Prepare: hooks.record}, func(t *testing.T, c *clustertest.Cluster) {
		before := c.Map()
		hooks.hold()
		c.Add("node-4")
		c.Eventually("hooks on node-4", func() bool { return len(hooks.on("node-4")) > 1 })
		for _, p := range c.Map().Partitions {
			if slices.Contains(nodesOf(p.InSync), "node-4") || p.Primary == "node-4" {
				t.Errorf("%s points at a copy that was not made: %+v", p.ID, p)
			}
		}
		hooks.release()
		c.WaitHealthy()
		synctest.Wait()
		sources := make(map[string]bool)
		for _, call := range hooks.on("node-4") {
			was := before.Partitions[indexOf(t, call.partition)]
			if call.to != "node-4" || !slices.Contains(nodesOf(was.InSync), call.from) {
				t.Errorf("%+v, and the data were on %v", call, nodesOf(was.InSync))
			}
			sources[call.from] = true
		}
		if calls := hooks.on("node-4"); len(calls) != 12 || len(sources) < 2 {
			t.Errorf("%d hooks fired on node-4 for the 12 of 48 copies that are its share, with the sources %v", len(calls), slices.Sorted(maps.Keys(sources)))
		}
	})
}

func indexOf(t *testing.T, partition string) int {
	t.Helper()
	var index int
	if _, err := fmt.Sscanf(strings.TrimPrefix(partition, "partition-"), "%d", &index); err != nil {
		t.Fatalf("%q is no partition", partition)
	}
	return index
}
