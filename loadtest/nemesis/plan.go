package nemesis

import (
	"fmt"
	"iter"
	"math/rand/v2"
	"time"
)

// Plan says what is going to happen. The same plan goes the same way each time,
// as far as it depends on the plan.
type Plan struct {
	// Strikes are what there is to choose from; or, with times, all that
	// happens.
	Strikes []Strike
	// Seed decides all that is left open: the order, the variants, the victims.
	Seed uint64
	// Hold is how long a fault lasts that does not say so, and Calm how long the
	// cluster has rest before each.
	Hold, Calm Span
}

// Span is a range of durations.
type Span struct{ Min, Max time.Duration }

func (s Span) draw(random *rand.Rand) time.Duration {
	return s.Min + time.Duration(random.Int64N(int64(s.Max-s.Min)+1))
}

// Validate returns an error that names what cannot be used.
func (p Plan) Validate() error {
	for _, s := range []struct {
		name string
		Span
	}{{"hold", p.Hold}, {"calm", p.Calm}} {
		if s.Min < 0 || s.Max < s.Min {
			return fmt.Errorf("%s is %v to %v: give two durations, the longer one last", s.name, s.Min, s.Max)
		}
	}
	if len(p.Strikes) == 0 {
		return fmt.Errorf("no fault is given")
	}
	return nil
}

// Step is one strike of a plan, with nothing left open but who is hit.
type Step struct {
	Strike
	// Round is from 1; each round has every strike once.
	Round int
	Calm  time.Duration
	// seed decides who is hit.
	seed uint64
}

// Steps returns what happens: the strikes in the order of the list if they have
// times, else round after round without end.
func (p Plan) Steps() iter.Seq[Step] {
	return func(yield func(Step) bool) {
		random := rand.New(rand.NewPCG(p.Seed, 0))
		variants := &deck{random: random, left: map[string][]string{}}
		for round := 1; ; round++ {
			order := random.Perm(len(p.Strikes))
			for i := range order {
				s := p.Strikes[order[i]]
				if s.Timed {
					s = p.Strikes[i]
				}
				if !yield(p.step(s, round, random, variants)) {
					return
				}
			}
			if p.Strikes[0].Timed {
				return
			}
		}
	}
}

func (p Plan) step(s Strike, round int, random *rand.Rand, variants *deck) Step {
	step := Step{Strike: s, Round: round, Calm: p.Calm.draw(random), seed: random.Uint64()}
	if hold := p.Hold.draw(random); s.Hold == 0 {
		step.Hold = hold
	}
	step.Faults = nil
	for _, spec := range s.Faults {
		if f, ok := faultOf(spec.Name); ok && spec.Variant == "" && len(f.variants) > 0 && len(spec.params) == 0 {
			spec.Variant = variants.draw(spec.Name, f.variants)
		}
		step.Faults = append(step.Faults, spec)
	}
	return step
}

// deck deals the variants of faults so that all of them have their turn.
type deck struct {
	random *rand.Rand
	left   map[string][]string
}

func (d *deck) draw(name string, all []string) string {
	if len(d.left[name]) == 0 {
		for _, i := range d.random.Perm(len(all)) {
			d.left[name] = append(d.left[name], all[i])
		}
	}
	drawn := d.left[name][0]
	d.left[name] = d.left[name][1:]
	return drawn
}
