package clusterkit

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// tell writes an event as one reads it.
func tell(e Event) string {
	switch e.Kind {
	case NodeJoined, NodeLeft, NodeReturned, NodeRemoved:
		return fmt.Sprintf("%s %s", e.Kind, e.Node.ID)
	case HealthChanged:
		return fmt.Sprintf("%s to %s", e.Kind, e.Health.Status)
	}
	return string(e.Kind)
}

func tellAll(events []Event) []string {
	var out []string
	for _, e := range events {
		out = append(out, tell(e))
	}
	return out
}

func TestEventsBetweenMaps(t *testing.T) {
	full := clusterOf(t)
	four := mustApply(t, full, register("n4", "s4", 1))
	dropped := mustApply(t, full, endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n1", 1}}, DropCopies: true})
	back := mustApply(t, dropped, register("n1", "s1", 2))
	copied := mustApply(t, back, acknowledgeCommand{Member: copyOn(t, back, 0, "n1")})
	p := &copied.Partitions[0]
	settled := mustApply(t, copied, transferCommand{TransferRequest{0, p.Epoch, p.Primary, "n1"}})
	toFour := mustApply(t, four, desireCommand{Term: testTerm, Desired: []desire{{0, []string{"n1", "n2", "n4"}}}})
	deadFour := mustApply(t, toFour, endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n4", 1}}, DropCopies: true})
	removed := *full
	removed.Nodes = full.Nodes[:2]
	for _, tt := range []struct {
		name       string
		prev, next *Map
		want       []string
	}{
		{"nothing", full, full, nil},
		{"the first nodes", foundedMap(1, 3), full, []string{"node_joined n1", "node_joined n2", "node_joined n3", "health_changed to healthy"}},
		{"a node joins", full, four, []string{"node_joined n4"}},
		{"and leaves before anybody looks", full, lose(four, t, "n4"), []string{"node_joined n4", "node_left n4", "health_changed to degraded"}},
		{"a primary is lost", full, dropped, []string{"node_left n1", "health_changed to degraded"}},
		{"it returns, and has to copy", dropped, back, []string{"node_returned n1", "rebalance_started"}},
		{"its copy is made", back, copied, []string{"health_changed to healthy"}},
		{"it is the primary again", copied, settled, []string{"rebalance_finished"}},
		{"all of that at once", full, settled, []string{"node_left n1", "node_returned n1"}},
		{"it restarts", full, mustApply(t, full, register("n2", "s2", 2)), []string{"node_left n2", "node_returned n2"}},
		{"two are lost", full, lose(full, t, "n3", "n2"), []string{"node_left n2", "node_left n3", "health_changed to unavailable"}},
		{"from bad to worse", lose(full, t, "n3"), lose(full, t, "n3", "n2"), []string{"node_left n2", "health_changed to unavailable"}},
		{"a plan", four, toFour, []string{"rebalance_started"}},
		{"that has to wait for a dead node", toFour, deadFour, []string{"node_left n4", "rebalance_finished", "health_changed to degraded"}},
		{"a living node is removed", full, &removed, []string{"node_left n3", "node_removed n3"}},
		{"a dead node is removed", lose(full, t, "n3"), &removed, []string{"node_removed n3", "health_changed to healthy"}},
		{"a plan in a pause", mustApply(t, four, pauseCommand{Paused: true}), mustApply(t, toFour, pauseCommand{Paused: true}), nil},
	} {
		got := eventsBetween(tt.prev, tt.next)
		if !slices.Equal(tellAll(got), tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, tellAll(got), tt.want)
		}
		for _, e := range got {
			if e.MapVersion != tt.next.Version {
				t.Errorf("%s: %s is of version %d, want %d", tt.name, tell(e), e.MapVersion, tt.next.Version)
			}
			if node := e.Node; node.ID != "" && (node.IP != node.ID+":2" || node.Alive && e.Kind == NodeLeft || !node.Alive && e.Kind == NodeReturned) {
				t.Errorf("%s: %s describes %+v", tt.name, tell(e), node)
			}
		}
	}
}

// TestEventsAddUp replays the events between maps at random distances: whoever
// follows them knows which nodes are there, whether there is a rebalance, and
// the health, and hears of nothing twice.
func TestEventsAddUp(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		maps := []*Map{clusterOf(t)}
		incarnations := map[string]uint64{"n1": 1, "n2": 1, "n3": 1}
		for range rapid.IntRange(1, 30).Draw(rt, "changes") {
			m := maps[len(maps)-1]
			id := rapid.SampledFrom([]string{"n1", "n2", "n3", "n4", "n5"}).Draw(rt, "node")
			var c command = endSessionCommand{Term: testTerm, Sessions: []sessionRef{{id, incarnations[id]}}, DropCopies: true}
			switch rapid.IntRange(0, 3).Draw(rt, "kind") {
			case 0:
				incarnations[id]++
				c = register(id, "s"+id, incarnations[id])
				if m.Node(id) != nil {
					c = register(id, m.Node(id).Store, incarnations[id])
				}
			case 1:
				c = movesCommand{Term: testTerm, Steps: nextMoves(m)}
			case 2:
				if member, ok := m.Partitions[0].MemberOf(id); ok {
					c = acknowledgeCommand{Member: member}
				}
			}
			next, _ := c.apply(m, testTerm)
			maps = append(maps, next)
		}
		known := maps[0]
		alive := map[string]bool{"n1": true, "n2": true, "n3": true}
		moving, health := known.rebalancing(), known.Health().Status
		for i := 0; i < len(maps); i += rapid.IntRange(1, 4).Draw(rt, "distance") {
			for _, e := range eventsBetween(known, maps[i]) {
				was, seen := alive[e.Node.ID]
				twice := false
				switch e.Kind {
				case NodeJoined:
					twice, alive[e.Node.ID] = seen, true
				case NodeLeft:
					twice, alive[e.Node.ID] = !was, false
				case NodeReturned:
					twice, alive[e.Node.ID] = !seen || was, true
				case RebalanceStarted:
					twice, moving = moving, true
				case RebalanceFinished:
					twice, moving = !moving, false
				case HealthChanged:
					twice, health = health != e.Before.Status || health == e.Health.Status, e.Health.Status
				}
				if twice {
					rt.Fatalf("%s comes when it is so already", tell(e))
				}
			}
			known = maps[i]
			for _, n := range known.Nodes {
				if alive[n.ID] != n.Alive {
					rt.Fatalf("after version %d, %s is believed alive: %t", known.Version, n.ID, alive[n.ID])
				}
			}
			if moving != known.rebalancing() || health != known.Health().Status {
				rt.Fatalf("after version %d, believed moving: %t, health: %s", known.Version, moving, health)
			}
		}
	})
}

