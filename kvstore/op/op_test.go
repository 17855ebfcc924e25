package op

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

func equal(a, b Op) bool {
	return a.Kind == b.Kind && bytes.Equal(a.Key, b.Key) && bytes.Equal(a.Value, b.Value)
}

func TestEncodingIsStable(t *testing.T) {
	got := Append(nil, Op{Set, []byte("k"), []byte("value")}, Op{Kind: Delete, Key: []byte("gone")})
	want := "\x01\x01\x01k\x05value\x02\x04gone"
	if string(got) != want {
		t.Errorf("Append = %q, want %q: entries of older logs would no longer decode", got, want)
	}
}

func TestNoOperationsAreTheEmptyEntry(t *testing.T) {
	if b := Append([]byte("x")); string(b) != "x" {
		t.Errorf("Append without operations = %q, want nothing appended", b)
	}
	if ops, err := Decode(nil); ops != nil || err != nil {
		t.Errorf("Decode(nil) = %v, %v, want nothing", ops, err)
	}
}

func TestDecodeRejects(t *testing.T) {
	for name, in := range map[string]string{
		"newer version":         "\x02\x01\x01k\x00",
		"version alone":         "\x01",
		"unknown kind":          "\x01\x03\x01k\x00",
		"empty key":             "\x01\x01\x00\x05value",
		"empty key of delete":   "\x01\x02\x00\x00",
		"key cut short":         "\x01\x02\x05abc",
		"no value":              "\x01\x01\x01k",
		"value cut short":       "\x01\x01\x01k\x05valu",
		"huge length":           "\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01k",
		"overlong length":       "\x01\x02\x81\x00k",
		"length beyond 64 bits": "\x01\x02\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01k",
		"trailing bytes":        "\x01\x02\x01k\x00",
	} {
		t.Run(name, func(t *testing.T) {
			if ops, err := Decode([]byte(in)); !errors.Is(err, ErrInvalid) {
				t.Errorf("Decode = %v, %v, want ErrInvalid", ops, err)
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
			Append(nil, o)
		})
	}
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		ops := rapid.SliceOf(rapid.Custom(func(t *rapid.T) Op {
			o := Op{Kind: Delete, Key: rapid.SliceOfN(rapid.Byte(), 1, 300).Draw(t, "key")}
			if rapid.Bool().Draw(t, "set") {
				o.Kind, o.Value = Set, rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "value")
			}
			return o
		})).Draw(t, "ops")
		got, err := Decode(Append(nil, ops...))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, ops, equal) {
			t.Fatalf("decoded %v, want %v", got, ops)
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(nil))
	f.Add(Append(nil, Op{Set, []byte("key"), []byte("value")}, Op{Kind: Delete, Key: []byte("key")}))
	f.Add([]byte("\x01\x02\xff\xff\xff\xff\x0f"))
	f.Fuzz(func(t *testing.T, b []byte) {
		ops, err := Decode(b)
		if err != nil {
			return
		}
		if again := Append(nil, ops...); !bytes.Equal(again, b) {
			t.Errorf("%x decodes, but encodes again as %x", b, again)
		}
	})
}
