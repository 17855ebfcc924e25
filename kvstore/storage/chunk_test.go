package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
)

func sampleChunk() []byte {
	return AppendChunk(nil, []Item{
		{[]byte("a"), Value{Data: []byte("one"), Epoch: 1, LSN: 2, Expires: 3}},
		{[]byte("b"), Value{Epoch: 3, LSN: 1<<64 - 1}},
	})
}

func TestChunkDetectsEveryFlippedBit(t *testing.T) {
	chunk := sampleChunk()
	for at := range chunk {
		for bit := range 8 {
			b := bytes.Clone(chunk)
			b[at] ^= 1 << bit
			if _, err := DecodeChunk(b); !errors.Is(err, ErrChunk) {
				t.Fatalf("bit %d of byte %d flipped: %v, want ErrChunk", bit, at, err)
			}
		}
		if _, err := DecodeChunk(chunk[:at]); !errors.Is(err, ErrChunk) {
			t.Fatalf("cut to %d bytes: %v, want ErrChunk", at, err)
		}
	}
	if items, err := DecodeChunk(AppendChunk(nil, nil)); err != nil || len(items) != 0 {
		t.Errorf("an empty chunk decodes as %v, %v", items, err)
	}
}

func FuzzDecodeChunk(f *testing.F) {
	f.Add(sampleChunk())
	f.Add(AppendChunk(nil, nil))
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(b) - chunkTrailer; n >= 0 {
			binary.LittleEndian.PutUint32(b[n:], crc32.Checksum(b[:n], castagnoli))
		}
		items, err := DecodeChunk(b)
		if err != nil {
			if !errors.Is(err, ErrChunk) {
				t.Errorf("DecodeChunk = %v, want ErrChunk", err)
			}
			return
		}
		if again := AppendChunk(nil, items); !bytes.Equal(again, b) {
			t.Errorf("%x decodes, but encodes again as %x", b, again)
		}
	})
}
