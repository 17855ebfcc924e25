package replication

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

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
	// maxFrameBytes bounds what a peer can make this node allocate.
	maxFrameBytes = 64 << 20
	// allocationStep is what is allocated for a body before any of it is there.
	allocationStep = 2 << 20
	// minEntryBytes and minMessageBytes bound how many a body can hold.
	minEntryBytes = 2
)

// ErrFrame is wrapped by every error about a frame that cannot be decoded:
// the other end speaks another version, or the bytes were damaged.
var ErrFrame = errors.New("replication: bad frame")

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
		return nil, fmt.Errorf("%w: body of %d bytes, at most %d are allowed", ErrFrame, size, maxFrameBytes)
	}
	body, err := readBody(r, int(size))
	if err != nil {
		return nil, err
	}
	if sum := crc32.Checksum(body, castagnoli); sum != binary.LittleEndian.Uint32(header[4:]) {
		return nil, fmt.Errorf("%w: checksum does not match", ErrFrame)
	}
	if body[0] != frameVersion {
		return nil, fmt.Errorf("%w: version %d, this node speaks %d", ErrFrame, body[0], frameVersion)
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

// decodeFrame calls deliver for each message of a body. Entries point into
// the body. from and to complete the members.
func decodeFrame(body []byte, from, to Peer, deliver func(Envelope)) error {
	d := decoder{rest: body[1:]}
	for len(d.rest) > 0 {
		var env Envelope
		m := &env.Message
		part := d.uvarint()
		kind, status := d.uvarint(), d.uvarint()
		m.From = partition.Member{Node: from.Node, Store: from.Store, Incarnation: d.uvarint()}
		m.To = partition.Member{Node: to.Node, Store: to.Store, Incarnation: d.uvarint()}
		m.Epoch, m.Prev.Epoch, m.Prev.LSN = d.uvarint(), d.uvarint(), d.uvarint()
		m.Commit, m.Durable = d.uvarint(), d.uvarint()
		m.Hint.Epoch, m.Hint.LSN, m.Round = d.uvarint(), d.uvarint(), d.uvarint()
		n := d.uvarint()
		if d.failed || part > 1<<31 || kind == 0 || kind > uint64(partition.Behind) || status > uint64(partition.NotMember) ||
			n > uint64(len(d.rest)/minEntryBytes) || m.Prev.LSN > 1<<62 {
			return fmt.Errorf("%w: message of partition %d, kind %d", ErrFrame, part, kind)
		}
		env.Partition, m.Kind, m.Status = uint32(part), partition.Kind(kind), partition.Status(status)
		if n > 0 {
			m.Entries = make([]partition.Entry, n)
		}
		for i := range m.Entries {
			m.Entries[i] = partition.Entry{Epoch: d.uvarint(), LSN: m.Prev.LSN + 1 + uint64(i), Data: d.bytes()}
		}
		if d.failed {
			return fmt.Errorf("%w: entries of partition %d", ErrFrame, part)
		}
		deliver(env)
	}
	return nil
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
