package storage

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/op"
)

// Badger tries for ever to flush into a directory that is gone. A store must
// stop all the same: what it holds is in the log of the node.
func TestCloseWithoutDirectory(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "data")
	s, err := Open(Options{Dir: dir, StoreID: "s"})
	if err != nil {
		t.Fatal(err)
	}
	s.closeTimeout = 100 * time.Millisecond
	write := Write{Op: op.Op{Kind: op.Set, Key: []byte("k"), Value: []byte("v")}, Epoch: 1, LSN: 1}
	if err := s.Apply([]Batch{{Partition: 1, Through: Position{Epoch: 1, LSN: 1}, Writes: []Write{write}}}); err != nil {
		t.Fatal(err)
	}
	away := dir + ".away"
	if err := os.Rename(dir, away); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); !errors.Is(err, ErrCloseTimeout) {
		t.Errorf("Close returned %v, want %v", err, ErrCloseTimeout)
	}
	// With its directory back, what was left behind ends.
	if err := os.Rename(away, dir); err != nil {
		t.Fatal(err)
	}
	<-s.closed
}
