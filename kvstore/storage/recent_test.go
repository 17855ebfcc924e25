package storage

import (
	"errors"
	"fmt"
	"testing"

	"pgregory.net/rapid"
)

func TestRecentForgetsButIsNeverWrong(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r, last := newRecent(2), map[string]replaced{}
		for i := range rapid.IntRange(1, 60).Draw(t, "puts") {
			key := fmt.Sprint(rapid.IntRange(1, 20).Draw(t, "key"))
			last[key] = replaced{found: true, hash: uint64(i)}
			r.put(r.fingerprint([]byte(key)), last[key])
			if item, known := r.get(r.fingerprint([]byte(key))); !known || item != last[key] {
				t.Fatalf("%s is %+v, %t, right after it was written", key, item, known)
			}
		}
		kept := 0
		for key, want := range last {
			item, known := r.get(r.fingerprint([]byte(key)))
			if known && item != want {
				t.Fatalf("%s is %+v, want %+v", key, item, want)
			}
			if known {
				kept++
			}
		}
		if all := len(r.sets) * len(r.sets[0]); kept > all || len(last) >= all*2 && kept < len(r.sets[0]) {
			t.Fatalf("%d of %d keys are kept", kept, len(last))
		}
		r.clear()
		for key := range last {
			if _, known := r.get(r.fingerprint([]byte(key))); known {
				t.Fatalf("%s is known after everything was forgotten", key)
			}
		}
	})
}

// What a transaction would have left, had it been committed, is not there.
func TestApplyThatFailsLeavesNoTrace(t *testing.T) {
	s := mustOpen(t, Options{Dir: t.TempDir(), MemTableBytes: 8 << 20})
	mustApply(t, s, batch(1, set(1, "a", "1")))
	big := string(make([]byte, 450<<10))
	err := s.Apply([]Batch{batch(1, set(2, "a", "2"), set(2, "b", "2"), set(3, "x", big), set(3, "y", big), set(3, "z", big))})
	if !errors.Is(err, ErrTooLarge) {
		t.Fatalf("Apply = %v, want ErrTooLarge", err)
	}
	if c, _ := s.Checkpoint(1); c.LSN != 1 {
		t.Fatalf("the checkpoint is at %d", c.LSN)
	}
	mustApply(t, s, batch(1, set(2, "a", "2"), set(2, "b", "2")))
	snap, err := s.Snapshot(1)
	if err != nil {
		t.Fatal(err)
	}
	defer snap.Close()
	if items, err := readAll(snap); err != nil || len(items) != 2 {
		t.Errorf("%d items, %v", len(items), err)
	}
}
