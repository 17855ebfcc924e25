package clusterkit

import (
	"context"
	"errors"
	"fmt"
	"maps"
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
		history := []*Map{clusterOf(t)}
		incarnations := map[string]uint64{"n1": 1, "n2": 1, "n3": 1}
		for range rapid.IntRange(1, 30).Draw(rt, "changes") {
			m := history[len(history)-1]
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
			history = append(history, next)
		}
		known := history[0]
		told := believe(known)
		for i := 0; i < len(history); i += rapid.IntRange(1, 4).Draw(rt, "distance") {
			for _, e := range eventsBetween(known, history[i]) {
				if err := told.hear(e); err != nil {
					rt.Fatal(err)
				}
			}
			known = history[i]
			if err := told.agrees(known); err != nil {
				rt.Fatal(err)
			}
		}
	})
}

// belief is what somebody knows of the cluster who follows the events.
type belief struct {
	alive  map[string]bool
	moving bool
	health HealthStatus
}

func believe(m *Map) *belief {
	b := &belief{alive: make(map[string]bool), moving: m.rebalancing(), health: m.Health().Status}
	for _, n := range m.Nodes {
		b.alive[n.ID] = n.Alive
	}
	return b
}

// hear takes an event in. It fails if the event comes when it is so already.
func (b *belief) hear(e Event) error {
	was, seen := b.alive[e.Node.ID]
	twice := false
	switch e.Kind {
	case NodeJoined:
		twice, b.alive[e.Node.ID] = seen, true
	case NodeLeft:
		twice, b.alive[e.Node.ID] = !was, false
	case NodeReturned:
		twice, b.alive[e.Node.ID] = !seen || was, true
	case NodeRemoved:
		twice = was
		delete(b.alive, e.Node.ID)
	case RebalanceStarted:
		twice, b.moving = b.moving, true
	case RebalanceFinished:
		twice, b.moving = !b.moving, false
	case HealthChanged:
		twice, b.health = b.health != e.Before.Status || b.health == e.Health.Status, e.Health.Status
	}
	if twice {
		return fmt.Errorf("%s comes when it is so already", tell(e))
	}
	return nil
}

// agrees fails if the map shows anything else.
func (b *belief) agrees(m *Map) error {
	if is := believe(m); !maps.Equal(b.alive, is.alive) || b.moving != is.moving || b.health != is.health {
		return fmt.Errorf("of version %d, %+v is believed, and it is %+v", m.Version, *b, *is)
	}
	return nil
}

// eventLog records the events that a handler was called for.
type eventLog struct {
	mu     sync.Mutex
	events []Event
}

func (l *eventLog) handle(e Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.events = append(l.events, e)
}

func (l *eventLog) all() []Event {
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
		if got := tellAll(quick.all()); !slices.Equal(got, all) {
			t.Errorf("the quick handler heard %q, want %q", got, all)
		}
		if got := tellAll(bad.all()); !slices.Equal(got, all) {
			t.Errorf("the handler that panics heard %q, want %q", got, all)
		}
		after(t, 24*time.Hour)
		want := []string{"node_left n2", "health_changed to degraded", "node_returned n2", "node_joined n4", "health_changed to healthy"}
		if got := tellAll(slow.all()); !slices.Equal(got, want) {
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
		if got := tellAll(log.all()); !slices.Equal(got, want) {
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
		if got := tellAll(log.all()[len(want):]); len(got) != 1 {
			t.Errorf("heard %q after the end, of which only the first was on the way", got)
		}
	})
}

// follower is a handler that believes what it hears.
type follower struct {
	mu sync.Mutex
	*belief
	err error
}

func (f *follower) handle(e Event) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.err = errors.Join(f.err, f.hear(e))
}

func (f *follower) believes(what func(*belief) bool) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return what(f.belief)
}

func (f *follower) failure() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

// TestEventsOfACluster lets a node join, be killed and return. On a busy machine
// sessions end and copies are made anew that the test knows nothing of, and what
// is over before anybody looks is left out; so it asks for what a follower of the
// events believes in the end, not for single events.
func TestEventsOfACluster(t *testing.T) {
	t.Parallel()
	c := newTestCluster(t, Config{PartitionCount: 4, ReplicationFactor: 3})
	early := follower{belief: believe(mustApply(t, foundedMap(4, 3), register("node-1", "s1", 1)))}
	c.start(func(ck *ClusterKit) { ck.OnEvent(early.handle) }, "node-1")
	copied := make(chan struct{})
	c.start(func(ck *ClusterKit) { ck.OnPartitionChange(func(string, *Node, *Node) { <-copied }) }, "node-2")
	c.eventually("news of copies to node-2", func() bool {
		return early.believes(func(b *belief) bool { return b.alive["node-2"] && b.moving })
	})
	close(copied)
	c.start(nil, "node-3")
	c.ready(three...)
	well := func(b *belief) bool {
		return len(b.alive) == 3 && b.alive["node-1"] && b.alive["node-2"] && b.alive["node-3"] && !b.moving && b.health == Healthy
	}
	c.eventually("news of three nodes that are well", func() bool { return early.believes(well) })
	c.electorate(3)
	c.kill("node-2")
	c.eventually("news of the loss of node-2", func() bool {
		return early.believes(func(b *belief) bool { return !b.alive["node-2"] && b.health != Healthy })
	})
	lost := c.nodes["node-1"].Map().Version
	var late eventLog
	c.start(func(ck *ClusterKit) { ck.OnEvent(late.handle) }, "node-2")
	c.eventually("news of its return", func() bool { return early.believes(well) })
	c.eventually("news for the node that has returned", func() bool {
		return slices.Contains(tellAll(late.all()), "health_changed to healthy")
	})
	if err := early.failure(); err != nil {
		t.Error(err)
	}
	heard := late.all()
	for _, e := range heard {
		if e.MapVersion <= lost {
			t.Errorf("the returned node heard history: %s of version %d, and it was lost in %d", tell(e), e.MapVersion, lost)
		}
	}
	ofItself := func(e Event) bool { return e.Node.ID == "node-2" }
	if i := slices.IndexFunc(heard, ofItself); i >= 0 && heard[i].Kind != NodeLeft {
		t.Errorf("the returned node heard of its own return: %s", tell(heard[i]))
	}
}
