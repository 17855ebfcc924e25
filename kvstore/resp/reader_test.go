package resp

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// all takes every command that src sends, and says how each reads: its
// arguments, or the error.
func all(src io.Reader) (commands []string) {
	r := newReader(src)
	for {
		args, err := r.next()
		switch {
		case errors.Is(err, errTooLarge):
			commands = append(commands, "too large")
		case err != nil:
			return append(commands, err.Error())
		case args != nil:
			commands = append(commands, fmt.Sprintf("%q", args))
		default:
			if r.fill() != nil {
				return commands
			}
		}
	}
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func TestReader(t *testing.T) {
	big, huge := strings.Repeat("x", 100<<10), strings.Repeat("y", maxCommand+1)
	for _, tc := range []struct {
		name, sent string
		want       []string
	}{
		{"one", "*2\r\n$3\r\nGET\r\n$1\r\nk\r\n", []string{`["GET" "k"]`}},
		{"any bytes", "*2\r\n" + bulk("\r\n*1\r\n") + bulk(""), []string{`["\r\n*1\r\n" ""]`}},
		{"pipeline", "*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n*1\r\n$1\r\n", []string{`["a"]`, `["b"]`}},
		{"by hand", "  GET   k\r\n\r\nPING\n", []string{`["GET" "k"]`, `["PING"]`}},
		{"nothing", "*0\r\n*-1\r\n*1\r\n$1\r\na\r\n", []string{`["a"]`}},
		{"longer than the buffer", "*2\r\n" + bulk("SET") + bulk(big) + "*1\r\n$1\r\na\r\n", []string{fmt.Sprintf("%q", []string{"SET", big}), `["a"]`}},
		{"too long a value", "*3\r\n" + bulk("SET") + bulk(huge) + bulk("k") + "*1\r\n$1\r\na\r\n", []string{"too large", `["a"]`}},
		{"values too long together", "*3\r\n" + bulk(huge[:maxCommand/2]) + bulk(huge[:maxCommand/2]) + bulk("k") + "*1\r\n$1\r\na\r\n", []string{"too large", `["a"]`}},
		{"too many arguments", fmt.Sprintf("*%d\r\n", maxArgs+1) + strings.Repeat(bulk("k"), maxArgs+1) + "*1\r\n$1\r\na\r\n", []string{"too large", `["a"]`}},

		{"quotes", "SET k \"a b\"\r\n", []string{"Protocol error: quotes are only understood in commands of the form *N"}},
		{"number of arguments", "*x\r\n", []string{"Protocol error: invalid multibulk length"}},
		{"more than Redis takes", "*2000000000\r\n", []string{"Protocol error: invalid multibulk length"}},
		{"more than a number", "*99999999999999999999\r\n", []string{"Protocol error: invalid multibulk length"}},
		{"no length", "*1\r\nPING\r\n", []string{`Protocol error: expected '$', got "P"`}},
		{"negative length", "*1\r\n$-7\r\n", []string{"Protocol error: invalid bulk length"}},
		{"length that overflows", "*1\r\n$9223372036854775807\r\n", []string{"Protocol error: invalid bulk length"}},
		{"wrong length", "*1\r\n$1\r\nab\r\n", []string{"Protocol error: an argument is longer than its header says"}},
		{"endless line", "*" + strings.Repeat("0", maxLine), []string{"Protocol error: too big a line"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := all(strings.NewReader(tc.sent)); !slices.Equal(got, tc.want) {
				t.Errorf("got %.200q, want %.200q", got, tc.want)
			}
			if len(tc.sent) > 200<<10 {
				return
			}
			if got := all(iotest.OneByteReader(strings.NewReader(tc.sent))); !slices.Equal(got, tc.want) {
				t.Errorf("byte by byte: got %.200q, want %.200q", got, tc.want)
			}
		})
	}
}

// What a header announces costs nothing until it has come.
func TestReaderAllocatesWhatHasArrived(t *testing.T) {
	r := newReader(strings.NewReader(fmt.Sprintf("*%d\r\n$%d\r\nabc", maxRedisArgs, maxRedisBulk)))
	for {
		if args, err := r.next(); args != nil || err != nil {
			t.Fatalf("%q, %v", args, err)
		}
		if r.fill() != nil {
			break
		}
	}
	if len(r.buf) > readBuffer || cap(r.marks) > 16 {
		t.Errorf("buffer of %d bytes, %d marks", len(r.buf), cap(r.marks))
	}
}

func TestReaderReturnsLargeBuffers(t *testing.T) {
	r := newReader(strings.NewReader("*1\r\n" + bulk(strings.Repeat("x", maxCommand/2)) + "*1\r\n$1\r\na\r\n"))
	for n := 0; n < 2; {
		if args, _ := r.next(); args != nil {
			n++
		} else if err := r.fill(); err != nil {
			t.Fatal(err)
		}
	}
	r.release()
	if len(r.buf) > keptBuffer {
		t.Errorf("it keeps a buffer of %d bytes", len(r.buf))
	}
}

// Commands are the same however they are cut into packets.
func FuzzReader(f *testing.F) {
	f.Add([]byte("*2\r\n$3\r\nGET\r\n$1\r\nk\r\nPING\r\n*1\r\n$3\r\nab"), uint8(3))
	f.Add([]byte("*1\r\n$-7\r\n"), uint8(1))
	f.Add([]byte("*3\r\n$9223372036854775807\r\n"), uint8(7))
	f.Add([]byte("*2\r\n$2000000\r\nabc"), uint8(2))
	f.Fuzz(func(t *testing.T, sent []byte, size uint8) {
		whole := all(bytes.NewReader(sent))
		cut := all(&packets{sent, int(size)%7 + 1})
		if !slices.Equal(whole, cut) {
			t.Fatalf("at once %q, in packets %q", whole, cut)
		}
	})
}

// packets delivers a few bytes at a time.
type packets struct {
	rest []byte
	size int
}

func (p *packets) Read(b []byte) (int, error) {
	if len(p.rest) == 0 {
		return 0, io.EOF
	}
	n := copy(b, p.rest[:min(p.size, len(p.rest))])
	p.rest = p.rest[n:]
	return n, nil
}
