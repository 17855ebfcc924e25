package e2e

import (
	"bytes"
	"errors"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func TestKeysAndValues(t *testing.T) {
	ctx := within(t, 3*time.Minute)
	c := startCluster(t, ctx, 3)
	base := "http://" + c.Nodes()[0].HTTPAddr

	t.Run("every key", func(t *testing.T) {
		keys := []string{"/", "//", "a//b", ".", "..", "a/../b", "../../etc/passwd", "%2F", "%", "%zz", " ", "+", "?", "#", "a?b=c#d",
			"{tag}key", "\r\n", "é", strings.Repeat("\xff", api.MaxKeyBytes)}
		for b := range 256 {
			keys = append(keys, string([]byte{byte(b)}), string([]byte{'k', byte(b), 'k'}))
		}
		writer, reader := clientOf(t, c, 1), clientOf(t, c, 2)
		for _, k := range keys {
			if _, err := writer.Set(ctx, k, []byte("value of "+k)); err != nil {
				t.Errorf("set %q: %v", k, err)
			}
		}
		for _, k := range keys {
			if got, err := reader.Get(ctx, k); err != nil || string(got.Data) != "value of "+k {
				t.Errorf("get %q: %.80q, %v", k, got.Data, err)
			}
		}
	})

	t.Run("delete", func(t *testing.T) {
		writer, reader := clientOf(t, c, 0), clientOf(t, c, 1)
		_, err := writer.Set(ctx, "doomed", []byte("v"))
		must(t, "set", err)
		for range 2 {
			must(t, "delete", writer.Delete(ctx, "doomed"))
		}
		if _, err := reader.Get(ctx, "doomed"); !errors.Is(err, api.ErrNotFound) {
			t.Errorf("get: %v", err)
		}
	})

	t.Run("versions", func(t *testing.T) {
		cl := clientOf(t, c, 0)
		first, err := cl.Set(ctx, "versioned", []byte("same"))
		must(t, "set", err)
		second, err := cl.Set(ctx, "versioned", []byte("same"))
		must(t, "set", err)
		got, err := cl.Get(ctx, "versioned")
		if err != nil || first == second || got.Version != second {
			t.Errorf("two writes have versions %q and %q, a read says %q, %v", first, second, got.Version, err)
		}
	})

	t.Run("sizes of values", func(t *testing.T) {
		cl := clientOf(t, c, 2)
		for _, size := range []int{0, 1, 64 << 10, api.MaxValueBytes} {
			value := bytes.Repeat([]byte{0xa5}, size)
			_, err := cl.Set(ctx, "sized", value)
			must(t, "set", err)
			if got, err := cl.Get(ctx, "sized"); err != nil || !bytes.Equal(got.Data, value) {
				t.Errorf("%d bytes came back as %d, %v", size, len(got.Data), err)
			}
		}
	})

	t.Run("statuses", func(t *testing.T) {
		if got := request(t, ctx, "PUT", base+"/v1/kv/raw%2Fkey", strings.NewReader("v")); got.status != 204 || got.header.Get(api.HeaderVersion) == "" || got.body != "" {
			t.Errorf("PUT: %+v", got)
		}
		if got := request(t, ctx, "GET", base+"/v1/kv/raw%2Fkey", nil); got.status != 200 || got.header.Get(api.HeaderVersion) == "" || got.body != "v" {
			t.Errorf("GET: %+v", got)
		}
		if got := request(t, ctx, "DELETE", base+"/v1/kv/raw%2Fkey", nil); got.status != 204 {
			t.Errorf("DELETE: %+v", got)
		}
		wantError(t, request(t, ctx, "GET", base+"/v1/kv/raw%2Fkey", nil), 404, "not_found")
		if got := request(t, ctx, "PATCH", base+"/v1/kv/k", nil); got.status != http.StatusMethodNotAllowed {
			t.Errorf("PATCH: %+v", got)
		}
		wantError(t, request(t, ctx, "POST", base+"/v1/kv/k", nil), 400, "bad_request")
	})

	t.Run("bad input", func(t *testing.T) {
		longKey := base + "/v1/kv/" + strings.Repeat("k", api.MaxKeyBytes+1)
		for _, method := range []string{"PUT", "GET", "DELETE"} {
			wantError(t, request(t, ctx, method, base+"/v1/kv/", nil), 400, "bad_request")
			wantError(t, request(t, ctx, method, longKey, nil), 413, "too_large")
		}
		big := bytes.Repeat([]byte("x"), api.MaxValueBytes+1)
		wantError(t, request(t, ctx, "PUT", base+"/v1/kv/big", bytes.NewReader(big)), 413, "too_large")
		chunked := io.MultiReader(bytes.NewReader(big)) // of a length that nobody announces
		wantError(t, request(t, ctx, "PUT", base+"/v1/kv/big", chunked), 413, "too_large")
		wantError(t, request(t, ctx, "GET", base+"/v1/kv/big", nil), 404, "not_found")
	})
}
