package resp

import "strconv"

// These append answers as the protocol has them, in its version 2.

func appendOK(dst []byte) []byte { return append(dst, "+OK\r\n"...) }

func appendStatus(dst []byte, status string) []byte {
	return append(append(append(dst, '+'), status...), '\r', '\n')
}

func appendNumber(dst []byte, n int64) []byte { return appendHeader(dst, ':', n) }

func appendNil(dst []byte) []byte { return append(dst, "$-1\r\n"...) }

func appendBulk[T ~string | ~[]byte](dst []byte, value T) []byte {
	dst = appendHeader(dst, '$', int64(len(value)))
	return append(append(dst, value...), '\r', '\n')
}

func appendArray(dst []byte, n int) []byte { return appendHeader(dst, '*', int64(n)) }

func appendHeader(dst []byte, kind byte, n int64) []byte {
	dst = strconv.AppendInt(append(dst, kind), n, 10)
	return append(dst, '\r', '\n')
}

// appendError appends an error. Its first word is the code that programs look
// at. What is no printable character stands as a space: an error is one line.
func appendError(dst []byte, message string) []byte {
	dst = append(dst, '-')
	for i := range len(message) {
		if c := message[i]; c < ' ' || c == 0x7f {
			dst = append(dst, ' ')
		} else {
			dst = append(dst, c)
		}
	}
	return append(dst, '\r', '\n')
}
