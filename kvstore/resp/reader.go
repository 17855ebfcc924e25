package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

const (
	// readBuffer is what a connection reads at once; it keeps a larger buffer only
	// up to keptBuffer.
	readBuffer = 16 << 10
	keptBuffer = 64 << 10
	// maxCommand bounds what of one command is in memory: what a batch may hold,
	// and the headers of its arguments.
	maxCommand = api.MaxBatchBytes + maxArgs*16
	// maxArgs is what a batch of sets has.
	maxArgs = 1 + 2*api.MaxBatchCommands
	// A command within what Redis takes is read to its end, and thrown away if it
	// is too large here, so that the client can be told and go on.
	maxRedisArgs = 1 << 20
	maxRedisBulk = 512 << 20
	// maxLine bounds a header, and a command typed by hand.
	maxLine = 1 << 10
)

// errTooLarge is the error of one command, whose end has been read.
var errTooLarge = errors.New("command too large")

// protocolError ends the connection: where the next command begins is unknown.
type protocolError string

func (e protocolError) Error() string { return "Protocol error: " + string(e) }

// reader takes the commands apart that a client sends. It allocates what has
// arrived, never what a header announces.
type reader struct {
	src io.Reader
	buf []byte
	// buf[start:end] has been read and belongs to no command that was taken.
	start, end int

	// The rest is about the command at start. pos is how far it has been looked
	// at, and marks are where its arguments begin and end, relative to start.
	pos   int
	marks []int
	// missing arguments are to come; 0 before the header has been seen. The
	// length of the next one is bulk, or -1 before its header.
	missing int
	bulk    int
	// dropping commands are too large: they are thrown away as they come.
	dropping bool

	args [][]byte
}

func newReader(src io.Reader) *reader {
	return &reader{src: src, buf: make([]byte, readBuffer), bulk: -1}
}

// next takes the next command that has arrived completely. Its arguments are
// valid until the next fill; there are none if more has to be read first. The
// error is errTooLarge or a protocolError.
func (r *reader) next() (args [][]byte, err error) {
	for {
		if r.missing == 0 {
			header, ok, err := r.line()
			if !ok || err != nil {
				return nil, err
			}
			if len(header) == 0 || header[0] != '*' {
				if args := r.inline(header); len(args) > 0 {
					return args, nil
				} else if bytes.ContainsAny(header, `"'`) {
					return nil, protocolError("quotes are only understood in commands of the form *N")
				}
				continue
			}
			n, ok := number(header[1:])
			if !ok || n > maxRedisArgs {
				return nil, protocolError("invalid multibulk length")
			}
			if n <= 0 {
				r.take()
				continue
			}
			r.missing, r.dropping = int(n), n > maxArgs
		}
		if ok, err := r.arguments(); !ok || err != nil {
			return nil, err
		}
		if r.dropping {
			r.take()
			return nil, errTooLarge
		}
		r.args = r.args[:0]
		for i := 0; i < len(r.marks); i += 2 {
			r.args = append(r.args, r.buf[r.start+r.marks[i]:r.start+r.marks[i+1]:r.start+r.marks[i+1]])
		}
		r.take()
		return r.args, nil
	}
}

// take ends the command at start.
func (r *reader) take() {
	r.start += r.pos
	r.pos, r.marks, r.missing, r.bulk, r.dropping = 0, r.marks[:0], 0, -1, false
}

// arguments looks at the arguments that are missing; ok is false while some
// have not arrived.
func (r *reader) arguments() (ok bool, err error) {
	for r.missing > 0 {
		if r.bulk < 0 {
			header, ok, err := r.line()
			if !ok || err != nil {
				return false, err
			}
			if len(header) == 0 || header[0] != '$' {
				return false, protocolError(fmt.Sprintf("expected '$', got %q", header[:min(1, len(header))]))
			}
			n, ok := number(header[1:])
			if !ok || n < 0 || n > maxRedisBulk {
				return false, protocolError("invalid bulk length")
			}
			r.bulk = int(n)
			r.dropping = r.dropping || r.pos+r.bulk > maxCommand
		}
		if r.dropping {
			r.drop()
		}
		rest := r.buf[r.start+r.pos : r.end]
		if len(rest) < r.bulk+2 {
			return false, nil
		}
		if rest[r.bulk] != '\r' || rest[r.bulk+1] != '\n' {
			return false, protocolError("an argument is longer than its header says")
		}
		if !r.dropping {
			r.marks = append(r.marks, r.pos, r.pos+r.bulk)
		}
		r.pos += r.bulk + 2
		r.missing, r.bulk = r.missing-1, -1
	}
	return true, nil
}

// drop throws away what has been looked at, and what there is of the argument
// that comes next.
func (r *reader) drop() {
	n := min(r.bulk, r.end-r.start-r.pos)
	r.bulk -= n
	r.start += r.pos + n
	r.pos, r.marks = 0, r.marks[:0]
}

// line takes the next line, which is part of the command at start, without its
// end; ok is false while it has not arrived.
func (r *reader) line() (line []byte, ok bool, err error) {
	rest := r.buf[r.start+r.pos : r.end]
	n := bytes.IndexByte(rest[:min(len(rest), maxLine)], '\n')
	switch {
	case n < 0 && len(rest) >= maxLine:
		return nil, false, protocolError("too big a line")
	case n < 0:
		return nil, false, nil
	}
	r.pos += n + 1
	return bytes.TrimSuffix(rest[:n], []byte("\r")), true, nil
}

// inline takes a command that was typed by hand, its arguments separated by
// spaces.
func (r *reader) inline(line []byte) [][]byte {
	r.args = r.args[:0]
	if !bytes.ContainsAny(line, `"'`) {
		for arg := range bytes.FieldsSeq(line) {
			r.args = append(r.args, arg)
		}
	}
	r.take()
	return r.args
}

// number reads a decimal number as the protocol has it.
func number(b []byte) (n int64, ok bool) {
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		b = b[1:]
	}
	if len(b) == 0 || len(b) > 18 {
		return 0, false
	}
	for _, c := range b {
		if c < '0' || c > '9' {
			return 0, false
		}
		n = 10*n + int64(c-'0')
	}
	if negative {
		n = -n
	}
	return n, true
}

// release lets go of a buffer that was needed once only, if nothing is in it.
// All arguments become invalid.
func (r *reader) release() {
	if r.start == r.end && len(r.buf) > keptBuffer {
		r.buf, r.start, r.end = make([]byte, readBuffer), 0, 0
		clear(r.args[:cap(r.args)])
	}
}

// fill reads more. All arguments become invalid.
func (r *reader) fill() error {
	switch {
	case r.start == r.end:
		r.start, r.end = 0, 0
	case r.end == len(r.buf):
		buf := r.buf
		if r.start < len(buf)/2 {
			buf = make([]byte, 2*len(buf))
		}
		r.end = copy(buf, r.buf[r.start:r.end])
		r.buf, r.start = buf, 0
	}
	n, err := r.src.Read(r.buf[r.end:])
	r.end += n
	if n > 0 {
		return nil
	}
	return err
}
