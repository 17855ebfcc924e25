package wal

import (
	"crypto/rand"
	"encoding/binary"
	"hash/crc32"
	"sync"
)

// A group is what one write makes durable. On disk it is a header and the
// records:
//
//	magic (4) | segment (4) | sequence (8) | identity (8) | length of the records (4) | CRC32C (4)
//
// It starts on a multiple of [sector], so that writing it never touches a
// sector of one that was acknowledged. The segment's number in the header
// makes what a file held under an older name invalid; the sequence counts the
// groups of the whole log without a gap. The identity is a random number that
// the log drew when it was created: clients choose what a reused segment is
// full of, and could otherwise write values that pass for groups to come.
const (
	groupMagic  = 0x31574b43 // "CKW1"
	groupHeader = 4 + 4 + 8 + 8 + 4 + 4
	// groupIdentity is the length of what seeds the CRCs of the records.
	groupIdentity = 4 + 4 + 8 + 8
	sector        = 512
)

func align(n int64) int64 { return (n + sector - 1) &^ (sector - 1) }

type group struct {
	segment *segment
	offset  int64
	seq     uint64
	seed    uint32
	// buf starts with the header, whose length and CRC are set by seal.
	buf    []byte
	sealed bool
	// counted is the group's share of the pending bytes.
	counted int64
	// written wakes those who wait for the group: all when it is durable, one
	// when it is next.
	written sync.Cond
}

func (g *group) begin(identity uint64, s *segment, offset int64, seq uint64) {
	g.segment, g.offset, g.seq, g.sealed, g.counted = s, offset, seq, false, 0
	g.buf = binary.LittleEndian.AppendUint32(g.buf[:0], groupMagic)
	g.buf = binary.LittleEndian.AppendUint32(g.buf, s.seq)
	g.buf = binary.LittleEndian.AppendUint64(g.buf, seq)
	g.buf = binary.LittleEndian.AppendUint64(g.buf, identity)
	g.seed = crc32.Checksum(g.buf, castagnoli)
	g.buf = append(g.buf, zeros[:groupHeader-groupIdentity]...)
}

// end is where the group after this one starts.
func (g *group) end() int64 { return align(g.offset + int64(len(g.buf))) }

// seal completes the header and pads the group to whole sectors.
func (g *group) seal() {
	binary.LittleEndian.PutUint32(g.buf[groupIdentity:], uint32(len(g.buf)-groupHeader))
	binary.LittleEndian.PutUint32(g.buf[groupHeader-4:], crc32.Checksum(g.buf[:groupHeader-4], castagnoli))
	g.buf = append(g.buf, zeros[:align(int64(len(g.buf)))-int64(len(g.buf))]...)
	g.sealed = true
}

// header is what a group's header says.
type header struct {
	segment  uint32
	seq      uint64
	identity uint64
	length   int64
	seed     uint32
}

// parseHeader returns the header at the start of b, if there is a valid one.
func parseHeader(b []byte) (header, bool) {
	if len(b) < groupHeader || binary.LittleEndian.Uint32(b) != groupMagic ||
		crc32.Checksum(b[:groupHeader-4], castagnoli) != binary.LittleEndian.Uint32(b[groupHeader-4:]) {
		return header{}, false
	}
	return header{
		segment:  binary.LittleEndian.Uint32(b[4:]),
		seq:      binary.LittleEndian.Uint64(b[8:]),
		identity: binary.LittleEndian.Uint64(b[16:]),
		length:   int64(binary.LittleEndian.Uint32(b[groupIdentity:])),
		seed:     crc32.Checksum(b[:groupIdentity], castagnoli),
	}, true
}

// newIdentity returns a random number other than 0.
func newIdentity() uint64 {
	var b [8]byte
	for {
		_, _ = rand.Read(b[:]) // never fails
		if id := binary.LittleEndian.Uint64(b[:]); id != 0 {
			return id
		}
	}
}
