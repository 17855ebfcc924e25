package main

import (
	"strings"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func progress(bytes uint64, waiting string) *migrations {
	m := api.Migration{Partition: "partition-0", Node: "n2", Phase: "copying snapshot", Bytes: bytes, Total: 100, Waiting: waiting}
	return &migrations{
		moves: moves{Version: 3, Moves: []move{{Partition: "partition-0", Kind: "copy", Node: "n2", From: "n1"}, {Partition: "partition-0", Kind: "handover", Node: "n2", Waiting: "later"}}},
		nodes: map[string]api.Migrations{"n2": {Node: "n2", Migrations: []api.Migration{m}}},
	}
}

// Where nobody looks, each change is a line, and what stays as it is is none.
func TestWatchWritesWhatHasChanged(t *testing.T) {
	var b strings.Builder
	show := showLines(&b)
	for _, l := range []*migrations{progress(10, ""), progress(10, ""), progress(20, "moves are paused")} {
		if err := show(l); err != nil {
			t.Fatal(err)
		}
	}
	const want = `map 3: 2 moves left, 1 of them waiting
partition-0: n2 <- n1: copying snapshot, [==>                 ]  10% 10 B/100 B, -, ETA -
map 3: 2 moves left, 2 of them waiting
partition-0: n2 <- n1: copying snapshot, [====>               ]  20% 20 B/100 B, -, ETA -, waits because moves are paused
`
	if b.String() != want {
		t.Errorf("got\n%swant\n%s", b.String(), want)
	}
}

// On a terminal each list takes the place of the one before.
func TestWatchDrawsOverWhatItHasDrawn(t *testing.T) {
	var b strings.Builder
	show := showScreen(&b)
	for range 2 {
		if err := show(progress(10, "")); err != nil {
			t.Fatal(err)
		}
	}
	if got := b.String(); strings.Count(got, "\x1b[H") != 2 || strings.Count(got, "\x1b[2J") != 1 || !strings.Contains(got, "10%") || strings.Contains(strings.ReplaceAll(got, "\x1b[K\n", ""), "\n") {
		t.Errorf("%q", got)
	}
}

func TestSizes(t *testing.T) {
	for s, want := range map[string]int64{"0": 0, "1000": 1000, "64KiB": 64 << 10, "2 MiB": 2 << 20, "1GiB": 1 << 30} {
		if got, err := parseSize(s); err != nil || got != want {
			t.Errorf("%q: %d, %v, want %d", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-1", "1.5MiB", "1MB", "9999999999999GiB", "MiB"} {
		if got, err := parseSize(s); err == nil {
			t.Errorf("%q is %d", s, got)
		}
	}
	for bytes, want := range map[float64]string{0: "0 B", 999: "999 B", 1024: "1.0 KiB", 1 << 20: "1.0 MiB", 5 << 40: "5.0 TiB"} {
		if got := size(bytes); got != want {
			t.Errorf("%v is %q, want %q", bytes, got, want)
		}
	}
	if got := bar(1); got != "[====================] 100%" {
		t.Errorf("all of it is %q", got)
	}
}
