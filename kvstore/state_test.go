package kvstore

import (
	"bytes"
	"testing"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

func TestStateSurvivesItsEncoding(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := partition.State{Promise: rapid.Uint64().Draw(t, "promise"), Incarnation: rapid.Uint64().Draw(t, "incarnation")}
		if got, err := decodeState(encodeState(want)); err != nil || got != want {
			t.Fatalf("decoded %+v, %v, want %+v", got, err, want)
		}
	})
}

func TestStateEncodingIsStable(t *testing.T) {
	got := encodeState(partition.State{Promise: 7, Incarnation: 2})
	if want := []byte("\x01\x07\x00\x00\x00\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00"); !bytes.Equal(got, want) {
		t.Errorf("encodeState = %q, want %q: promises in older logs would no longer decode", got, want)
	}
}

func TestUnknownStateIsRefused(t *testing.T) {
	valid := encodeState(partition.State{Promise: 1, Incarnation: 1})
	newer := bytes.Clone(valid)
	newer[0]++
	for name, b := range map[string][]byte{"empty": nil, "short": valid[:16], "long": append(bytes.Clone(valid), 0), "newer": newer} {
		if s, err := decodeState(b); err == nil {
			t.Errorf("%s: decoded %+v", name, s)
		}
	}
}
