package clusterkit

import (
	"io"
	"strings"
	"testing"

	"github.com/hashicorp/raft"
)

// TestABrokenStateMachineMakesNoSnapshot lets the state machine meet an entry
// that it does not understand: a snapshot would hide that entry for good.
func TestABrokenStateMachineMakesNoSnapshot(t *testing.T) {
	var failure error
	f := &fsm{published: func(*Map, *Map) {}, failed: func(err error) { failure = err }}
	f.current.Store(clusterOf(t))
	if _, err := f.Snapshot(); err != nil {
		t.Fatal(err)
	}
	f.Apply(&raft.Log{Term: testTerm, Index: 8, Data: []byte{commandFormat, 255}})
	if failure == nil || !strings.Contains(failure.Error(), "entry 8") {
		t.Fatalf("failed with %v", failure)
	}
	if _, err := f.Snapshot(); err == nil {
		t.Error("a snapshot was made although an entry is missing")
	}
	if _, err := applyTo(f, endSessionCommand{Term: testTerm, Sessions: []sessionRef{{"n1", 1}}}); err == nil || !f.Map().Node("n1").Alive {
		t.Errorf("went on after an entry that is missing: %v", err)
	}
}

func TestASnapshotHasAMap(t *testing.T) {
	f := &fsm{published: func(*Map, *Map) {}}
	if _, err := f.Snapshot(); err == nil {
		t.Error("a snapshot of no map was made")
	}
	m := clusterOf(t)
	f.current.Store(m)
	if err := f.Restore(io.NopCloser(strings.NewReader(`{"format":1,"map":null}`))); err == nil || f.Map() != m {
		t.Errorf("a snapshot without a map was restored: %v", err)
	}
}
