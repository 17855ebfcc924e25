package wal

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

const segmentSuffix = ".wal"

// segment is one file of the log. Its fields but readers and partitions do
// not change while the log uses it.
type segment struct {
	seq  uint32
	name string
	file File
	size int64
	// partitions are those that have had entries in the segment.
	partitions map[uint32]struct{}
	// readers count the reads in flight, during which it is not retired.
	readers int
}

func segmentName(dir string, seq uint32) string {
	return filepath.Join(dir, fmt.Sprintf("%08x%s", seq, segmentSuffix))
}

// segmentSeq is the inverse of segmentName, for a name without directory.
func segmentSeq(name string) (uint32, bool) {
	hex, ok := strings.CutSuffix(name, segmentSuffix)
	if !ok || len(hex) != 8 {
		return 0, false
	}
	seq, err := strconv.ParseUint(hex, 16, 32)
	return uint32(seq), err == nil && seq > 0
}

// writeGroup makes g durable.
func (s *segment) writeGroup(g *group) error {
	return s.file.WriteSync(g.buf, g.offset)
}

// fillStep is how many zeros are made durable at once: small enough not to
// hold up the fdatasync of a group for long.
const fillStep = 1 << 20

var zeros = make([]byte, fillStep)

// fill extends the file to size with zeros, durably.
func (s *segment) fill(size int64) error {
	for s.size < size {
		n := min(size-s.size, fillStep)
		if _, err := s.file.WriteAt(zeros[:n], s.size); err != nil {
			return err
		}
		if err := s.file.Sync(); err != nil {
			return err
		}
		s.size += n
	}
	return nil
}
