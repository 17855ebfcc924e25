// Package op encodes the effects of a write inside a log entry: what its keys
// become, decided by the primary. The encoding is what replicas exchange and
// what the log keeps, so it carries a version.
//
// An entry without operations is empty; the replication protocol uses it as
// its no-op. Any other entry is
//
//	version (1 byte) | clock | operation ...
//	operation = kind (1 byte) | key length | key [ | expiry | value length | value ]
//
// with numbers as minimal unsigned varints; a [Delete] ends with its key. Every
// [Entry] has exactly one encoding, hence equal entries are equal bytes on all
// replicas.
package op

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
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

// Op is one operation. Key is never empty; Value and Expires belong to a [Set].
type Op struct {
	Kind       Kind
	Key, Value []byte
	// Expires is when the value reads as absent, in milliseconds of the
	// partition's clock; 0 is never.
	Expires uint64
}

// Entry is what one log entry does: all of its operations, or none.
type Entry struct {
	// Clock is the partition's clock when the entry was made, in milliseconds.
	Clock uint64
	Ops   []Op
}

// ErrInvalid is returned by [Decode] for bytes that [Append] cannot have
// produced, or that a newer version has.
var ErrInvalid = errors.New("invalid operation encoding")

const version = 2

// minEncoded is the smallest encoded operation: kind, key length, one byte.
const minEncoded = 3

// Append appends the encoding of e to dst and returns the extended slice.
// Without operations it appends nothing. An operation with an empty key or an
// unknown kind is a mistake of the caller and panics: it could not be decoded
// again.
func Append(dst []byte, e Entry) []byte {
	if len(e.Ops) == 0 {
		return dst
	}
	dst = append(dst, version)
	dst = binary.AppendUvarint(dst, e.Clock)
	for _, o := range e.Ops {
		if len(o.Key) == 0 || (o.Kind != Set && o.Kind != Delete) {
			panic(fmt.Sprintf("op: cannot encode %v of a key of %d bytes", o.Kind, len(o.Key)))
		}
		dst = append(dst, byte(o.Kind))
		dst = appendBytes(dst, o.Key)
		if o.Kind == Set {
			dst = binary.AppendUvarint(dst, o.Expires)
			dst = appendBytes(dst, o.Value)
		}
	}
	return dst
}

// Own returns the encoding of e in memory of its own, and makes the keys and
// values of e's operations point into it: whatever they pointed to before may
// then be reused.
func Own(e Entry) []byte {
	b := Append(make([]byte, 0, size(e)), e)
	if len(b) == 0 {
		return b
	}
	_, rest, _ := cutNumber(b[1:])
	for i := range e.Ops {
		e.Ops[i], rest, _ = next(rest)
	}
	return b
}

// size is how many bytes the encoding of e has.
func size(e Entry) int {
	if len(e.Ops) == 0 {
		return 0
	}
	n := 1 + uvarintLen(e.Clock)
	for i := range e.Ops {
		o := &e.Ops[i]
		n += 1 + uvarintLen(uint64(len(o.Key))) + len(o.Key)
		if o.Kind == Set {
			n += uvarintLen(o.Expires) + uvarintLen(uint64(len(o.Value))) + len(o.Value)
		}
	}
	return n
}

func uvarintLen(n uint64) int { return (bits.Len64(n|1) + 6) / 7 }

// Decode returns the entry encoded in b; it is empty for an empty b. Keys and
// values point into b. Everything is checked before anything is allocated:
// hostile input costs no memory. Errors wrap [ErrInvalid].
func Decode(b []byte) (Entry, error) {
	if len(b) == 0 {
		return Entry{}, nil
	}
	if b[0] != version {
		return Entry{}, fmt.Errorf("%w: version %d, this program knows version %d", ErrInvalid, b[0], version)
	}
	clock, body, err := cutNumber(b[1:])
	if err != nil {
		return Entry{}, fmt.Errorf("%w: clock: %w", ErrInvalid, err)
	}
	if len(body) < minEncoded {
		return Entry{}, fmt.Errorf("%w: %d bytes hold no operation", ErrInvalid, len(b))
	}
	count := 0
	for rest := body; len(rest) > 0; count++ {
		if _, rest, err = next(rest); err != nil {
			return Entry{}, fmt.Errorf("%w: operation %d: %w", ErrInvalid, count, err)
		}
	}
	ops := make([]Op, count)
	for i := range ops {
		ops[i], body, _ = next(body)
	}
	return Entry{Clock: clock, Ops: ops}, nil
}

var (
	errKind      = errors.New("unknown kind")
	errEmptyKey  = errors.New("empty key")
	errLength    = errors.New("number is not a minimal varint")
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
		if o.Expires, rest, err = cutNumber(rest); err != nil {
			return Op{}, nil, err
		}
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

func cutNumber(b []byte) (number uint64, rest []byte, err error) {
	number, n := binary.Uvarint(b)
	switch {
	case n == 0:
		return 0, nil, errTruncated
	case n < 0 || n > 1 && b[n-1] == 0:
		return 0, nil, errLength
	}
	return number, b[n:], nil
}

func cutBytes(b []byte) (s, rest []byte, err error) {
	length, b, err := cutNumber(b)
	switch {
	case err != nil:
		return nil, nil, err
	case length > uint64(len(b)):
		return nil, nil, errTruncated
	}
	return b[:length:length], b[length:], nil
}
