package nemesis

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// ErrNoPlace is returned by [Data].Damage when a node has nothing of that kind.
var ErrNoPlace = errors.New("there is nothing of it yet")

// fault is one kind of them.
type fault struct {
	name string
	// does says in a few words what happens.
	does     string
	variants []string
	// params are the parameters with what checks their values.
	params map[string]func(string) error
	// losesDisk is true if a node loses data that it had synced.
	losesDisk bool
	needs     func(Spec) []Means
	// begin does it. What it leaves to be undone it has given to the scene, also
	// when it fails.
	begin func(context.Context, *scene) error
}

// faults are all of them, in the order in which they are listed.
var faults = slices.Concat(processFaults, networkFaults, memberFaults, diskFaults)

func needs(m ...Means) func(Spec) []Means { return func(Spec) []Means { return m } }

func faultOf(name string) (*fault, bool) {
	i := slices.IndexFunc(faults, func(f fault) bool { return f.name == name })
	if i < 0 {
		return nil, false
	}
	return &faults[i], true
}

// Names returns the names of all faults.
func Names() []string {
	names := make([]string, len(faults))
	for i, f := range faults {
		names[i] = f.name
	}
	return names
}

// Catalogue returns a line for each fault: its name, its variants, and what it
// does.
func Catalogue() []string {
	lines := make([]string, len(faults))
	for i, f := range faults {
		name := f.name
		if len(f.variants) > 0 {
			name += ":" + strings.Join(f.variants, "|")
		}
		lines[i] = name + "\t" + f.does
	}
	return lines
}

// scene is where one fault happens.
type scene struct {
	driver Driver
	spec   Spec
	random *rand.Rand
	// status is the cluster before it.
	status *client.Status
	window *Window
	undos  []func(context.Context) error
}

// undo adds to what heals the fault; the last is done first.
func (s *scene) undo(do func(context.Context) error) { s.undos = append(s.undos, do) }

// heal undoes everything, whatever fails.
func (s *scene) heal(ctx context.Context) error {
	var errs []error
	for _, undo := range slices.Backward(s.undos) {
		errs = append(errs, undo(ctx))
	}
	s.undos = nil
	return errors.Join(errs...)
}

// hit notes the victims.
func (s *scene) hit(nodes ...string) {
	for _, n := range nodes {
		if !slices.Contains(s.window.Nodes, n) {
			s.window.Nodes = append(s.window.Nodes, n)
		}
	}
}

// note adds to what is told of the fault.
func (s *scene) note(format string, args ...any) {
	if s.window.Detail != "" {
		s.window.Detail += "; "
	}
	s.window.Detail += fmt.Sprintf(format, args...)
}

// silence notes that these nodes answer nobody for a while, and so does the
// whole cluster if the others are too few.
func (s *scene) silence(nodes ...string) {
	s.hit(nodes...)
	all := len(s.driver.Nodes())
	if left := all - len(nodes); left < max(s.status.MinInSync, all/2+1) {
		s.window.Down = true
	}
}

// The victims that a variant may ask for.
const (
	primary = "primary"
	replica = "replica"
	leader  = "leader"
	both    = "both"
	every   = "all"
)

// victims returns the nodes that a variant means, one of any kind if it is none
// of the victims' names.
func (s *scene) victims() []string {
	switch s.spec.Variant {
	case primary:
		return []string{s.busiest("")}
	case replica:
		return []string{s.idlest()}
	case leader:
		return []string{s.leader()}
	case both:
		l := s.leader()
		return []string{l, s.busiest(l)}
	case every:
		return s.unhurt()
	default:
		return []string{s.any()}
	}
}

// unhurt returns the nodes that no fault of this strike has hit yet, or all.
func (s *scene) unhurt() []string {
	nodes := slices.DeleteFunc(s.driver.Nodes(), func(n string) bool { return slices.Contains(s.window.Nodes, n) })
	if len(nodes) == 0 {
		return s.driver.Nodes()
	}
	return nodes
}

func (s *scene) any() string {
	nodes := s.unhurt()
	return nodes[s.random.IntN(len(nodes))]
}

func (s *scene) leader() string {
	if slices.Contains(s.unhurt(), s.status.Leader) {
		return s.status.Leader
	}
	return s.any()
}

// led returns of how many partitions each node is the primary.
func (s *scene) led() map[string]int {
	led := map[string]int{}
	for _, p := range s.status.Partitions {
		led[p.Primary]++
	}
	return led
}

// busiest returns a node that is primary of the most partitions, other than one.
func (s *scene) busiest(but string) string {
	led := s.led()
	return s.most(func(n string) int { return led[n] }, but)
}

// idlest returns a node that is primary of the fewest partitions.
func (s *scene) idlest() string {
	led := s.led()
	return s.most(func(n string) int { return -led[n] }, "")
}

// most returns one of the nodes that have the most of something.
func (s *scene) most(of func(node string) int, but string) string {
	nodes := s.unhurt()
	if i := slices.Index(nodes, but); i >= 0 && len(nodes) > 1 {
		nodes = slices.Delete(nodes, i, i+1)
	}
	s.random.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	return slices.MaxFunc(nodes, func(a, b string) int { return of(a) - of(b) })
}

// others returns all nodes but one.
func (s *scene) others(but string) []string {
	return slices.DeleteFunc(s.driver.Nodes(), func(n string) bool { return n == but })
}
