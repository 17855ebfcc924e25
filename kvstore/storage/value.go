package storage

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"runtime/debug"

	"github.com/cespare/xxhash/v2"
	"github.com/dgraph-io/badger/v4"
)

// Value is a value and its version, the position of the entry that set it.
type Value struct {
	Data       []byte
	Epoch, LSN uint64
	// Expires is when the value reads as absent, on the partition's clock; 0 is
	// never. The store keeps it, and judges nothing by it.
	Expires uint64
}

// A value in Badger is
//
//	format (1) | epoch (8) | LSN (8) | expiry (8) | CRC32C (4) | data
//
// The CRC covers the partition, the key, the numbers and all data. Of
// a long one, the data from splitAt on stand under another key, so that no
// value ever reaches Badger's value log.
const (
	formatWhole = 1
	formatSplit = 2
	valueHeader = 1 + 8 + 8 + 8 + 4
	splitAt     = inlineLimit / 2
)

func valueCRC(partition uint32, key []byte, v Value) uint32 {
	var b [28]byte
	binary.LittleEndian.PutUint32(b[:], partition)
	binary.LittleEndian.PutUint64(b[4:], v.Epoch)
	binary.LittleEndian.PutUint64(b[12:], v.LSN)
	binary.LittleEndian.PutUint64(b[20:], v.Expires)
	crc := crc32.Checksum(b[:], castagnoli)
	crc = crc32.Update(crc, castagnoli, key)
	return crc32.Update(crc, castagnoli, v.Data)
}

// encodeValue returns what is stored for v; rest is nil unless v is long.
func encodeValue(partition uint32, key []byte, v Value) (main, rest []byte) {
	main, rest = v.parts()
	return appendMain(make([]byte, 0, valueHeader+len(main)), partition, key, v, main), rest
}

// appendValue appends what encodeValue returns to dst, where main and rest
// stand then.
func appendValue(dst []byte, partition uint32, key []byte, v Value) (_, main, rest []byte) {
	head, tail := v.parts()
	start := len(dst)
	dst = appendMain(dst, partition, key, v, head)
	end := len(dst)
	if tail != nil {
		dst = append(dst, tail...)
		rest = dst[end:len(dst):len(dst)]
	}
	return dst, dst[start:end:end], rest
}

// parts returns the data that stand behind the header, and those that stand
// elsewhere, nil if the value is whole.
func (v *Value) parts() (head, rest []byte) {
	if valueHeader+len(v.Data) >= inlineLimit {
		return v.Data[:splitAt], v.Data[splitAt:]
	}
	return v.Data, nil
}

func appendMain(dst []byte, partition uint32, key []byte, v Value, head []byte) []byte {
	format := byte(formatWhole)
	if len(head) < len(v.Data) {
		format = formatSplit
	}
	dst = append(dst, format)
	dst = binary.LittleEndian.AppendUint64(dst, v.Epoch)
	dst = binary.LittleEndian.AppendUint64(dst, v.LSN)
	dst = binary.LittleEndian.AppendUint64(dst, v.Expires)
	dst = binary.LittleEndian.AppendUint32(dst, valueCRC(partition, key, v))
	return append(dst, head...)
}

// stored is an item as Badger has it: the value with its header.
type stored []byte

func (b stored) check() error {
	if len(b) < valueHeader || b[0] != formatWhole && b[0] != formatSplit {
		return fmt.Errorf("%w: not a value", ErrCorrupt)
	}
	return nil
}

func (b stored) split() bool { return b[0] == formatSplit }

// value returns what is in b, which was checked; its data point into b, and
// are the first part of them if it is split.
func (b stored) value() Value {
	return Value{
		Data:    b[valueHeader:len(b):len(b)],
		Epoch:   binary.LittleEndian.Uint64(b[1:]),
		LSN:     binary.LittleEndian.Uint64(b[9:]),
		Expires: binary.LittleEndian.Uint64(b[17:]),
	}
}

// crc is that of the whole value.
func (b stored) crc() uint32 { return binary.LittleEndian.Uint32(b[valueHeader-4:]) }

// hasher computes what items add to the digest of their partition.
type hasher struct{ buf []byte }

// hash returns the share of an item. The CRC in its header stands for the
// data.
func (h *hasher) hash(b stored, key []byte) uint64 {
	h.buf = append(append(h.buf[:0], b[1:valueHeader]...), key...)
	return xxhash.Sum64(h.buf)
}

// readItem returns the verified value of an item of generation g, in memory
// of the caller's own.
func readItem(txn *badger.Txn, item *badger.Item, g generation) (Value, error) {
	key := item.Key()[itemPrefix:]
	raw, err := item.ValueCopy(nil)
	if err != nil {
		return Value{}, err
	}
	b := stored(raw)
	if err := b.check(); err != nil {
		return Value{}, fmt.Errorf("key %q of partition %d: %w", key, g.partition, err)
	}
	v := b.value()
	if b.split() {
		err := viewRest(txn, g, key, func(rest []byte) { v.Data = append(v.Data, rest...) })
		if err != nil {
			return Value{}, err
		}
	}
	if valueCRC(g.partition, key, v) != b.crc() {
		return Value{}, g.mismatch(key)
	}
	return v, nil
}

// verifyItem is readItem for b, which an item has, without a copy. It returns
// how long the rest of the value is that stands elsewhere.
func verifyItem(txn *badger.Txn, g generation, key []byte, b stored) (rest int, err error) {
	if err := b.check(); err != nil {
		return 0, fmt.Errorf("key %q of partition %d: %w", key, g.partition, err)
	}
	crc := valueCRC(g.partition, key, b.value())
	if b.split() {
		err = viewRest(txn, g, key, func(data []byte) {
			rest = len(data)
			crc = crc32.Update(crc, castagnoli, data)
		})
	}
	if err == nil && crc != b.crc() {
		err = g.mismatch(key)
	}
	return rest, err
}

// viewRest calls f with the rest of a split value.
func viewRest(txn *badger.Txn, g generation, key []byte, f func([]byte)) error {
	item, err := txn.Get(g.rest().key(key))
	if err != nil {
		return fmt.Errorf("%w: the rest of key %q of partition %d: %w", ErrCorrupt, key, g.partition, err)
	}
	return item.Value(func(rest []byte) error {
		f(rest)
		return nil
	})
}

func (g generation) mismatch(key []byte) error {
	return fmt.Errorf("%w: the checksum of key %q of partition %d does not match", ErrCorrupt, key, g.partition)
}

// recovered turns a panic into ErrCorrupt: Badger trusts what stands in a
// block, and reads from a mapped file, where a sector that the disk cannot
// read is a fault. It is deferred with debug.SetPanicOnFault(true), which it
// takes back.
func recovered(err *error, faults bool) {
	debug.SetPanicOnFault(faults)
	if p := recover(); p != nil {
		*err = fmt.Errorf("%w: badger: %v", ErrCorrupt, p)
	}
}
