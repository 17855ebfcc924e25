package sim

import (
	"fmt"
	"strings"
)

// The hash of a schedule is FNV-1a over words instead of bytes.
const (
	hashStart = 14695981039346656037
	hashPrime = 1099511628211
)

func (w *world) mix(v uint64) {
	h := (w.result.Hash ^ v) * hashPrime
	w.result.Hash = h ^ h>>29
}

// note counts what happened at a node for the hash, with up to three numbers
// that tell it from what could have happened instead.
func (w *world) note(what string, node int, a, b, c uint64) {
	w.mix(uint64(node)<<8 | uint64(len(what)))
	w.mix(a)
	w.mix(b)
	w.mix(c)
	if w.opt.Trace != nil {
		fmt.Fprintf(w.opt.Trace, "%12v %c %-12s %d %d %d\n", w.now, 'A'+node, what, a, b, c)
	}
}

// Counts of what happened.
type Counts [numCounts]int

type count uint8

const (
	acked count = iota
	refusals
	unknowns
	reads
	staleReads
	repetitions
	expirations
	crashes
	epochs
	snapshots
	wipes
	handOvers
	confirmed
	inSyncChanges
	abdications
	comparisons
	damages
	remade
	scans
	numCounts
)

var countNames = [numCounts]string{
	"acknowledged writes", "refusals", "unknown outcomes", "reads", "stale reads", "repeated requests", "expirations", "crashes",
	"epochs", "snapshots", "wiped disks", "hand-overs", "confirmed reads", "in-sync changes", "abdications",
	"equal copies", "damaged copies", "copies made anew",
	"scans",
}

func (c Counts) String() string {
	var s strings.Builder
	for i, n := range c {
		if i > 0 {
			s.WriteString(", ")
		}
		fmt.Fprintf(&s, "%d %s", n, countNames[i])
	}
	return s.String()
}

func (w *world) count(c count) { w.result.Counts[c]++ }
