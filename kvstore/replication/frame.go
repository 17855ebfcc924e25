package replication

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"io"
	"iter"
	"math"

	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// A frame is
//
//	length of the body (4 bytes) | CRC-32C of the body (4 bytes) | body
//	body    = version (1 byte) | message ...
//	message = partition | kind | status | from | to | epoch | prev epoch |
//	          prev lsn | commit | durable | hint epoch | hint lsn | round |
//	          number of entries | entry ...
//	entry   = epoch | length | data
//
// with all numbers of messages and entries as unsigned varints; from and to
// are the incarnations of the members, whose node and store the connection
// stands for. The entries' LSNs follow prev.
const (
	frameVersion = 1
	headerBytes  = 8
	// maxFrameBytes bounds what a peer can make this node allocate: it is more
	// than frameTarget, maxQueued answers and one message.
	maxFrameBytes = 16 << 20
	// maxMessageBytes bounds what the entries of one message make this node
	// write and keep, each counted with entryCost beside its data. A message
	// goes into the log as a whole; a sender stops at a quarter of it.
	maxMessageBytes = 4 << 20
	entryCost       = 64
	// allocationStep is what is allocated for a body before any of it is there.
	allocationStep = 2 << 20
	// minEntryBytes is the least that an entry takes in a body.
	minEntryBytes = 2
	// maxNumber keeps epochs, LSNs and rounds clear of overflow.
	maxNumber = 1 << 62
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// Envelope is a message and the partition it belongs to.
type Envelope struct {
	Partition uint32
	Message   partition.Message
}

// beginFrame returns buf as an empty frame.
func beginFrame(buf []byte) []byte {
	return append(buf[:0], 0, 0, 0, 0, 0, 0, 0, 0, frameVersion)
}

// finishFrame fills in the header.
func finishFrame(buf []byte) {
	binary.LittleEndian.PutUint32(buf, uint32(len(buf)-headerBytes))
	binary.LittleEndian.PutUint32(buf[4:], crc32.Checksum(buf[headerBytes:], castagnoli))
}

func appendMessage(buf []byte, part uint32, m *partition.Message) []byte {
	for _, v := range [...]uint64{
		uint64(part), uint64(m.Kind), uint64(m.Status), m.From.Incarnation, m.To.Incarnation,
		m.Epoch, m.Prev.Epoch, m.Prev.LSN, m.Commit, m.Durable, m.Hint.Epoch, m.Hint.LSN, m.Round,
		uint64(len(m.Entries)),
	} {
		buf = binary.AppendUvarint(buf, v)
	}
	for i := range m.Entries {
		e := &m.Entries[i]
		buf = binary.AppendUvarint(buf, e.Epoch)
		buf = binary.AppendUvarint(buf, uint64(len(e.Data)))
		buf = append(buf, e.Data...)
	}
	return buf
}

// readFrame reads one frame and returns its body, which the caller owns. It
// returns io.EOF only where the stream ends between two frames.
func readFrame(r io.Reader) ([]byte, error) {
	var header [headerBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		return nil, err
	}
	size := binary.LittleEndian.Uint32(header[:])
	if size == 0 || size > maxFrameBytes {
		return nil, Reject(BadLength, "body of %d bytes, at most %d are allowed", size, maxFrameBytes)
	}
	body, err := readBody(r, int(size))
	if err != nil {
		return nil, err
	}
	if sum := crc32.Checksum(body, castagnoli); sum != binary.LittleEndian.Uint32(header[4:]) {
		return nil, Reject(BadChecksum, "the checksum does not match")
	}
	if body[0] != frameVersion {
		return nil, Reject(UnknownVersion, "version %d, this node speaks %d", body[0], frameVersion)
	}
	return body, nil
}

// readBody reads size bytes and allocates in steps, so that a header alone
// costs no memory. A stream that ends here was cut.
func readBody(r io.Reader, size int) ([]byte, error) {
	body := make([]byte, min(size, allocationStep))
	for read := 0; ; {
		n, err := io.ReadFull(r, body[read:])
		if errors.Is(err, io.EOF) {
			return nil, io.ErrUnexpectedEOF
		}
		if err != nil {
			return nil, err
		}
		if read += n; read == size {
			return body, nil
		}
		body = append(body, make([]byte, min(size-read, len(body)))...)
	}
}

// messages returns those of a body, up to the first that cannot be right; the
// error then comes in its place. Entries point into the body. from and to
// complete the members. Nothing is allocated for a message before all that it
// claims is checked.
func messages(body []byte, from, to Peer) iter.Seq2[Envelope, error] {
	return func(yield func(Envelope, error) bool) {
		d := decoder{rest: body[1:]}
		for len(d.rest) > 0 {
			env, err := d.message(from, to)
			if !yield(env, err) || err != nil {
				return
			}
		}
	}
}

// message cuts the first message off.
func (d *decoder) message(from, to Peer) (env Envelope, err error) {
	m := &env.Message
	part := d.uvarint()
	kind, status := d.uvarint(), d.uvarint()
	m.From = partition.Member{Node: from.Node, Store: from.Store, Incarnation: d.uvarint()}
	m.To = partition.Member{Node: to.Node, Store: to.Store, Incarnation: d.uvarint()}
	m.Epoch, m.Prev.Epoch, m.Prev.LSN = d.uvarint(), d.uvarint(), d.uvarint()
	m.Commit, m.Durable = d.uvarint(), d.uvarint()
	m.Hint.Epoch, m.Hint.LSN, m.Round = d.uvarint(), d.uvarint(), d.uvarint()
	n := d.uvarint()
	switch {
	case d.failed:
		return env, Reject(Malformed, "a message ends early")
	case part > math.MaxUint32:
		return env, Reject(BadPartition, "partition %d", part)
	case kind == 0 || kind > uint64(partition.Behind) || status > uint64(partition.NotMember):
		return env, Reject(Malformed, "message of partition %d has kind %d and status %d", part, kind, status)
	case n > 0 && kind != uint64(partition.Append):
		return env, Reject(Malformed, "message of partition %d and kind %d has %d entries", part, kind, n)
	case max(m.Epoch, m.Prev.Epoch, m.Hint.Epoch) > maxNumber:
		return env, Reject(BadEpoch, "message of partition %d has epochs %d, %d and %d", part, m.Epoch, m.Prev.Epoch, m.Hint.Epoch)
	case max(m.Prev.LSN, m.Commit, m.Durable, m.Hint.LSN, m.Round) > maxNumber:
		return env, Reject(Malformed, "message of partition %d has a number above 2^62", part)
	case n > maxMessageBytes/entryCost:
		return env, Reject(Oversized, "message of partition %d has %d entries, at most %d are allowed", part, n, maxMessageBytes/entryCost)
	case n > uint64(len(d.rest)/minEntryBytes):
		return env, Reject(Malformed, "message of partition %d has %d entries in %d bytes", part, n, len(d.rest))
	}
	env.Partition, m.Kind, m.Status = uint32(part), partition.Kind(kind), partition.Status(status)
	return env, d.entries(&env, int(n))
}

// entries cuts off the entries of a message, whose epochs rise from that of
// the position before them to that of the message.
func (d *decoder) entries(env *Envelope, n int) error {
	if n == 0 {
		return nil
	}
	m := &env.Message
	m.Entries = make([]partition.Entry, n)
	epoch, size := m.Prev.Epoch, n*entryCost
	for i := range m.Entries {
		e := partition.Entry{Epoch: d.uvarint(), LSN: m.Prev.LSN + 1 + uint64(i), Data: d.bytes()}
		if e.Epoch < epoch || e.Epoch > m.Epoch {
			if d.failed {
				break
			}
			return Reject(BadEpoch, "entry %d of partition %d has epoch %d after %d, in a message of epoch %d", e.LSN, env.Partition, e.Epoch, epoch, m.Epoch)
		}
		epoch, size = e.Epoch, size+len(e.Data)
		m.Entries[i] = e
	}
	switch {
	case d.failed:
		return Reject(Malformed, "an entry of partition %d ends early", env.Partition)
	case size > maxMessageBytes:
		return Reject(Oversized, "the entries of partition %d take %d bytes, at most %d are allowed", env.Partition, size, maxMessageBytes)
	default:
		return nil
	}
}

// decoder reads varints; after the first failure it returns zeros.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) uvarint() uint64 {
	v, n := binary.Uvarint(d.rest)
	if n <= 0 {
		d.failed, d.rest = true, nil
		return 0
	}
	d.rest = d.rest[n:]
	return v
}

func (d *decoder) bytes() []byte {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.failed, d.rest = true, nil
		return nil
	}
	b := d.rest[:n:n]
	d.rest = d.rest[n:]
	if n == 0 {
		return nil
	}
	return b
}
