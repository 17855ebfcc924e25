package client

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func TestKeyPath(t *testing.T) {
	for key, want := range map[string]string{
		"user:1":     "/v1/kv/user%3A1",
		"a/b":        "/v1/kv/a%2Fb",
		"%2F":        "/v1/kv/%252F",
		"..":         "/v1/kv/%2E%2E",
		"a.b":        "/v1/kv/a.b",
		"//":         "/v1/kv/%2F%2F",
		"\x00\xff ?": "/v1/kv/%00%FF%20%3F",
	} {
		if got := keyPath(key); got != want {
			t.Errorf("keyPath(%q) = %s, want %s", key, got, want)
		}
	}
}

// Every key must reach the server as it is, through net/http on both sides.
func TestKeyReachesServerUnchanged(t *testing.T) {
	var got string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got, _ = url.PathUnescape(strings.TrimPrefix(r.URL.EscapedPath(), api.PathKV))
		w.Header().Set(api.HeaderVersion, "1.1")
		w.WriteHeader(http.StatusNoContent)
	}))
	defer srv.Close()
	c := newClient(t, srv.Listener.Addr().String())
	rapid.Check(t, func(t *rapid.T) {
		key := string(rapid.SliceOfN(rapid.Byte(), 1, 40).Draw(t, "key"))
		if _, err := c.Set(t.Context(), key, []byte("v")); err != nil {
			t.Fatal(err)
		}
		if got != key {
			t.Fatalf("sent %q, received %q", key, got)
		}
	})
}
