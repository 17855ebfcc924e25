package nemesis

import (
	"context"
	"fmt"
	"time"
)

// How a network may be partitioned, and how its packets may suffer.
const (
	halves              = "halves"
	oneWay              = "one-way"
	bridge              = "bridge"
	primaryFromReplicas = "primary-from-replicas"
	primaryFromLeader   = "primary-from-leader"
	isolated            = "isolated"

	delay   = "delay"
	loss    = "loss"
	reorder = "reorder"
)

var networkFaults = []fault{
	{
		name: "partition", does: "drop what nodes send one another",
		variants: []string{halves, oneWay, bridge, primaryFromReplicas, primaryFromLeader, isolated},
		needs: func(s Spec) []Means {
			if s.Variant == isolated {
				return []Means{Isolating}
			}
			return []Means{Cutting}
		},
		begin: part,
	},
	{
		name: "netem", does: "delay, lose or reorder what nodes send one another",
		variants: []string{delay, loss, reorder},
		params:   map[string]func(string) error{delay: positiveDuration, loss: percentage, reorder: percentage},
		needs:    needs(Shaping),
		begin:    shape,
	},
}

func part(ctx context.Context, s *scene) error {
	if s.spec.Variant == isolated {
		d, node := s.driver.(Isolator), s.busiest("")
		s.silence(node)
		s.undo(func(ctx context.Context) error { return d.Unite(ctx, node) })
		return d.Isolate(ctx, node)
	}
	d := s.driver.(Network)
	s.mend(d)
	return d.Cut(s.cuts()...)
}

// mend has the network healed with the fault, and its effect told.
func (s *scene) mend(d Network) {
	s.undo(func(context.Context) error {
		met, err := d.Mend()
		if err == nil && met == 0 {
			return fmt.Errorf("%s met no packet at all", s.spec)
		}
		s.note("%d packets", met)
		return err
	})
}

// cuts returns the links that a partition drops. Beside the halves and the
// bridge, which are of any nodes, it is the way to and from one.
func (s *scene) cuts() []Link {
	nodes := s.driver.Nodes()
	s.random.Shuffle(len(nodes), func(i, j int) { nodes[i], nodes[j] = nodes[j], nodes[i] })
	middle := len(nodes) / 2
	switch s.spec.Variant {
	case oneWay:
		s.hit(nodes[0])
		if s.random.IntN(2) == 0 {
			s.note("nothing from it arrives")
			return links(nodes[:1], nodes[1:])
		}
		s.note("nothing arrives at it")
		return links(nodes[1:], nodes[:1])
	case bridge:
		s.hit(nodes[middle])
		return between(nodes[:middle], nodes[middle+1:])
	case primaryFromReplicas:
		l := s.leader()
		p := s.busiest(l)
		s.hit(p)
		var replicas []string
		for _, n := range s.others(p) {
			if n != l {
				replicas = append(replicas, n)
			}
		}
		return between([]string{p}, replicas)
	case primaryFromLeader:
		l := s.leader()
		p := s.busiest(l)
		s.hit(p, l)
		return between([]string{p}, []string{l})
	default:
		s.hit(nodes[:middle]...)
		return between(nodes[:middle], nodes[middle:])
	}
}

func links(from, to []string) []Link {
	var all []Link
	for _, f := range from {
		for _, t := range to {
			if f != t {
				all = append(all, Link{f, t})
			}
		}
	}
	return all
}

func between(a, b []string) []Link { return append(links(a, b), links(b, a)...) }

const (
	usualDelay   = 50 * time.Millisecond
	usualLoss    = 0.05
	usualReorder = 0.25
)

func shape(_ context.Context, s *scene) error {
	d := s.driver.(Network)
	sh := Shape{Delay: s.spec.duration(delay, 0), Loss: s.spec.share(loss), Reorder: s.spec.share(reorder)}
	switch s.spec.Variant {
	case delay:
		sh.Delay = max(sh.Delay, usualDelay)
	case loss:
		sh.Loss = max(sh.Loss, usualLoss)
	case reorder:
		sh.Reorder = max(sh.Reorder, usualReorder)
	}
	if sh.Reorder > 0 && sh.Delay == 0 {
		sh.Delay = usualDelay / 2 // what is not delayed cannot be overtaken
	}
	s.note("delay %v, loss %v%%, reorder %v%%", sh.Delay, sh.Loss*100, sh.Reorder*100)
	s.hit(s.driver.Nodes()...)
	s.mend(d)
	nodes := s.driver.Nodes()
	return d.Shape(sh, links(nodes, nodes)...)
}