// eventLog records the events that a handler was called for.
type eventLog struct {
	mu     sync.Mutex
	events []string
}

func (l *eventLog) handle(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, tell(e))
}

func (l *eventLog) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.events)
}

// TestASlowHandlerHoldsUpNobody lets one handler sleep and one panic.
func TestASlowHandlerHoldsUpNobody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := clusterOf(t)
		degraded := lose(full, t, "n2")
		healthy := mustApply(t, degraded, register("n2", "s2", 2))
		four := mustApply(t, healthy, register("n4", "s4", 1))
		var quick, slow, bad eventLog
		e := &eventFeeds{joined: func(m *Map) bool { return m.Version >= full.Version }, log: quiet}
		e.add(quick.handle)
		e.add(func(event Event) {
			sleep(t.Context(), time.Hour)
			slow.handle(event)
		})
		e.add(func(event Event) {
			bad.handle(event)
			panic("bad handler")
		})
		ctx, cancel := context.WithCancel(t.Context())
		e.start(ctx)
		for _, m := range []*Map{foundedMap(1, 3), full, degraded, healthy, four} {
			e.observe(m)
			synctest.Wait()
		}
		all := []string{"node_left n2", "health_changed to degraded", "node_returned n2", "health_changed to healthy", "node_joined n4"}
		if got := quick.all(); !slices.Equal(got, all) {
			t.Errorf("the quick handler heard %q, want %q", got, all)
		}
		if got := bad.all(); !slices.Equal(got, all) {
			t.Errorf("the handler that panics heard %q, want %q", got, all)
		}
		after(t, 24*time.Hour)
		want := []string{"node_left n2", "health_changed to degraded", "node_returned n2", "node_joined n4", "health_changed to healthy"}
		if got := slow.all(); !slices.Equal(got, want) {
			t.Errorf("the slow handler heard %q, want %q", got, want)
		}
		cancel()
		if err := e.wait(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestASlowHandlerSkipsWhatIsOver blocks a handler while a node comes and goes.
func TestASlowHandlerSkipsWhatIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		full := clusterOf(t)
		maps := []*Map{full, mustApply(t, full, register("n4", "s4", 1))}
		for range 3 {
			maps = append(maps, lose(maps[len(maps)-1], t, "n3"))
			m := maps[len(maps)-1]
			maps = append(maps, mustApply(t, m, register("n3", "s3", m.Node("n3").Incarnation+1)))
		}
		release := make(chan struct{})
		var log eventLog
		e := &eventFeeds{joined: func(*Map) bool { return true }, log: quiet}
		e.add(func(event Event) {
			<-release
			log.handle(event)
		})
		ctx, cancel := context.WithCancel(t.Context())
		e.start(ctx)
		for _, m := range maps {
			e.observe(m)
			synctest.Wait()
		}
		ended, give := context.WithCancel(t.Context())
		give()
		if err := e.wait(ended); err == nil {
			t.Error("the wait does not say that a handler is running")
		}
		close(release)
		synctest.Wait()
		want := []string{"node_joined n4", "node_left n3", "node_returned n3"}
		if got := log.all(); !slices.Equal(got, want) {
			t.Errorf("heard %q, want %q", got, want)
		}
		release = make(chan struct{})
		e.observe(full)
		synctest.Wait()
		cancel()
		close(release)
		if err := e.wait(t.Context()); err != nil {
			t.Error(err)
		}
		if got := log.all()[len(want):]; len(got) != 1 {
			t.Errorf("heard %q after the end, of which only the first was on the way", got)
		}
	})
}

