package client

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// CheckKey returns [api.ErrBadRequest] for an empty key and [api.ErrTooLarge]
// for one that is longer than [api.MaxKeyBytes].
func CheckKey(key string) error {
	switch {
	case key == "":
		return api.Errorf(api.CodeBadRequest, "the key is empty: give 1 to %d bytes", api.MaxKeyBytes)
	case len(key) > api.MaxKeyBytes:
		return tooLarge("key", api.MaxKeyBytes)
	}
	return nil
}

// CheckValue returns [api.ErrTooLarge] for a value that is longer than
// [api.MaxValueBytes].
func CheckValue(value []byte) error {
	if len(value) > api.MaxValueBytes {
		return tooLarge("value", api.MaxValueBytes)
	}
	return nil
}

// tooLarge names no size: a caller may have stopped reading beyond the limit.
func tooLarge(what string, limit int) error {
	return api.Errorf(api.CodeTooLarge, "the %s has more than %d bytes", what, limit).
		With("limit", strconv.Itoa(limit))
}

const quotedKeyBytes = 64

// quote returns the key for an error message.
func quote(key string) string {
	if len(key) > quotedKeyBytes {
		return fmt.Sprintf("%q... (%d bytes)", key[:quotedKeyBytes], len(key))
	}
	return strconv.Quote(key)
}

// keyPath returns the escaped path of a key. The result has one form for each
// key, and no dot segment for anything on the way to resolve.
func keyPath(key string) string {
	const hex = "0123456789ABCDEF"
	dots := strings.Trim(key, ".") == ""
	var b strings.Builder
	b.WriteString(api.PathKV)
	for i := range len(key) {
		if c := key[i]; unreserved(c) && !dots {
			b.WriteByte(c)
		} else {
			b.WriteByte('%')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
		}
	}
	return b.String()
}

// unreserved reports whether RFC 3986, section 2.3 leaves c as it is.
func unreserved(c byte) bool {
	return 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' ||
		c == '-' || c == '.' || c == '_' || c == '~'
}
