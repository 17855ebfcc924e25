package storage

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
)

// A chunk carries items of a snapshot between replicas:
//
//	version (1) | number of items (4) | item ... | CRC32C (4)
//	item = key length (2) | value length (4) | epoch (8) | LSN (8) | expiry (8) | key | value
//
// in little-endian order. The CRC covers all before it.
const (
	chunkVersion = 2
	chunkHeader  = 1 + 4
	chunkTrailer = 4
	itemHeader   = 2 + 4 + 8 + 8 + 8
)

// ErrChunk is returned by [DecodeChunk] for bytes that are not an intact
// chunk.
var ErrChunk = errors.New("storage: not an intact chunk")

// AppendChunk appends the encoding of items to dst. Keys are shorter than
// 64 KiB.
func AppendChunk(dst []byte, items []Item) []byte {
	w := beginChunk(dst)
	for i := range items {
		w.begin(items[i].Key, items[i].Value)
		w.itemEnd()
	}
	return w.end()
}

// chunkWriter encodes a chunk at the end of buf, item by item.
type chunkWriter struct {
	buf []byte
	// start is where the chunk begins, item where the last item does, and data
	// where its data do.
	start, item, data int
	count             uint32
}

func beginChunk(dst []byte) chunkWriter {
	return chunkWriter{start: len(dst), buf: append(dst, chunkVersion, 0, 0, 0, 0)}
}

// begin appends an item whose data go on with what more appends.
func (w *chunkWriter) begin(key []byte, v Value) {
	w.item = len(w.buf)
	b := binary.LittleEndian.AppendUint16(w.buf, uint16(len(key)))
	b = append(b, 0, 0, 0, 0)
	b = binary.LittleEndian.AppendUint64(b, v.Epoch)
	b = binary.LittleEndian.AppendUint64(b, v.LSN)
	b = binary.LittleEndian.AppendUint64(b, v.Expires)
	b = append(b, key...)
	w.data = len(b)
	w.buf = append(b, v.Data...)
	w.count++
}

// more appends to the data of the item.
func (w *chunkWriter) more(b []byte) { w.buf = append(w.buf, b...) }

// itemEnd ends the item and returns its data.
func (w *chunkWriter) itemEnd() []byte {
	binary.LittleEndian.PutUint32(w.buf[w.item+2:], uint32(len(w.buf)-w.data))
	return w.buf[w.data:len(w.buf):len(w.buf)]
}

// end returns buf with the whole chunk.
func (w *chunkWriter) end() []byte {
	binary.LittleEndian.PutUint32(w.buf[w.start+1:], w.count)
	return binary.LittleEndian.AppendUint32(w.buf, crc32.Checksum(w.buf[w.start:], castagnoli))
}

// DecodeChunk returns the items of a chunk; keys and values point into b.
// Everything is checked before anything is allocated. Errors wrap [ErrChunk].
func DecodeChunk(b []byte) ([]Item, error) {
	if len(b) < chunkHeader+chunkTrailer {
		return nil, fmt.Errorf("%w: %d bytes", ErrChunk, len(b))
	}
	if b[0] != chunkVersion {
		return nil, fmt.Errorf("%w: version %d, this program knows version %d", ErrChunk, b[0], chunkVersion)
	}
	body := b[:len(b)-chunkTrailer]
	if crc32.Checksum(body, castagnoli) != binary.LittleEndian.Uint32(b[len(body):]) {
		return nil, fmt.Errorf("%w: the checksum does not match", ErrChunk)
	}
	count, body := binary.LittleEndian.Uint32(body[1:]), body[chunkHeader:]
	if uint64(count)*itemHeader > uint64(len(body)) {
		return nil, fmt.Errorf("%w: %d items in %d bytes", ErrChunk, count, len(body))
	}
	items := make([]Item, count)
	for i := range items {
		var ok bool
		if items[i], body, ok = cutItem(body); !ok {
			return nil, fmt.Errorf("%w: item %d ends early", ErrChunk, i)
		}
	}
	if len(body) > 0 {
		return nil, fmt.Errorf("%w: %d bytes behind the last item", ErrChunk, len(body))
	}
	return items, nil
}

func cutItem(b []byte) (item Item, rest []byte, ok bool) {
	if len(b) < itemHeader {
		return Item{}, nil, false
	}
	keyEnd := itemHeader + uint64(binary.LittleEndian.Uint16(b))
	end := keyEnd + uint64(binary.LittleEndian.Uint32(b[2:]))
	if end > uint64(len(b)) {
		return Item{}, nil, false
	}
	return Item{
		Key: b[itemHeader:keyEnd:keyEnd],
		Value: Value{
			Data:    b[keyEnd:end:end],
			Epoch:   binary.LittleEndian.Uint64(b[6:]),
			LSN:     binary.LittleEndian.Uint64(b[14:]),
			Expires: binary.LittleEndian.Uint64(b[22:]),
		},
	}, b[end:], true
}
