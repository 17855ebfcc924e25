package client

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// frozenAddr returns an address where the kernel takes connections and nobody
// answers, as it is with a stopped process.
func frozenAddr(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

func TestWritesLeaveFrozenNode(t *testing.T) {
	other, requests := fakeNode(t, func(w http.ResponseWriter, _ *http.Request, _ int64) { stored(w) })
	for name, write := range map[string]func(*Client) error{
		"set":    func(c *Client) error { _, err := c.Set(t.Context(), "k", []byte("v")); return err },
		"delete": func(c *Client) error { return c.Delete(t.Context(), "k") },
	} {
		t.Run(name, func(t *testing.T) {
			before := requests.Load()
			if err := write(newClient(t, frozenAddr(t), other)); err != nil || requests.Load() != before+1 {
				t.Errorf("%v, %d requests at the other node", err, requests.Load()-before)
			}
		})
	}
}

// Nothing is sent to a node that does not answer, so the outcome is certain.
func TestOnlyFrozenNodes(t *testing.T) {
	c := newClientWith(t, Config{Endpoints: []string{frozenAddr(t)}, Timeout: 200 * time.Millisecond})
	if err := c.Delete(t.Context(), "k"); !errors.Is(err, api.ErrUnavailable) || !IsCertain(err) {
		t.Errorf("Delete: %v", err)
	}
}

func TestInterruptedWhileProbing(t *testing.T) {
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	srv := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		interrupt()
		<-r.Context().Done()
	}))
	defer srv.Close()
	err := newClient(t, srv.Listener.Addr().String()).Delete(ctx, "k")
	if !errors.Is(err, context.Canceled) || !IsCertain(err) {
		t.Errorf("Delete: %v", err)
	}
}

// A node is asked whether it lives only before the first write: afterwards it
// is known to answer, also from reads.
func TestProbesAreRare(t *testing.T) {
	var probes, writes atomic.Int64
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case r.URL.Path == pathLive:
			probes.Add(1)
		case r.Method == http.MethodGet:
			fail(w, api.CodeNotFound)
		default:
			writes.Add(1)
			stored(w)
		}
	}))
	defer srv.Close()
	for _, readsFirst := range []bool{false, true} {
		probes.Store(0)
		writes.Store(0)
		c := newClient(t, srv.Listener.Addr().String())
		want := int64(1)
		if readsFirst {
			want = 0
			if _, err := c.Get(t.Context(), "k"); !errors.Is(err, api.ErrNotFound) {
				t.Fatal(err)
			}
		}
		for range 5 {
			if _, err := c.Set(t.Context(), "k", nil); err != nil {
				t.Fatal(err)
			}
		}
		if probes.Load() != want || writes.Load() != 5 {
			t.Errorf("%d probes and %d writes, want %d and 5", probes.Load(), writes.Load(), want)
		}
		c.Close()
	}
}

func TestAnswersAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := newEndpoints([]string{"a", "b"})
		wants := func(what string, a, b bool) {
			t.Helper()
			if e.answeredLately(0) != a || e.answeredLately(3) != b {
				t.Errorf("%s: a %v, b %v, want %v and %v", what, e.answeredLately(0), e.answeredLately(3), a, b)
			}
		}
		wants("at first", false, false)
		e.answered(1)
		wants("b answered", false, true)
		<-time.After(lately - 1)
		e.answered(2)
		wants("a answered, too", true, true)
		<-time.After(1)
		wants("a while later", true, false)
		e.silent(4)
		wants("a fell silent", false, false)
	})
}

// Every attempt says how long the client will wait for it.
func TestNodesAreToldTheTimeLeft(t *testing.T) {
	told := make(chan string, 1)
	addr, _ := fakeNode(t, func(w http.ResponseWriter, r *http.Request, nth int64) {
		told <- r.Header.Get(api.HeaderTimeout)
		if nth%2 == 1 {
			fail(w, api.CodeUnavailable)
			return
		}
		w.Header().Set(api.HeaderVersion, "1.1")
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusNoContent)
		}
	})
	c := newClientWith(t, Config{Endpoints: []string{addr}, Timeout: time.Minute, ReadTimeout: 30 * time.Second})
	for name, tc := range map[string]struct {
		do    func() error
		bound int64
	}{
		"get":    {func() error { _, err := c.Get(t.Context(), "k"); return err }, 30_000},
		"set":    {func() error { _, err := c.Set(t.Context(), "k", nil); return err }, 60_000},
		"delete": {func() error { return c.Delete(t.Context(), "k") }, 60_000},
	} {
		done := make(chan error, 1)
		go func() { done <- tc.do() }()
		for range 2 {
			header := <-told
			if ms, err := strconv.ParseInt(header, 10, 64); err != nil || ms < tc.bound/2 || ms > tc.bound {
				t.Errorf("%s: told %q, want a little less than %d", name, header, tc.bound)
			}
		}
		if err := <-done; err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}
