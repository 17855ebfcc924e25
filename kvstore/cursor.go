package kvstore

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"hash/crc32"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// cursor is where a scan goes on.
type cursor struct {
	// only: the scan ends with the partition.
	only      bool
	partition uint32
	// node has the snapshot open under the number scan; that is 0 if the
	// partition has not been begun.
	node string
	scan uint64
	// prefix is what the keys begin with, and the beginning of from, the lowest
	// key that has not been looked at.
	prefix, from []byte
}

// A cursor is, in unpadded base64 for URLs,
//
//	format (1) | flags (1) | partition (4) | scan (8) | length of node (2) | node | length of prefix (2) | from | CRC32C (4)
//
// The checksum is against cut and mistyped ones. What is in a cursor anybody can
// make up: all of it is checked when it is used.
const (
	cursorFormat = 1
	cursorOnly   = 1
	cursorHead   = 1 + 1 + 4 + 8 + 2
)

var (
	errCursor = errors.New("it is not one that this cluster has given")

	castagnoli = crc32.MakeTable(crc32.Castagnoli)
)

func (c *cursor) encode() string {
	b := make([]byte, 0, cursorHead+len(c.node)+2+len(c.from)+4)
	b = append(b, cursorFormat, 0)
	if c.only {
		b[1] = cursorOnly
	}
	b = binary.LittleEndian.AppendUint32(b, c.partition)
	b = binary.LittleEndian.AppendUint64(b, c.scan)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(c.node)))
	b = append(b, c.node...)
	b = binary.LittleEndian.AppendUint16(b, uint16(len(c.prefix)))
	b = append(b, c.from...)
	b = binary.LittleEndian.AppendUint32(b, crc32.Checksum(b, castagnoli))
	return base64.RawURLEncoding.EncodeToString(b)
}

// decodeCursor is for what came from outside. What it returns is well-formed;
// whether there is such a partition, node or scan is not known.
func decodeCursor(text string) (c cursor, err error) {
	if len(text) > api.MaxCursorBytes {
		return c, errCursor
	}
	b, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(b) < cursorHead+2+4 {
		return c, errCursor
	}
	body, sum := b[:len(b)-4], binary.LittleEndian.Uint32(b[len(b)-4:])
	if body[0] != cursorFormat || body[1]&^cursorOnly != 0 || crc32.Checksum(body, castagnoli) != sum {
		return c, errCursor
	}
	c.only = body[1] == cursorOnly
	c.partition = binary.LittleEndian.Uint32(body[2:])
	c.scan = binary.LittleEndian.Uint64(body[6:])
	node, rest := int(binary.LittleEndian.Uint16(body[cursorHead-2:])), body[cursorHead:]
	if len(rest) < node+2 {
		return c, errCursor
	}
	c.node, rest = string(rest[:node]), rest[node:]
	prefix := int(binary.LittleEndian.Uint16(rest))
	c.from = rest[2:]
	if prefix > len(c.from) || len(c.from) > api.MaxKeyBytes || (c.scan == 0) != (c.node == "") {
		return c, errCursor
	}
	c.prefix = c.from[:prefix]
	return c, nil
}
