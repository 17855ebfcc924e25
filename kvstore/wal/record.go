package wal

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
)

// Position is a place in the log of a partition: the entry with that LSN,
// which was written in that epoch.
type Position struct{ Epoch, LSN uint64 }

// Entry is one entry of a partition's log. LSNs are consecutive from 1.
type Entry struct {
	Epoch, LSN uint64
	Data       []byte
}

// Kind says what a [Record] means.
type Kind uint8

const (
	// KindEntry appends Entry{Epoch, LSN, Data} to the partition's log. If
	// that LSN exists, it and all above it are replaced.
	KindEntry Kind = 1
	// KindState replaces the small opaque state of the partition by Data.
	KindState Kind = 2
	// KindReset forgets all entries of the partition; its log goes on above
	// the position {Epoch, LSN}. The state stays.
	KindReset Kind = 3
	// kindHead repeats, at the head of a segment, where the partition's log
	// ends {Epoch, LSN} and its state, so that older segments can go.
	kindHead Kind = 4
)

// Record is one step of the log. [Log.Append] copies Data.
type Record struct {
	Kind       Kind
	Partition  uint32
	Epoch, LSN uint64
	Data       []byte
}

// EntryRecord appends e to the log of partition.
func EntryRecord(partition uint32, e Entry) Record {
	return Record{Kind: KindEntry, Partition: partition, Epoch: e.Epoch, LSN: e.LSN, Data: e.Data}
}

// StateRecord replaces the state of partition. An empty state together with a
// reset to position {0, 0} makes the log forget the partition.
func StateRecord(partition uint32, state []byte) Record {
	return Record{Kind: KindState, Partition: partition, Data: state}
}

// ResetRecord forgets the entries of partition, whose log goes on above base.
func ResetRecord(partition uint32, base Position) Record {
	return Record{Kind: KindReset, Partition: partition, Epoch: base.Epoch, LSN: base.LSN}
}

func (r Record) position() Position { return Position{r.Epoch, r.LSN} }

// A record on disk is
//
//	CRC32C | kind (1) | partition (4) | epoch (8) | LSN (8) |
//	epoch of the entry before (8) | length of data (4) | data
//
// in little-endian order. The CRC covers all after it and is seeded with that
// of the group's identity, so that the bytes of another group never pass.
const recordHeader = 4 + 1 + 4 + 8 + 8 + 8 + 4

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func recordSize(data int) int64 { return recordHeader + int64(data) }

func appendRecord(dst []byte, seed uint32, r Record, prevEpoch uint64) []byte {
	start := len(dst)
	dst = append(dst, 0, 0, 0, 0, byte(r.Kind))
	dst = binary.LittleEndian.AppendUint32(dst, r.Partition)
	dst = binary.LittleEndian.AppendUint64(dst, r.Epoch)
	dst = binary.LittleEndian.AppendUint64(dst, r.LSN)
	dst = binary.LittleEndian.AppendUint64(dst, prevEpoch)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(r.Data)))
	dst = append(dst, r.Data...)
	binary.LittleEndian.PutUint32(dst[start:], crc32.Update(seed, castagnoli, dst[start+4:]))
	return dst
}

var errRecord = errors.New("damaged record")

// cutRecord splits the first record off b. Data points into b.
func cutRecord(b []byte, seed uint32) (r Record, prevEpoch uint64, rest []byte, err error) {
	if len(b) < recordHeader {
		return Record{}, 0, nil, errRecord
	}
	length := binary.LittleEndian.Uint32(b[recordHeader-4:])
	if uint64(length) > uint64(len(b)-recordHeader) {
		return Record{}, 0, nil, errRecord
	}
	end := recordHeader + int(length)
	if crc32.Update(seed, castagnoli, b[4:end]) != binary.LittleEndian.Uint32(b) {
		return Record{}, 0, nil, errRecord
	}
	r = Record{
		Kind:      Kind(b[4]),
		Partition: binary.LittleEndian.Uint32(b[5:]),
		Epoch:     binary.LittleEndian.Uint64(b[9:]),
		LSN:       binary.LittleEndian.Uint64(b[17:]),
		Data:      b[recordHeader:end:end],
	}
	return r, binary.LittleEndian.Uint64(b[25:]), b[end:], nil
}
