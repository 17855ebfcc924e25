package load

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
)

// Distribution says how often each key is asked for.
type Distribution string

// The distributions.
const (
	// Uniform asks for all keys equally often.
	Uniform Distribution = "uniform"
	// Zipfian asks for some keys far more often than for others; which they are
	// is scattered over all keys.
	Zipfian Distribution = "zipfian"
	// Latest is Zipfian with the keys that were inserted last in front.
	Latest Distribution = "latest"
)

// Distributions are all of them.
var Distributions = []Distribution{Uniform, Zipfian, Latest}

func (d Distribution) validate() error {
	if d != "" && !slices.Contains(Distributions, d) {
		return fmt.Errorf("distribution %q is not known, give one of: %s", d, joined(Distributions))
	}
	return nil
}

// skew is the exponent of the zipfian distribution, as in YCSB.
const skew = 0.99

// chooser chooses keys by their numbers. It is safe for concurrent use.
type chooser struct {
	distribution Distribution
	ranks        *zipfian
}

func newChooser(d Distribution, keys int) *chooser {
	c := &chooser{distribution: d}
	if d != Uniform {
		c.ranks = newZipfian(uint64(keys))
	}
	return c
}

// choose returns the number of one of the keys, of which there are at least as
// many as ever before.
func (c *chooser) choose(random *rand.Rand, keys uint64) uint64 {
	switch c.distribution {
	case Zipfian:
		return scatter(c.ranks.draw(random.Float64(), keys)) % keys
	case Latest:
		return keys - 1 - c.ranks.draw(random.Float64(), keys)
	default:
		return random.Uint64N(keys)
	}
}

// zipfian draws ranks of which the i-th, from 0, has a probability proportional
// to 1/(i+1)^skew: Gray et al., "Quickly Generating Billion-Record Synthetic
// Databases", 1994, in the form that YCSB has given it, which follows a growing
// number of items.
type zipfian struct {
	alpha, zeta2 float64

	mu    sync.Mutex
	items uint64
	// zeta is the sum of 1/i^skew over the items.
	zeta, eta float64
}

func newZipfian(items uint64) *zipfian {
	z := &zipfian{alpha: 1 / (1 - skew), zeta2: 1 + math.Pow(0.5, skew)}
	z.grow(items)
	return z
}

// grow takes items into account that are more than before. Call it with mu held.
func (z *zipfian) grow(items uint64) {
	for ; z.items < items; z.items++ {
		z.zeta += 1 / math.Pow(float64(z.items+1), skew)
	}
	z.eta = (1 - math.Pow(2/float64(z.items), 1-skew)) / (1 - z.zeta2/z.zeta)
}

// draw returns the rank that u, of 0 to less than 1, stands for among so many
// items.
func (z *zipfian) draw(u float64, items uint64) uint64 {
	z.mu.Lock()
	if items > z.items {
		z.grow(items)
	}
	n, zeta, eta := z.items, z.zeta, z.eta
	z.mu.Unlock()
	switch uz := u * zeta; {
	case uz < 1:
		return 0
	case uz < z.zeta2:
		return min(1, n-1)
	}
	return min(uint64(float64(n)*math.Pow(eta*u-eta+1, z.alpha)), n-1)
}

// scatter is a mixing of bits, that of splitmix64.
func scatter(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}
