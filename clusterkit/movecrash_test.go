package clusterkit_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/clusterkit/clustertest"
)

// copyOf is one copy of one partition.
type copyOf struct {
	partition int
	member    clusterkit.Member
}

// copier is an application whose copies take a while. It knows which it has
// made, and whether one was counted as in sync that was not.
type copier struct {
	mu      sync.Mutex
	made    map[copyOf]bool
	early   map[copyOf]bool
	running int
	awaited step
	// newest is the map of the node of that step.
	newest *clusterkit.Map
}

// step is a state of a partition that the map of a node may come to.
type step struct {
	node string
	is   func(p *clusterkit.Partition) bool
	// reached gets the index of the first partition.
	reached chan int
}

// prepare is a Prepare of clustertest.
func (a *copier) prepare(ck *clusterkit.ClusterKit) {
	ck.HandlePartitionChange(func(ctx context.Context, change clusterkit.PartitionChange) error {
		if change.CopyTo.ID != ck.GetMyNodeID() || change.CopyFrom == nil {
			return nil
		}
		a.count(1)
		defer a.count(-1)
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		a.made[copyOf{change.Index, change.Member}] = true
		return nil
	})
	ck.ObserveMaps(func(m *clusterkit.Map) {
		a.look(m)
		a.follow(ck.GetMyNodeID(), m)
	})
}

// await waits for a step from now on.
func (a *copier) await(s step) (reached <-chan int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	s.reached = make(chan int, 1)
	a.awaited = s
	return s.reached
}

func (a *copier) follow(node string, m *clusterkit.Map) {
	a.mu.Lock()
	if node == a.awaited.node {
		a.newest = m
	}
	a.mu.Unlock()
	a.check()
}

// check tells whether the step was reached, after each map and each copy that
// begins or ends.
func (a *copier) check() {
	a.mu.Lock()
	s, m := a.awaited, a.newest
	a.mu.Unlock()
	if m == nil {
		return
	}
	if i := slices.IndexFunc(m.Partitions, func(p clusterkit.Partition) bool { return s.is(&p) }); i >= 0 {
		select {
		case s.reached <- i:
		default: // it was reached before
		}
	}
}

func (a *copier) count(n int) {
	a.mu.Lock()
	a.running += n
	a.mu.Unlock()
	a.check()
}

func (a *copier) copying() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.running > 0
}

// look notes the copies to which the map points, and which nobody has made. The
// copies of the first assignment, of one node, are there from the beginning.
func (a *copier) look(m *clusterkit.Map) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, p := range m.Partitions {
		for _, c := range p.InSync {
			if made := (copyOf{p.Index, c}); !a.made[made] && c.Incarnation != p.Began {
				a.early[made] = true
			}
		}
	}
}

// TestMovesSurviveKillsAtEveryStep kills the source of a copy, its target, or the
// Raft leader, when a copy onto a fourth node has come to a certain step.
func TestMovesSurviveKillsAtEveryStep(t *testing.T) {
	const target = "node-4"
	steps := map[string]func(a *copier, p *clusterkit.Partition) bool{
		"assigned": func(_ *copier, p *clusterkit.Partition) bool {
			c, ok := p.MemberOf(target)
			return ok && !p.IsInSync(c)
		},
		"being copied": func(a *copier, p *clusterkit.Partition) bool {
			c, ok := p.MemberOf(target)
			return ok && !p.IsInSync(c) && a.copying()
		},
		"acknowledged": func(_ *copier, p *clusterkit.Partition) bool {
			c, ok := p.MemberOf(target)
			return ok && p.IsInSync(c) && p.Primary != target && p.Desired[0] == target
		},
		"handed over": func(_ *copier, p *clusterkit.Partition) bool {
			return p.Primary == target
		},
		"released": func(_ *copier, p *clusterkit.Partition) bool {
			c, ok := p.MemberOf(target)
			return ok && p.IsInSync(c) && len(p.Members) == 3
		},
	}
	for name, reached := range steps {
		for _, victim := range []string{"source", "target", "leader"} {
			t.Run(name+", and the "+victim+" dies", func(t *testing.T) {
				a := &copier{made: make(map[copyOf]bool), early: make(map[copyOf]bool)}
				inCluster(t, clustertest.Config{Prepare: a.prepare}, func(t *testing.T, c *clustertest.Cluster) {
					c.WaitHealthy() // else the target could take the place of a copy not yet made
					before := c.Map()
					leader := c.Leader()
					there := a.await(step{node: leader, is: func(p *clusterkit.Partition) bool { return reached(a, p) }})
					c.Add(target)
					var moving int
					select {
					case moving = <-there:
					case <-time.After(30 * time.Second):
						t.Fatal("no move comes so far")
					}
					dies := map[string]string{"source": before.Partitions[moving].Primary, "target": target, "leader": leader}[victim]
					c.Kill(dies)
					c.WaitHealthy()
					c.Restart(dies)
					c.WaitHealthy()
					checkLevel(t, c.Map())
					a.mu.Lock()
					defer a.mu.Unlock()
					if len(a.early) > 0 {
						t.Errorf("the map points at copies that were not made: %v", a.early)
					}
				})
			})
		}
	}
}
