package storage

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"testing"
)

func FuzzDecodeCheckpoint(f *testing.F) {
	f.Add(Checkpoint{Generation: 1, Position: Position{2, 3}, Sum: Sum{4, 5}}.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(b) - 4; n >= 0 {
			binary.LittleEndian.PutUint32(b[n:], crc32.Checksum(b[:n], castagnoli))
		}
		c, err := decodeCheckpoint(b)
		if err != nil {
			if len(b) != checkpointBytes && !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v, want ErrCorrupt", err)
			}
			return
		}
		if again := c.encode(); !bytes.Equal(again, b) {
			t.Errorf("%x decodes, but encodes again as %x", b, again)
		}
	})
}

func FuzzStored(f *testing.F) {
	key := []byte("key")
	for _, data := range []string{"", "value"} {
		main, _ := encodeValue(1, key, Value{Data: []byte(data), Epoch: 2, LSN: 3, Expires: 4})
		f.Add(main)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if err := stored(b).check(); err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v, want ErrCorrupt", err)
			}
			return
		}
		new(hasher).hash(b, key)
		v := stored(b).value()
		binary.LittleEndian.PutUint32(b[valueHeader-4:], valueCRC(1, key, v))
		if again, _ := encodeValue(1, key, v); !stored(b).split() && !bytes.Equal(again, b) {
			t.Errorf("%x decodes, but encodes again as %x", b, again)
		}
	})
}

func FuzzParseGeneration(f *testing.F) {
	f.Add(generation{1, 2}.key([]byte("key")))
	f.Add(checkpointKey(7))
	f.Fuzz(func(t *testing.T, key []byte) {
		g, ok := parseGeneration(key)
		if !ok {
			return
		}
		if next := after(key); bytes.Compare(next, g.appendPrefix(nil)) <= 0 {
			t.Errorf("after %x of %+v comes %x", key, g, next)
		}
	})
}

func FuzzDecodeLoadRecord(f *testing.F) {
	r := loadRecord{9, Origin{1, "node", "store", "pin", Position{2, 3}, Sum{4, 5}}, Loaded{Sum{6, 7}, 8, []byte("key")}}
	f.Add(r.encode())
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, b []byte) {
		if n := len(b) - 4; n >= 0 {
			binary.LittleEndian.PutUint32(b[n:], crc32.Checksum(b[:n], castagnoli))
		}
		r, err := decodeLoadRecord(b)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Errorf("%v, want ErrCorrupt", err)
			}
			return
		}
		if again := r.encode(); !bytes.Equal(again, b) {
			t.Errorf("%x decodes, but encodes again as %x", b, again)
		}
	})
}
