package load

import (
	"fmt"
	"slices"
	"sync"
)

// ledger is one key and what may be read from it. Writes are numbered from 1, in
// the order in which they begin. It is safe for concurrent use.
//
// A read may return a write unless another was acknowledged before the read
// began, which itself began after the first had been acknowledged. A write of
// unknown outcome may be executed at any later time, so it may be read for ever.
type ledger struct {
	name string

	mu sync.Mutex
	// clock counts what has happened to the key; it is time enough.
	clock uint64
	last  uint64
	// live may be read from now on: they are under way, of unknown outcome, or
	// acknowledged and not replaced.
	live []write
	// former were replaced while reads were under way.
	former []write
	// refused were certainly not executed.
	refused []uint64
	// reads have the clock at which each read under way began.
	reads []uint64
	// acknowledged is the clock at which a write first was, 0 if none was.
	acknowledged uint64
}

type write struct {
	seq, begun uint64
	// ended is the clock of the acknowledgement, 0 before it.
	ended uint64
	// replaced is the clock of the acknowledgement of a later write.
	replaced uint64
	// seen is true when the write was read.
	seen bool
}

func (l *ledger) violation(kind Kind, format string, args ...any) *Violation {
	return &Violation{Kind: kind, Key: l.name, Detail: fmt.Sprintf(format, args...)}
}

// beginWrite returns the number of a new write.
func (l *ledger) beginWrite() (seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	l.last++
	l.live = append(l.live, write{seq: l.last, begun: l.clock})
	return l.last
}

// acknowledge notes that a write was executed.
func (l *ledger) acknowledge(seq uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	i := indexOf(l.live, seq)
	l.live[i].ended = l.clock
	if l.acknowledged == 0 {
		l.acknowledged = l.clock
	}
	begun := l.live[i].begun
	l.live = slices.DeleteFunc(l.live, func(w write) bool {
		gone := w.ended != 0 && w.ended < begun
		if gone && len(l.reads) > 0 {
			w.replaced = l.clock
			l.former = append(l.former, w)
		}
		return gone
	})
}

// refuse notes that a write was certainly not executed. It returns a violation if
// it has been read nonetheless.
func (l *ledger) refuse(seq uint64) *Violation {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := indexOf(l.live, seq)
	seen := l.live[i].seen
	l.live = slices.Delete(l.live, i, i+1)
	l.refused = append(l.refused, seq)
	if seen {
		return l.violation(Phantom, "write %d was read, and then reported as not executed", seq)
	}
	return nil
}

func indexOf(writes []write, seq uint64) int {
	return slices.IndexFunc(writes, func(w write) bool { return w.seq == seq })
}

// written reports whether a write has begun.
func (l *ledger) written() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last > 0
}

// beginRead returns what endRead is to be given.
func (l *ledger) beginRead() (began uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clock++
	l.reads = append(l.reads, l.clock)
	return l.clock
}

// giveUpRead ends a read that got no answer.
func (l *ledger) giveUpRead(began uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(began)
}

// endRead holds what was read against what is known; found is false if the key
// was absent. It returns nil if both agree, else a violation, which is of kind
// missing if something acknowledged was not there.
func (l *ledger) endRead(began uint64, value []byte, found bool, missing Kind) *Violation {
	l.mu.Lock()
	defer l.mu.Unlock()
	defer l.forget(began)
	if !found {
		if l.acknowledged == 0 || l.acknowledged > began {
			return nil
		}
		return l.violation(missing, "absent, but %s", l.known())
	}
	name, seq, err := decodeValue(value)
	switch {
	case err != nil:
		return l.violation(Corrupt, "%v", err)
	case name != l.name:
		return l.violation(Corrupt, "it holds write %d of key %q", seq, name)
	case seq == 0:
		return l.violation(Corrupt, "it holds write 0")
	}
	if i := indexOf(l.live, seq); i >= 0 {
		l.live[i].seen = true
		return nil
	}
	if i := indexOf(l.former, seq); i >= 0 && l.former[i].replaced > began {
		return nil
	}
	switch {
	case slices.Contains(l.refused, seq):
		return l.violation(Phantom, "it holds write %d, which was reported as not executed", seq)
	case seq > l.last:
		return l.violation(Phantom, "it holds write %d, the last that was sent is %d", seq, l.last)
	default:
		return l.violation(missing, "it holds write %d, but %s", seq, l.known())
	}
}

// known says which writes may be read. Call it with mu held.
func (l *ledger) known() string {
	var acknowledged, open []uint64
	for _, w := range l.live {
		if w.ended != 0 {
			acknowledged = append(acknowledged, w.seq)
		} else {
			open = append(open, w.seq)
		}
	}
	text := fmt.Sprintf("write %s was acknowledged last", someOf(acknowledged))
	if len(open) > 0 {
		text += fmt.Sprintf(", and %s may be executed", someOf(open))
	}
	return text
}

// someOf lists at most a few numbers.
func someOf(seqs []uint64) string {
	const shown = 5
	text := fmt.Sprint(seqs[:min(len(seqs), shown)])
	text = text[1 : len(text)-1]
	if len(seqs) > shown {
		text += fmt.Sprintf(" and %d more", len(seqs)-shown)
	}
	return text
}

// forget ends a read, and drops what none of the others may return. Call it with
// mu held.
func (l *ledger) forget(began uint64) {
	i := slices.Index(l.reads, began)
	l.reads = slices.Delete(l.reads, i, i+1)
	if len(l.former) == 0 {
		return
	}
	if len(l.reads) == 0 {
		l.former = nil
		return
	}
	first := slices.Min(l.reads)
	l.former = slices.DeleteFunc(l.former, func(w write) bool { return w.replaced <= first })
}