// TestEventsOfACluster lets a node join, be killed and return.
func TestEventsOfACluster(t *testing.T) {
	c := newTestCluster(t, Config{PartitionCount: 4, ReplicationFactor: 3})
	var log, late eventLog
	c.start(func(ck *ClusterKit) { ck.OnEvent(log.handle) }, "node-1")
	heard := func(events ...string) {
		t.Helper()
		seen := 0
		c.eventually(fmt.Sprintf("%q", events), func() bool {
			all := log.all()
			for seen = 0; seen < len(events) && len(all) > 0; all = all[1:] {
				if all[0] == events[seen] {
					seen++
				}
			}
			return seen == len(events)
		})
	}
	copied := make(chan struct{})
	c.start(func(ck *ClusterKit) { ck.OnPartitionChange(func(string, *Node, *Node) { <-copied }) }, "node-2")
	heard("node_joined node-2", "rebalance_started")
	close(copied)
	c.start(nil, "node-3")
	c.ready(three...)
	c.settled(3)
	heard("rebalance_started", "node_joined node-3", "health_changed to healthy")
	heard("rebalance_started", "rebalance_finished")
	c.kill("node-2")
	heard("health_changed to healthy", "node_left node-2", "health_changed to degraded")
	c.start(func(ck *ClusterKit) { ck.OnEvent(late.handle) }, "node-2")
	c.ready("node-2")
	c.settled(3)
	heard("node_left node-2", "health_changed to degraded", "node_returned node-2", "health_changed to healthy")
	for _, event := range late.all() {
		if event == "node_joined node-1" || event == "node_left node-2" || event == "node_returned node-2" {
			t.Errorf("the returned node heard history: %s", event)
		}
	}
}
