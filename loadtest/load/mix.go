package load

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/skshohagmiah/clusterkit/loadtest/target"
)

// Operation is what is counted and measured as one.
type Operation string

// The operations.
const (
	// Read reads a key.
	Read Operation = "read"
	// Update gives a key that exists a new value.
	Update Operation = "update"
	// Insert gives a new key a value.
	Insert Operation = "insert"
	// ReadScan reads 1 to 100 keys that follow each other.
	ReadScan Operation = "scan"
	// ReadModifyWrite reads a key and then gives it a new value.
	ReadModifyWrite Operation = "read-modify-write"
)

// Operations are all of them, in the order in which they are shown.
var Operations = []Operation{Read, Update, Insert, ReadScan, ReadModifyWrite}

// writes reports whether the operation writes a key.
func (o Operation) writes() bool { return o != Read && o != ReadScan }

const longestScan = 100

// Mix says how often each operation occurs.
type Mix struct {
	Name string
	// Shares are relative to their sum.
	Shares map[Operation]float64
	// Distribution is how the keys of the operations are chosen.
	Distribution Distribution
}

// Mixes are those of the Yahoo! Cloud Serving Benchmark: Cooper et al.,
// "Benchmarking Cloud Serving Systems with YCSB", 2010.
var Mixes = []Mix{
	{"ycsb-a", map[Operation]float64{Read: 50, Update: 50}, Zipfian},
	{"ycsb-b", map[Operation]float64{Read: 95, Update: 5}, Zipfian},
	{"ycsb-c", map[Operation]float64{Read: 100}, Zipfian},
	{"ycsb-d", map[Operation]float64{Read: 95, Insert: 5}, Latest},
	{"ycsb-e", map[Operation]float64{ReadScan: 95, Insert: 5}, Zipfian},
	{"ycsb-f", map[Operation]float64{Read: 50, ReadModifyWrite: 50}, Zipfian},
}

// Custom is the name of a mix whose shares are given one by one.
const Custom = "custom"

// FindMix returns the mix of a name. Of [Custom], shares are its own, written as
// read=50,update=50; they belong to no other.
func FindMix(name, shares string) (Mix, error) {
	if name == Custom {
		return parseMix(shares)
	}
	if shares != "" {
		return Mix{}, fmt.Errorf("mix belongs to workload %s, not to %s", Custom, name)
	}
	i := slices.IndexFunc(Mixes, func(m Mix) bool { return m.Name == name })
	if i < 0 {
		return Mix{}, fmt.Errorf("workload %q is not known, give one of: %s", name, strings.Join(mixNames(), ", "))
	}
	return Mixes[i], nil
}

func mixNames() []string {
	var names []string
	for _, m := range Mixes {
		names = append(names, m.Name)
	}
	return append(names, Custom)
}

// Even is the custom mix unless its shares are given.
var Even = Mix{Custom, map[Operation]float64{Read: 50, Update: 50}, Uniform}

const evenMix = "read=50,update=50"

func parseMix(shares string) (Mix, error) {
	if shares == "" {
		return Even, nil
	}
	m := Mix{Name: Custom, Shares: map[Operation]float64{}, Distribution: Uniform}
	for part := range strings.SplitSeq(shares, ",") {
		name, value, _ := strings.Cut(part, "=")
		share, err := strconv.ParseFloat(value, 64)
		if err != nil {
			return Mix{}, fmt.Errorf("mix has %q: give it as %s", part, evenMix)
		}
		m.Shares[Operation(name)] = share
	}
	return m, m.validate()
}

func (m Mix) validate() error {
	sum := 0.0
	for o, share := range m.Shares {
		if !slices.Contains(Operations, o) {
			return fmt.Errorf("mix has %q, which is not known, give some of: %s", o, joined(Operations))
		}
		if !(share >= 0 && share <= maxRate) {
			return fmt.Errorf("mix has %s=%v: give 0 or more", o, share)
		}
		sum += share
	}
	if sum == 0 {
		return fmt.Errorf("mix is empty: give it as %s", evenMix)
	}
	return nil
}

func joined[T ~string](names []T) string {
	all := make([]string, len(names))
	for i, n := range names {
		all[i] = string(n)
	}
	return strings.Join(all, ", ")
}

// shares describes the mix.
func (m Mix) shares() string {
	sum := 0.0
	for _, share := range m.Shares {
		sum += share
	}
	var all []string
	for _, o := range Operations {
		if share := m.Shares[o]; share > 0 {
			all = append(all, fmt.Sprintf("%.3g%% %s", 100*share/sum, o))
		}
	}
	return strings.Join(all, ", ")
}

// choose returns the operation that u, of 0 to less than 1, stands for.
func (m Mix) choose(u float64) Operation {
	sum := 0.0
	for _, o := range Operations {
		sum += m.Shares[o]
	}
	var last Operation
	for _, o := range Operations {
		if share := m.Shares[o] / sum; share > 0 {
			if u < share {
				return o
			}
			u -= share
			last = o
		}
	}
	return last
}

// ErrUnsupported is returned when a store lacks what a load needs.
var ErrUnsupported = errors.New("the store cannot do this")

// fits returns [ErrUnsupported] if a store lacks what the mix needs, and otherwise what
// there is to be said about how its scans are done.
func (m Mix) fits(store target.Target) (note string, err error) {
	switch {
	case m.Shares[ReadScan] == 0 || store.Supports(target.Scan):
		return "", nil
	case store.Supports(target.MGet):
		return "the store has no scan: keys that follow each other are read with one MGET instead", nil
	default:
		return "", fmt.Errorf("%w: workload %s scans, and the store can neither scan nor read several keys at once", ErrUnsupported, m.Name)
	}
}
