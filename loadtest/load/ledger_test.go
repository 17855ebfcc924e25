package load

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

const keyName = "loadtest/r/000000000000"

func valueOf(seq uint64) []byte { return encodeValue(keyName, seq, MinValueSize) }

// A story is a sequence of w1 (write 1 begins), a1 (it is acknowledged), f1 (it
// is refused), r (a read begins), and last what the oldest read returns: a number,
// or - for nothing.
func TestLedger(t *testing.T) {
	for _, tc := range []struct {
		story, returns string
		want           Kind
	}{
		{"r", "-", ""},
		{"w1 a1 r", "1", ""},
		{"w1 a1 r", "-", Stale},
		{"r w1 a1", "-", ""},
		{"w1 r a1", "-", ""},
		{"w1 r", "1", ""},
		{"w1 a1 w2 a2 r", "2", ""},
		{"w1 a1 w2 a2 r", "1", Stale},
		{"w1 a1 w2 a2 r", "-", Stale},
		{"w1 a1 w2 r", "1", ""},
		{"w1 a1 w2 r", "2", ""},
		{"w1 a1 r w2 a2", "1", ""},
		{"w1 a1 r w2 a2 w3 a3", "1", ""},
		{"w1 a1 w2 a2 r w3 a3", "1", Stale},
		{"w1 w2 a2 a1 r", "1", ""},
		{"w1 w2 a2 a1 r", "2", ""},
		{"w1 w2 a1 a2 r", "1", ""},
		{"w1 w2 a1 w3 a3 r", "1", Stale},
		{"w1 w2 a1 w3 a3 r", "2", ""},
		{"w1 w2 a1 w3 a3 a2 r", "2", ""},
		{"w1 w2 a1 w3 a3 a2 w4 a4 r", "2", Stale},
		{"w1 a1 w2 f2 r", "2", Phantom},
		{"w1 a1 w2 f2 r", "1", ""},
		{"w1 a1 r", "2", Phantom},
		{"w1 f1 r", "-", ""},
	} {
		t.Run(tc.story+" "+tc.returns, func(t *testing.T) {
			l := &ledger{name: keyName}
			var reads []uint64
			for step := range strings.FieldsSeq(tc.story) {
				var seq uint64
				_, _ = fmt.Sscan(step[1:], &seq)
				switch step[0] {
				case 'w':
					if got := l.beginWrite(); got != seq {
						t.Fatalf("write %d is numbered %d", seq, got)
					}
				case 'a':
					l.acknowledge(seq)
				case 'f':
					if v := l.refuse(seq); v != nil {
						t.Fatal(v)
					}
				case 'r':
					reads = append(reads, l.beginRead())
				}
			}
			var seq uint64
			_, err := fmt.Sscan(tc.returns, &seq)
			var got Kind
			if v := l.endRead(reads[0], valueOf(seq), err == nil, Stale); v != nil {
				got = v.Kind
			}
			if got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestCorruptValues(t *testing.T) {
	flipped := valueOf(1)
	flipped[50] ^= 1
	for name, value := range map[string][]byte{
		"of another key":  encodeValue(keyName+"1", 1, MinValueSize),
		"one bit flipped": flipped,
		"cut short":       valueOf(1)[:MinValueSize-1],
		"empty":           {},
		"write 0":         valueOf(0),
	} {
		l := &ledger{name: keyName}
		l.acknowledge(l.beginWrite())
		if v := l.endRead(l.beginRead(), value, true, Stale); v == nil || v.Kind != Corrupt {
			t.Errorf("%s: %v", name, v)
		}
	}
}

func TestSeenAndThenRefused(t *testing.T) {
	l := &ledger{name: keyName}
	seq := l.beginWrite()
	if v := l.endRead(l.beginRead(), valueOf(seq), true, Stale); v != nil {
		t.Fatal(v)
	}
	if v := l.refuse(seq); v == nil || v.Kind != Phantom {
		t.Errorf("%v", v)
	}
}

// A register that is linearizable, whatever happens to it, is never convicted;
// and what is kept of its past does not grow.
func TestLedgerNeverConvictsARegister(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		l := &ledger{name: keyName}
		type under struct {
			seq  uint64
			done bool // executed already
		}
		var (
			now     uint64 // what the register holds
			writes  []*under
			unknown []*under
			reads   [][2]uint64 // began, and what it returns once it has been executed
		)
		pick := func(n int) int { return rapid.IntRange(0, n-1).Draw(t, "which") }
		execute := func(w *under) {
			if !w.done {
				w.done, now = true, w.seq
			}
		}
		const pending = ^uint64(0)
		t.Repeat(map[string]func(*rapid.T){
			"begin write": func(*rapid.T) { writes = append(writes, &under{seq: l.beginWrite()}) },
			"execute": func(*rapid.T) {
				if all := append(append([]*under{}, writes...), unknown...); len(all) > 0 {
					execute(all[pick(len(all))])
				}
			},
			"end write": func(t *rapid.T) {
				if len(writes) == 0 {
					return
				}
				i := pick(len(writes))
				w := writes[i]
				writes = append(writes[:i], writes[i+1:]...)
				switch rapid.IntRange(0, 3).Draw(t, "outcome") {
				case 0:
					if !w.done {
						if v := l.refuse(w.seq); v != nil {
							t.Fatal(v)
						}
						return
					}
					fallthrough
				case 1, 2:
					execute(w)
					l.acknowledge(w.seq)
				default:
					unknown = append(unknown, w)
				}
			},
			"begin read": func(*rapid.T) { reads = append(reads, [2]uint64{l.beginRead(), pending}) },
			"execute read": func(*rapid.T) {
				if len(reads) > 0 {
					if r := &reads[pick(len(reads))]; r[1] == pending {
						r[1] = now
					}
				}
			},
			"end read": func(t *rapid.T) {
				if len(reads) == 0 {
					return
				}
				i := pick(len(reads))
				r := reads[i]
				reads = append(reads[:i], reads[i+1:]...)
				if r[1] == pending {
					r[1] = now
				}
				if v := l.endRead(r[0], valueOf(r[1]), r[1] != 0, Stale); v != nil {
					t.Fatal(v)
				}
				if len(reads) == 0 && len(l.former) > 0 {
					t.Fatalf("%d former writes are kept without a read", len(l.former))
				}
			},
			"": func(t *rapid.T) {
				if most := 1 + len(writes) + len(unknown) + acknowledgedLive(l); len(l.live) > most {
					t.Fatalf("%d writes are kept", len(l.live))
				}
			},
		})
	})
}

func acknowledgedLive(l *ledger) (n int) {
	for _, w := range l.live {
		if w.ended != 0 {
			n++
		}
	}
	return n
}

func TestValueRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`loadtest/[0-9a-f]{8}/[0-9]{12}`).Draw(t, "key")
		seq := rapid.Uint64().Draw(t, "seq")
		size := rapid.IntRange(MinValueSize, 4096).Draw(t, "size")
		v := encodeValue(key, seq, size)
		if len(v) != size {
			t.Fatalf("%d bytes, want %d", len(v), size)
		}
		gotKey, gotSeq, err := decodeValue(v)
		if err != nil || gotKey != key || gotSeq != seq {
			t.Fatalf("decoded %q, %d, %v", gotKey, gotSeq, err)
		}
	})
}

// Whatever decodes is what encodes to the same bytes, up to the filler.
func FuzzDecodeValue(f *testing.F) {
	f.Add(encodeValue("k", 1, MinValueSize))
	f.Add([]byte("loadtest1 k 1 00000000"))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, v []byte) {
		key, seq, err := decodeValue(v)
		if err != nil {
			return
		}
		again := encodeValue(key, seq, len(v))
		if gotKey, gotSeq, err := decodeValue(again); err != nil || gotKey != key || gotSeq != seq {
			t.Errorf("%q decodes to (%q, %d), which encodes to %q", v, key, seq, bytes.TrimSpace(again))
		}
	})
}
