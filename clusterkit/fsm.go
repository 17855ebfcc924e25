package clusterkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/hashicorp/raft"
)

// fsm is the Raft state machine: the current map, and nothing else. Raft calls
// Apply, Restore and Snapshot one at a time; the map may be read at any time.
type fsm struct {
	current atomic.Pointer[Map]
	// published is called after each change with the map before, nil if there
	// was none, and the map after. It must not block.
	published func(prev, next *Map)
	// failed is called when an entry cannot be understood. From then on the
	// state stands still: going on would let this node drift from the others.
	failed func(error)
	broken bool
}

func (f *fsm) Map() *Map { return f.current.Load() }

// Apply returns a [result].
func (f *fsm) Apply(entry *raft.Log) any {
	if f.broken {
		return refuse(codeUnknown, "the state machine of this node has stopped")
	}
	c, err := decodeCommand(entry.Data)
	if err != nil {
		f.broken = true
		f.failed(fmt.Errorf("entry %d of the control plane's log: %w", entry.Index, err))
		return refuse(codeUnknown, "%v", err)
	}
	prev := f.current.Load()
	next, verdict := c.apply(prev, entry.Term)
	f.swap(prev, next)
	return verdict
}

func (f *fsm) swap(prev, next *Map) {
	if next == prev {
		return
	}
	f.current.Store(next)
	f.published(prev, next)
}

// snapshotState is the content of a snapshot.
type snapshotState struct {
	Format int  `json:"format"`
	Map    *Map `json:"map"`
}

const snapshotFormat = 1

// Snapshot captures the immutable map; it is encoded while Raft goes on. A
// state machine that stands still has none: Raft would take it to include the
// entries that came after.
func (f *fsm) Snapshot() (raft.FSMSnapshot, error) {
	if f.broken {
		return nil, errors.New("snapshot: the state machine of this node has stopped")
	}
	m := f.current.Load()
	if m == nil {
		return nil, errors.New("snapshot: there is no map yet")
	}
	return snapshotState{Format: snapshotFormat, Map: m}, nil
}

func (s snapshotState) Persist(sink raft.SnapshotSink) error {
	if err := json.NewEncoder(sink).Encode(s); err != nil {
		_ = sink.Cancel()
		return fmt.Errorf("write snapshot: %w", err)
	}
	return sink.Close()
}

func (snapshotState) Release() {}

func (f *fsm) Restore(source io.ReadCloser) error {
	defer source.Close()
	s, err := decodeSnapshot(source)
	if err != nil {
		return err
	}
	f.swap(f.current.Load(), s.Map)
	return nil
}

func decodeSnapshot(r io.Reader) (snapshotState, error) {
	var s snapshotState
	if err := json.NewDecoder(r).Decode(&s); err != nil {
		return s, fmt.Errorf("read snapshot: %w", err)
	}
	if s.Format != snapshotFormat {
		return s, fmt.Errorf("read snapshot: format %d is not known, upgrade this node", s.Format)
	}
	if s.Map == nil {
		return s, errors.New("read snapshot: it has no map")
	}
	return s, nil
}
