package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// fake is a driver of a cluster that does not exist. It notes what is done to
// it, and refuses what makes no sense or asks too much of a cluster.
type fake struct {
	mu    sync.Mutex
	nodes []string
	// off are nodes that do not run, still those that are paused, and so on.
	off, still, full, broken, wiped, damaged map[string]bool
	wrong                                    map[string]time.Duration
	links                                    map[Link]Shape
	acts                                     []string
	lacking                                  Means
	minInSync                                int
	// refuses is true if a node does not start on damaged data.
	refuses bool
	// fails is an act that fails.
	fails string
	// sticks is true if the cluster is never whole again after a fault.
	sticks bool
	// hangs is true if a node cannot be connected again.
	hangs bool
}

func newFake() *fake {
	return &fake{
		nodes: []string{"a", "b", "c"},
		off:   map[string]bool{}, still: map[string]bool{}, full: map[string]bool{}, broken: map[string]bool{},
		wiped: map[string]bool{}, damaged: map[string]bool{},
		wrong: map[string]time.Duration{}, links: map[Link]Shape{}, minInSync: 2,
	}
}

// act notes what is done, and fails if it is to.
func (f *fake) act(format string, args ...any) error {
	text := fmt.Sprintf(format, args...)
	f.acts = append(f.acts, text)
	if f.fails != "" && strings.HasPrefix(text, f.fails) {
		return errors.New(text + " failed")
	}
	return nil
}

// change changes something of nodes from one state to the other.
func (f *fake) change(what string, state map[string]bool, to bool, nodes ...string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.act("%s %s", what, strings.Join(nodes, " ")); err != nil {
		return err
	}
	for _, n := range nodes {
		if !slices.Contains(f.nodes, n) || state[n] == to {
			return fmt.Errorf("%s %s: it makes no sense", what, n)
		}
		if state[n] = to; !to {
			delete(state, n)
		}
	}
	return nil
}

func (f *fake) Nodes() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.nodes)
}

func (f *fake) Status(context.Context) (*client.Status, error) {
	s := &client.Status{Leader: "b", MinInSync: f.minInSync}
	for _, p := range []string{"a", "a", "a", "b", "b", "c"} {
		s.Partitions = append(s.Partitions, client.Partition{Primary: p})
	}
	return s, nil
}

func (f *fake) trouble() error {
	for n := range f.damaged {
		if !f.wiped[n] && f.refuses && !f.off[n] {
			f.off[n] = true
			return fmt.Errorf("%s ended by itself", n)
		}
	}
	if n := len(f.off) + len(f.still) + len(f.full) + len(f.broken) + len(f.links); n > 0 {
		return fmt.Errorf("%d things are wrong", n)
	}
	for n, by := range f.wrong {
		if by != 0 {
			return fmt.Errorf("the clock of %s is wrong", n)
		}
	}
	clear(f.wiped)
	clear(f.damaged)
	return nil
}

func (f *fake) AwaitInSync(ctx context.Context) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.sticks && len(f.acts) > 0 {
		<-ctx.Done()
		return fmt.Errorf("a is drained: %w", context.Cause(ctx))
	}
	return f.trouble()
}

func (f *fake) Diagnose(context.Context) string { return "a: it waits for a copy" }

func (f *fake) Lacks(m Means) string {
	if m == f.lacking {
		return "it was never bought"
	}
	return ""
}

func (f *fake) Kill(_ context.Context, nodes ...string) error {
	return f.change("kill", f.off, true, nodes...)
}

func (f *fake) Stop(_ context.Context, node string) error { return f.change("stop", f.off, true, node) }

func (f *fake) Start(ctx context.Context, nodes ...string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return f.change("start", f.off, false, nodes...)
}

func (f *fake) Running(node string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return !f.off[node]
}

func (f *fake) Pause(nodes ...string) error  { return f.change("pause", f.still, true, nodes...) }
func (f *fake) Resume(nodes ...string) error { return f.change("resume", f.still, false, nodes...) }

func (f *fake) Cut(links ...Link) error { return f.Shape(Shape{Loss: 1}, links...) }

func (f *fake) Shape(s Shape, links ...Link) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, l := range links {
		if l.From == l.To || !slices.Contains(f.nodes, l.From) || !slices.Contains(f.nodes, l.To) {
			return fmt.Errorf("there is no link %v", l)
		}
		f.links[l] = s
	}
	return f.act("shape %d links", len(f.links))
}

func (f *fake) Mend() (int64, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	met := int64(len(f.links))
	clear(f.links)
	return met, f.act("mend")
}

func (f *fake) Isolate(_ context.Context, node string) error {
	return f.change("isolate", f.still, true, node)
}

func (f *fake) Unite(ctx context.Context, node string) error {
	if f.hangs {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return f.change("unite", f.still, false, node)
}

func (f *fake) Join(context.Context) (string, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, n := range []string{"a", "b", "c", "d"} {
		if !slices.Contains(f.nodes, n) {
			f.nodes = append(f.nodes, n)
			return n, f.act("join %s", n)
		}
	}
	return "", errors.New("everybody is in")
}

func (f *fake) Drain(_ context.Context, node string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.act("drain %s", node)
}

func (f *fake) Undrain(_ context.Context, node string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.act("undrain %s", node)
}

func (f *fake) Leave(_ context.Context, node string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.trouble(); err != nil || len(f.nodes) < 4 {
		return fmt.Errorf("%s leaves with %d nodes: %w", node, len(f.nodes), err)
	}
	f.nodes = slices.DeleteFunc(f.nodes, func(n string) bool { return n == node })
	return f.act("leave %s", node)
}

func (f *fake) CutPower(_ context.Context, nodes ...string) error {
	return f.change("power off", f.off, true, nodes...)
}

func (f *fake) Fill(node string, but int64) error {
	return f.change(fmt.Sprintf("fill but %d", but), f.full, true, node)
}

func (f *fake) Free(node string) error { return f.change("free", f.full, false, node) }

func (f *fake) Break(_ context.Context, node string) error {
	if err := f.change("break", f.broken, true, node); err != nil {
		return err
	}
	f.off[node] = true
	return nil
}

func (f *fake) Repair(_ context.Context, node string) error {
	return f.change("repair", f.broken, false, node)
}

// mayLose refuses to take data while another node's are not there.
func (f *fake) mayLose(node string) error {
	if !f.off[node] {
		return fmt.Errorf("%s is running", node)
	}
	for n := range f.damaged {
		if n != node {
			return fmt.Errorf("%s has lost its data already", n)
		}
	}
	f.damaged[node] = true
	return nil
}

func (f *fake) Wipe(node string) error {
	if err := f.mayLose(node); err != nil {
		return err
	}
	return f.change("wipe", f.wiped, true, node)
}

func (f *fake) Damage(node string, part Part, _ *rand.Rand) (string, error) {
	if err := f.act("damage %s of %s", part, node); err != nil {
		return "", ErrNoPlace
	}
	return string(part), f.mayLose(node)
}

func (f *fake) Jump(node string, by time.Duration) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.wrong[node] += by
	return f.act("clock of %s", node)
}
