package kvstore

import (
	"bytes"
	"io"
	"net/http"
	"runtime"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/migration"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
	"github.com/skshohagmiah/clusterkit/kvstore/storage"
)

func FuzzDecodeState(f *testing.F) {
	f.Add(encodeState(partition.State{Promise: 1, Incarnation: 2}))
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeState(b)
		if err != nil {
			return
		}
		if again := encodeState(s); !bytes.Equal(again, b) {
			t.Errorf("%x decodes, but encodes again as %x", b, again)
		}
	})
}

// FuzzReadChunk feeds the taker of a snapshot: whatever length it is told, it
// takes no more memory than a small multiple of what arrives.
func FuzzReadChunk(f *testing.F) {
	chunk := storage.AppendChunk(nil, []storage.Item{{Key: []byte("key"), Value: storage.Value{Data: []byte("value"), Epoch: 1, LSN: 2}}})
	f.Add(chunk, int64(len(chunk)))
	f.Add(chunk, int64(maxChunkBytes))
	f.Add(chunk, int64(-1))
	n := &Node{metrics: newMetrics()}
	n.pace = newPace(migration.Settings{}, &n.metrics.answered)
	s := &source{node: n, heard: func() {}}
	stalled := time.NewTimer(time.Hour)
	f.Fuzz(func(t *testing.T, b []byte, length int64) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		body, err := s.read(t.Context(), &http.Response{Body: io.NopCloser(bytes.NewReader(b)), ContentLength: length}, nil, stalled)
		if err == nil {
			_, _ = storage.DecodeChunk(body)
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(64*len(b)+256<<10) {
			t.Errorf("%d bytes made it allocate %d", len(b), used)
		}
	})
}
