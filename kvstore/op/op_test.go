package op

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func equal(a, b Op) bool {
	return a.Kind == b.Kind && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value) && a.Expires == b.Expires
}

func TestEncodingIsStable(t *testing.T) {
	got := Append(nil, Entry{Clock: 300, Ops: []Op{
		{Kind: Set, Key: []byte("k"), Value: []byte("value"), Expires: 5},
		{Kind: Delete, Key: []byte("gone")},
	}})
	want := "\x02\xac\x02\x01\x01k\x05\x05value\x02\x04gone"
	if string(got) != want {
		t.Errorf("Append = %q, want %q: entries of older logs would no longer decode", got, want)
	}
}

func TestNoOperationsAreTheEmptyEntry(t *testing.T) {
	if b := Append([]byte("x"), Entry{Clock: 7}); string(b) != "x" {
		t.Errorf("Append without operations = %q, want nothing appended", b)
	}
	if e, err := Decode(nil); e.Ops != nil || e.Clock != 0 || err != nil {
		t.Errorf("Decode(nil) = %v, %v, want nothing", e, err)
	}
}

func TestDecodeRejects(t *testing.T) {
	for name, in := range map[string]string{
		"other version":         "\x01\x00\x01\x01k\x00\x00",
		"version alone":         "\x02",
		"clock alone":           "\x02\x00",
		"clock cut short":       "\x02\x80",
		"unknown kind":          "\x02\x00\x03\x01k\x00",
		"empty key":             "\x02\x00\x01\x00\x00\x05value",
		"empty key of delete":   "\x02\x00\x02\x00\x00",
		"key cut short":         "\x02\x00\x02\x05abc",
		"no expiry":             "\x02\x00\x01\x01k",
		"no value":              "\x02\x00\x01\x01k\x00",
		"value cut short":       "\x02\x00\x01\x01k\x00\x05valu",
		"huge length":           "\x02\x00\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01k",
		"overlong length":       "\x02\x00\x02\x81\x00k",
		"overlong clock":        "\x02\x80\x00\x02\x01k",
		"length beyond 64 bits": "\x02\x00\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01k",
		"trailing bytes":        "\x02\x00\x02\x01k\x00",
	} {
		t.Run(name, func(t *testing.T) {
			if e, err := Decode([]byte(in)); !errors.Is(err, ErrInvalid) {
				t.Errorf("Decode = %v, %v, want ErrInvalid", e, err)
			}
		})
	}
}

func TestAppendRefusesWhatCannotBeDecoded(t *testing.T) {
	for name, o := range map[string]Op{
		"empty key":    {Kind: Set, Value: []byte("v")},
		"unknown kind": {Kind: 9, Key: []byte("k")},
	} {
		t.Run(name, func(t *testing.T) {
			defer func() {
				if recover() == nil {
					t.Error("Append did not panic")
				}
			}()
			Append(nil, Entry{Ops: []Op{o}})
		})
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := Entry{Clock: rapid.Uint64().Draw(t, "clock")}
		e.Ops = rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Op {
			o := Op{Kind: Delete, Key: rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "key")}
			if rapid.Bool().Draw(t, "set") {
				o.Kind, o.Value = Set, rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value")
				o.Expires = rapid.Uint64().Draw(t, "expires")
			}
			return o
		}), 1, -1).Draw(t, "ops")
		encoded := Append(nil, e)
		got, err := Decode(encoded)
		if err != nil {
			t.Fatal(err)
		}
		if got.Clock != e.Clock || !slices.EqualFunc(got.Ops, e.Ops, equal) {
			t.Fatalf("decoded %v, want %v", got, e)
		}

		own := Entry{Clock: e.Clock, Ops: slices.Clone(e.Ops)}
		b := Own(own)
		if !bytes.Equal(b, encoded) || len(b) != cap(b) && len(b) != size(e) {
			t.Fatalf("its own encoding is %x, want %x", b, encoded)
		}
		for _, o := range e.Ops {
			clear(o.Key)
			clear(o.Value)
		}
		if !slices.EqualFunc(own.Ops, got.Ops, equal) {
			t.Fatalf("its operations became %v, want %v", own.Ops, got.Ops)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(Append(nil, Entry{Clock: 1, Ops: []Op{{Kind: Set, Key: []byte("key"), Value: []byte("value"), Expires: 2}, {Kind: Delete, Key: []byte("key")}}}))
	f.Add([]byte("\x02\x00\x02\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := Decode(b)
		if err != nil {
			return
		}
		if again := Append(nil, e); !bytes.Equal(again, b) {
			t.Errorf("%x decodes, but encodes again as %x", b, again)
		}
	})
}
