package workload

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"
)

func TestCheck(t *testing.T) {
	const name = "loadtest/r/0/0.0"
	of := func(seq uint64) []byte { return encodeValue(name, seq, MinValueSize) }
	flipped := of(5)
	flipped[50] ^= 1
	for _, tc := range []struct {
		name           string
		acked, unknown uint64
		value          []byte
		want           Kind
	}{
		{"the last acknowledged", 5, 0, of(5), ""},
		{"the last acknowledged, a later one unknown", 5, 6, of(5), ""},
		{"the unknown one", 5, 6, of(6), ""},
		{"the first one unknown", 0, 1, of(1), ""},
		{"the first one unknown and absent", 0, 1, nil, ""},
		{"absent and nothing acknowledged", 0, 0, nil, ""},
		{"older", 5, 0, of(4), Lost},
		{"older, a later one unknown", 5, 7, of(4), Lost},
		{"absent", 5, 0, nil, Lost},
		{"absent, a later one unknown", 5, 6, nil, Lost},
		{"refused but executed", 5, 0, of(6), Phantom},
		{"refused but executed, a later one unknown", 5, 7, of(6), Phantom},
		{"never written", 5, 6, of(7), Phantom},
		{"nothing acknowledged, yet there", 0, 0, of(1), Phantom},
		{"of another key", 5, 0, encodeValue(name+"1", 5, MinValueSize), Corrupt},
		{"one bit flipped", 5, 0, flipped, Corrupt},
		{"cut short", 5, 0, of(5)[:MinValueSize-1], Corrupt},
		{"empty", 5, 0, []byte{}, Corrupt},
		{"write 0", 0, 0, of(0), Corrupt},
	} {
		t.Run(tc.name, func(t *testing.T) {
			k := &key{name: name, acked: tc.acked, unknown: tc.unknown}
			var got Kind
			if v := k.check(tc.value, tc.value != nil); v != nil {
				got = v.Kind
			}
			if got != tc.want {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestValueRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := rapid.StringMatching(`loadtest/[0-9a-f]{8}/[0-9]{1,4}/[0-9]{1,6}\.[0-9]{1,4}`).Draw(t, "key")
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
