package partition

import "sort"

// run is a stretch of entries of one epoch, beginning at LSN first.
type run struct{ epoch, first uint64 }

// history is what a replica knows of its log without reading it: the epoch
// of every entry above base, and the content of those above the tail's
// start.
type history struct {
	// base is the position below which nothing is known. It is committed.
	base Position
	last uint64
	runs []run
	// tail are the entries from tailFirst to last, bytes their size.
	tail  []Entry
	bytes int
}

func (h *history) tailFirst() uint64 { return h.last + 1 - uint64(len(h.tail)) }

// epochAt returns the epoch of the entry at lsn, which must be from base to
// last.
func (h *history) epochAt(lsn uint64) uint64 {
	if lsn <= h.base.LSN {
		return h.base.Epoch
	}
	i := sort.Search(len(h.runs), func(i int) bool { return h.runs[i].first > lsn })
	return h.runs[i-1].epoch
}

func (h *history) position(lsn uint64) Position { return Position{h.epochAt(lsn), lsn} }

func (h *history) lastPosition() Position { return h.position(h.last) }

// agreeable returns the highest position at or below p.LSN whose epoch is
// not above p.Epoch; never below base.
func (h *history) agreeable(p Position) Position {
	lsn := min(p.LSN, h.last)
	for i := len(h.runs) - 1; i >= 0 && lsn > h.base.LSN; i-- {
		if h.runs[i].first > lsn {
			continue
		}
		if h.runs[i].epoch <= p.Epoch {
			return h.position(lsn)
		}
		lsn = h.runs[i].first - 1
	}
	return h.base
}

func (h *history) append(e Entry) {
	if n := len(h.runs); n == 0 || h.runs[n-1].epoch != e.Epoch {
		h.runs = append(h.runs, run{e.Epoch, e.LSN})
	}
	h.last = e.LSN
	h.tail = append(h.tail, e)
	h.bytes += e.size()
}

// truncate drops the entries from lsn on.
func (h *history) truncate(lsn uint64) {
	if lsn > h.last {
		return
	}
	keep := uint64(0)
	if first := h.tailFirst(); lsn > first {
		keep = lsn - first
	}
	for _, e := range h.tail[keep:] {
		h.bytes -= e.size()
	}
	// What was handed out shares the array: it is never written over.
	h.tail = h.tail[:keep:keep]
	h.last = lsn - 1
	for n := len(h.runs); n > 0 && h.runs[n-1].first >= lsn; n = len(h.runs) {
		h.runs = h.runs[:n-1]
	}
}

// forget lets go of the content of entries through lsn.
func (h *history) forget(lsn uint64) {
	first := h.tailFirst()
	if lsn < first {
		return
	}
	n := min(lsn, h.last) - first + 1
	for _, e := range h.tail[:n] {
		h.bytes -= e.size()
	}
	// What was handed out shares the array: it is left to the collector.
	if h.tail = h.tail[n:]; len(h.tail) == 0 {
		h.tail = nil
	}
}

// raiseBase forgets that anything at or below lsn exists.
func (h *history) raiseBase(lsn uint64) {
	if lsn <= h.base.LSN {
		return
	}
	h.base = h.position(lsn)
	i := sort.Search(len(h.runs), func(i int) bool { return h.runs[i].first > lsn })
	if i > 0 {
		h.runs = h.runs[i-1:]
		h.runs[0].first = lsn + 1
		if h.last == lsn || len(h.runs) > 1 && h.runs[1].first == lsn+1 {
			h.runs = h.runs[1:]
		}
	}
	h.forget(lsn)
}

// reset makes the log begin above p.
func (h *history) reset(p Position) { *h = history{base: p, last: p.LSN} }

// entries returns the entries from lsn on, up to maxBytes but at least one,
// and false when their content is not in memory.
func (h *history) entries(lsn uint64, maxBytes int) ([]Entry, bool) {
	first := h.tailFirst()
	if lsn < first {
		return nil, false
	}
	all := h.tail[lsn-first:]
	n, size := 0, 0
	for n < len(all) {
		size += all[n].size()
		if n > 0 && size > maxBytes {
			break
		}
		n++
	}
	return all[:n:n], true
}

func (e Entry) size() int { return len(e.Data) + entryOverhead }

// entryOverhead is what an entry costs beside its data, about.
const entryOverhead = 24
