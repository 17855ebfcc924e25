// Package op encodes the operations inside a log entry. The encoding is what
// replicas exchange and what the log keeps, so it carries a version.
//
// An entry without operations is empty; the replication protocol uses it as
// its no-op. Any other entry is
//
//	version (1 byte) | operation ...
//	operation = kind (1 byte) | key length | key | value length | value
//
// with lengths as minimal unsigned varints; a [Delete] has no value and ends
// with its key. Every sequence of operations has exactly one encoding, hence
// equal entries are equal bytes on all replicas.
package op

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// Kind says what an operation does to its key.
type Kind uint8

const (
	// Set gives the key a new value.
	Set Kind = 1
	// Delete removes the key; it succeeds also when there is none.
	Delete Kind = 2
)

func (k Kind) String() string {
	switch k {
	case Set:
		return "set"
	case Delete:
		return "delete"
	default:
		return fmt.Sprintf("kind %d", uint8(k))
	}
}

// Op is one operation. Key is never empty; Value is nil for a [Delete].
type Op struct {
	Kind       Kind
	Key, Value []byte
}

// ErrInvalid is returned by [Decode] for bytes that [Append] cannot have
// produced, or that a newer version has.
var ErrInvalid = errors.New("invalid operation encoding")

const version = 1

// minEncoded is the smallest encoded operation: kind, key length, one byte.
const minEncoded = 3

// Append appends the encoding of ops to dst and returns the extended slice.
// Without operations it appends nothing. An operation with an empty key or an
// unknown kind is a mistake of the caller and panics: it could not be decoded
// again.
func Append(dst []byte, ops ...Op) []byte {
	if len(ops) == 0 {
		return dst
	}
	dst = append(dst, version)
	for _, o := range ops {
		if len(o.Key) == 0 || (o.Kind != Set && o.Kind != Delete) {
			panic(fmt.Sprintf("op: cannot encode %v of a key of %d bytes", o.Kind, len(o.Key)))
		}
		dst = append(dst, byte(o.Kind))
		dst = appendBytes(dst, o.Key)
		if o.Kind == Set {
			dst = appendBytes(dst, o.Value)
		}
	}
	return dst
}

// Decode returns the operations encoded in b, in their order; none for an
// empty b. Keys and values point into b. Everything is checked before
// anything is allocated: hostile input costs no memory. Errors wrap
// [ErrInvalid].
func Decode(b []byte) ([]Op, error) {
	if len(b) == 0 {
		return nil, nil
	}
	if b[0] != version {
		return nil, fmt.Errorf("%w: version %d, this program knows version %d", ErrInvalid, b[0], version)
	}
	if len(b) < 1+minEncoded {
		return nil, fmt.Errorf("%w: %d bytes hold no operation", ErrInvalid, len(b))
	}
	count := 0
	for rest := b[1:]; len(rest) > 0; count++ {
		var err error
		if _, rest, err = next(rest); err != nil {
			return nil, fmt.Errorf("%w: operation %d: %w", ErrInvalid, count, err)
		}
	}
	ops := make([]Op, count)
	rest := b[1:]
	for i := range ops {
		ops[i], rest, _ = next(rest)
	}
	return ops, nil
}

var (
	errKind      = errors.New("unknown kind")
	errEmptyKey  = errors.New("empty key")
	errLength    = errors.New("length is not a minimal varint")
	errTruncated = errors.New("ends early")
)

// next splits the first operation off b, which is not empty.
func next(b []byte) (o Op, rest []byte, err error) {
	o.Kind = Kind(b[0])
	if o.Kind != Set && o.Kind != Delete {
		return Op{}, nil, errKind
	}
	if o.Key, rest, err = cutBytes(b[1:]); err != nil {
		return Op{}, nil, err
	}
	if len(o.Key) == 0 {
		return Op{}, nil, errEmptyKey
	}
	if o.Kind == Set {
		if o.Value, rest, err = cutBytes(rest); err != nil {
			return Op{}, nil, err
		}
	}
	return o, rest, nil
}

func appendBytes(dst, s []byte) []byte {
	dst = binary.AppendUvarint(dst, uint64(len(s)))
	return append(dst, s...)
}

func cutBytes(b []byte) (s, rest []byte, err error) {
	length, n := binary.Uvarint(b)
	switch {
	case n == 0:
		return nil, nil, errTruncated
	case n < 0 || n > 1 && b[n-1] == 0:
		return nil, nil, errLength
	case length > uint64(len(b)-n):
		return nil, nil, errTruncated
	}
	end := n + int(length)
	return b[n:end:end], b[end:], nil
}
