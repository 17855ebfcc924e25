package kvstore

import (
	"bytes"
	"encoding/binary"
	"runtime"
	"testing"

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

// FuzzReadChunk feeds the taker of a snapshot: whatever lengths it is told,
// it takes no more memory than a small multiple of what arrives.
func FuzzReadChunk(f *testing.F) {
	chunk := storage.AppendChunk(nil, []storage.Item{{Key: []byte("key"), Value: storage.Value{Data: []byte("value"), Epoch: 1, LSN: 2}}})
	f.Add(append(binary.LittleEndian.AppendUint32(nil, uint32(len(chunk))), chunk...))
	f.Add(binary.LittleEndian.AppendUint32(nil, maxChunkBytes))
	f.Add(binary.LittleEndian.AppendUint32(nil, 1<<32-1))
	f.Fuzz(func(t *testing.T, b []byte) {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		r := bytes.NewReader(b)
		for {
			if items, err := readChunk(r); err != nil || items == nil {
				break
			}
		}
		runtime.ReadMemStats(&after)
		if used := after.TotalAlloc - before.TotalAlloc; used > uint64(64*len(b)+64<<10) {
			t.Errorf("%d bytes made it allocate %d", len(b), used)
		}
	})
}
