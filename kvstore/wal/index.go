package wal

import "sort"

// location is where the record of an entry stands, and the seed of its CRC.
type location struct {
	segment, offset, length, seed uint32
}

// Run says that entries from LSN First on, up to the next run's First, were
// written in Epoch.
type Run struct{ Epoch, First uint64 }

// index is what the log knows of one partition.
type index struct {
	state []byte
	// base is the position before the first entry held.
	base Position
	// runs are the epochs of the entries, where is where they are: element i
	// is the entry of LSN base.LSN+1+i.
	runs  []Run
	where []location
	// applied is the highest LSN not needed for recovery.
	applied uint64
	pins    map[*pin]struct{}
}

type pin struct{ lsn uint64 }

func (x *index) last() Position {
	if len(x.where) == 0 {
		return x.base
	}
	return Position{x.runs[len(x.runs)-1].Epoch, x.base.LSN + uint64(len(x.where))}
}

// epoch returns that of the entry lsn, which is held or is the base.
func (x *index) epoch(lsn uint64) uint64 {
	if lsn == x.base.LSN {
		return x.base.Epoch
	}
	i := sort.Search(len(x.runs), func(i int) bool { return x.runs[i].First > lsn })
	return x.runs[i-1].Epoch
}

// put makes pos the last entry. Its LSN is above the base and at most one
// above the last.
func (x *index) put(pos Position, at location) {
	x.where = append(x.where[:pos.LSN-x.base.LSN-1], at)
	for len(x.runs) > 0 && x.runs[len(x.runs)-1].First >= pos.LSN {
		x.runs = x.runs[:len(x.runs)-1]
	}
	if len(x.runs) == 0 || x.runs[len(x.runs)-1].Epoch != pos.Epoch {
		x.runs = append(x.runs, Run{pos.Epoch, pos.LSN})
	}
}

func (x *index) reset(base Position) {
	x.base, x.runs, x.where, x.applied = base, nil, nil, base.LSN
}

// heldIn returns how many of the first entries stand in segments up to seq.
// Entries of rising LSN stand at rising places, because one that is replaced
// takes all above it along.
func (x *index) heldIn(seq uint32) int {
	return sort.Search(len(x.where), func(i int) bool { return x.where[i].segment > seq })
}

// forget drops the first n entries.
func (x *index) forget(n int) {
	if n == 0 {
		return
	}
	lsn := x.base.LSN + uint64(n)
	x.base = Position{x.epoch(lsn), lsn}
	x.where = x.where[n:]
	for len(x.runs) > 1 && x.runs[1].First <= lsn+1 {
		x.runs = x.runs[1:]
	}
	if len(x.where) == 0 {
		x.runs = nil
	} else {
		x.runs[0].First = max(x.runs[0].First, lsn+1)
	}
}

// needed returns the highest LSN such that entries above it must stay.
func (x *index) needed() uint64 {
	lsn := x.applied
	for p := range x.pins {
		lsn = min(lsn, p.lsn)
	}
	return lsn
}

// blank reports that there is nothing to remember on disk.
func (x *index) blank() bool {
	return len(x.state) == 0 && x.base == (Position{}) && len(x.where) == 0
}
