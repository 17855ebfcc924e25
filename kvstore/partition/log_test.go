package partition

import (
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// naive is a history that keeps every entry.
type naive struct {
	base    Position
	entries []Entry
	kept    uint64 // content is held above here
}

func (n *naive) last() uint64 { return n.base.LSN + uint64(len(n.entries)) }

func (n *naive) epochAt(lsn uint64) uint64 {
	if lsn <= n.base.LSN {
		return n.base.Epoch
	}
	return n.entries[lsn-n.base.LSN-1].Epoch
}

func (n *naive) agreeable(p Position) Position {
	for lsn := min(p.LSN, n.last()); lsn > n.base.LSN; lsn-- {
		if n.epochAt(lsn) <= p.Epoch {
			return Position{n.epochAt(lsn), lsn}
		}
	}
	return n.base
}

func (n *naive) truncate(lsn uint64) {
	if lsn <= n.last() {
		n.entries = n.entries[:lsn-n.base.LSN-1]
		n.kept = min(n.kept, n.last())
	}
}

func (n *naive) raiseBase(lsn uint64) {
	if lsn > n.base.LSN {
		base := Position{n.epochAt(lsn), lsn}
		n.entries = n.entries[lsn-n.base.LSN:]
		n.base = base
		n.kept = max(n.kept, lsn)
	}
}

func (n *naive) forget(lsn uint64) { n.kept = max(n.kept, min(lsn, n.last())) }

// held are the entries whose content is in memory.
func (n *naive) held() []Entry { return n.entries[n.kept-n.base.LSN:] }

func TestHistoryIsThatOfANaiveLog(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		h, n := &history{}, &naive{}
		epoch := uint64(1)
		check := func() {
			if h.base != n.base || h.last != n.last() {
				t.Fatalf("history is from %v to %d, want from %v to %d", h.base, h.last, n.base, n.last())
			}
			for lsn := n.base.LSN; lsn <= n.last(); lsn++ {
				if got, want := h.epochAt(lsn), n.epochAt(lsn); got != want {
					t.Fatalf("epochAt(%d) = %d, want %d", lsn, got, want)
				}
			}
			size := 0
			for _, e := range n.held() {
				size += e.size()
			}
			if h.bytes != size {
				t.Fatalf("bytes = %d, want %d", h.bytes, size)
			}
			if h.tailFirst() != n.kept+1 {
				t.Fatalf("tailFirst = %d, want %d", h.tailFirst(), n.kept+1)
			}
		}
		within := func(name string) uint64 { return rapid.Uint64Range(n.base.LSN, n.last()).Draw(t, name) }
		t.Repeat(map[string]func(*rapid.T){
			"append": func(t *rapid.T) {
				epoch += rapid.Uint64Max(2).Draw(t, "epochs later")
				e := Entry{Epoch: epoch, LSN: h.last + 1, Data: rapid.SliceOfN(rapid.Byte(), 0, 9).Draw(t, "data")}
				h.append(e)
				n.entries = append(slices.Clip(n.entries), e)
			},
			"truncate": func(t *rapid.T) {
				lsn := within("to") + 1
				h.truncate(lsn)
				n.truncate(lsn)
			},
			"raise base": func(*rapid.T) {
				lsn := within("base")
				h.raiseBase(lsn)
				n.raiseBase(lsn)
			},
			"forget": func(*rapid.T) {
				lsn := within("through")
				h.forget(lsn)
				n.forget(lsn)
			},
			"reset": func(t *rapid.T) {
				p := Position{Epoch: epoch, LSN: rapid.Uint64Max(50).Draw(t, "lsn")}
				h.reset(p)
				*n = naive{base: p, kept: p.LSN}
			},
			"agreeable": func(t *rapid.T) {
				p := Position{Epoch: rapid.Uint64Max(epoch+1).Draw(t, "epoch"), LSN: rapid.Uint64Max(n.last()+3).Draw(t, "lsn")}
				if got, want := h.agreeable(p), n.agreeable(p); got != want {
					t.Fatalf("agreeable(%v) = %v, want %v", p, got, want)
				}
			},
			"entries": func(t *rapid.T) {
				lsn := within("from") + 1
				limit := rapid.IntRange(0, 200).Draw(t, "limit")
				got, ok := h.entries(lsn, limit)
				if ok != (lsn > n.kept) {
					t.Fatalf("entries(%d): %v, content is held above %d", lsn, ok, n.kept)
				}
				if !ok {
					return
				}
				want := n.entries[lsn-1-n.base.LSN:]
				if !slices.EqualFunc(got, want[:len(got)], sameEntry) || len(got) == 0 && len(want) > 0 {
					t.Fatalf("entries(%d) = %v of %v", lsn, got, want)
				}
				size := 0
				for _, e := range got {
					size += e.size()
				}
				if size > limit && len(got) > 1 || len(got) < len(want) && len(got) > 0 && size+want[len(got)].size() <= limit {
					t.Fatalf("entries(%d, %d bytes) = %d entries of %d bytes", lsn, limit, len(got), size)
				}
			},
			"": func(*rapid.T) { check() },
		})
	})
}

// What has been handed out is never written over.
func TestTruncateLeavesHandedOutEntriesAlone(t *testing.T) {
	h := &history{}
	for lsn := range uint64(4) {
		h.append(Entry{Epoch: 1, LSN: lsn + 1, Data: []byte{byte(lsn)}})
	}
	out, ok := h.entries(1, 1<<20)
	if !ok || len(out) != 4 {
		t.Fatalf("entries = %v, %v", out, ok)
	}
	before := slices.Clone(out)
	h.truncate(3)
	h.append(Entry{Epoch: 2, LSN: 3, Data: []byte("other")})
	h.forget(2)
	h.append(Entry{Epoch: 2, LSN: 4, Data: []byte("another")})
	if !slices.EqualFunc(out, before, sameEntry) {
		t.Errorf("the entries handed out have become %v", out)
	}
}
