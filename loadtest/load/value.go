package load

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"strconv"
)

// MinValueSize is the smallest value that describes itself, in bytes.
const MinValueSize = 96

const (
	valueMagic    = "loadtest1"
	checksumBytes = 8
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// encodeValue returns the value of the seq-th write to key: magic, key and
// sequence number separated by spaces, filler, and the CRC-32C of all that in
// hexadecimal. So a value that is read says which write it is from, and
// whether it is whole.
func encodeValue(key string, seq uint64, size int) []byte {
	v := make([]byte, 0, size)
	v = fmt.Appendf(v, "%s %s %d ", valueMagic, key, seq)
	for i := len(v); i < size-checksumBytes; i++ {
		v = append(v, 'a'+byte((uint64(i)+seq)%26))
	}
	return fmt.Appendf(v, "%08x", crc32.Checksum(v, castagnoli))
}

// decodeValue returns what encodeValue was given.
func decodeValue(v []byte) (key string, seq uint64, err error) {
	if len(v) < checksumBytes {
		return "", 0, fmt.Errorf("a value of %d bytes is not one of ours", len(v))
	}
	body, sum := v[:len(v)-checksumBytes], v[len(v)-checksumBytes:]
	if want := fmt.Appendf(nil, "%08x", crc32.Checksum(body, castagnoli)); !bytes.Equal(sum, want) {
		return "", 0, fmt.Errorf("checksum %q, want %q", sum, want)
	}
	fields := bytes.SplitN(body, []byte(" "), 4)
	if len(fields) < 4 || string(fields[0]) != valueMagic {
		return "", 0, fmt.Errorf("value %.40q is not one of ours", v)
	}
	seq, err = strconv.ParseUint(string(fields[2]), 10, 64)
	if err != nil {
		return "", 0, fmt.Errorf("sequence number: %w", err)
	}
	return string(fields[1]), seq, nil
}
