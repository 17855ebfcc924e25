package kvstore_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/skshohagmiah/clusterkit/clusterkit"
	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// primary is a node that answers as a test wants.
type primary struct {
	*httptest.Server
	// executed counts the requests that it has read to the end.
	executed atomic.Int32
}

// newPrimary answers the nth request, from 1 on, with answer. It hangs up when
// that returns false.
func newPrimary(t *testing.T, answer func(n int, w http.ResponseWriter, r *http.Request, body string) bool) *primary {
	t.Helper()
	p := &primary{}
	p.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, api.PathKV) && r.URL.Path != api.PathBatch {
			http.NotFound(w, r) // replication, of which there is nothing here
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Errorf("the request was cut: %v", err)
		}
		if !answer(int(p.executed.Add(1)), w, r, string(body)) {
			panic(http.ErrAbortHandler)
		}
	}))
	t.Cleanup(p.Close)
	return p
}

// accept answers a batch of one command as executed.
func accept(w http.ResponseWriter, version string) {
	_ = json.NewEncoder(w).Encode(api.BatchAnswer{Results: []api.Result{{Version: version}}})
}

// refuse answers with an error of the API.
func refuse(w http.ResponseWriter, code api.Code) {
	w.WriteHeader(code.Status())
	_ = json.NewEncoder(w).Encode(api.ErrorBody{Error: api.Errorf(code, "because")})
}

// routerTo returns a router on a node whose map has all primaries at addr.
func routerTo(t *testing.T, addr string) (*kvstore.Router, *process) {
	t.Helper()
	c := newControl(1, "b", "a")
	a := newProcess(t, c, "a")
	a.start()
	c.open("b", addr, 1)
	return a.router, a
}

func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func key(k string) kvstore.Request { return kvstore.Request{Key: []byte(k)} }

func TestForwardedRequest(t *testing.T) {
	const name = "a/../b?c#%2F\x00"
	p := newPrimary(t, func(_ int, w http.ResponseWriter, r *http.Request, body string) bool {
		if r.Header.Get(api.HeaderNoForward) == "" {
			t.Error("a forwarded request may be forwarded again")
		}
		if r.Method == http.MethodGet {
			if want := api.PathKV + "a%2F..%2Fb%3Fc%23%252F%00"; r.URL.EscapedPath() != want {
				t.Errorf("asked for %s, want %s", r.URL.EscapedPath(), want)
			}
			w.Header().Set(api.HeaderVersion, "4.17")
			_, _ = io.WriteString(w, "stored")
			return true
		}
		var b api.Batch
		if err := json.Unmarshal([]byte(body), &b); err != nil || len(b.Commands) != 1 {
			t.Errorf("%s with the body %q: %v", r.Method, body, err)
			return false
		}
		c := b.Commands[0]
		if set := c.Op == api.OpSet && string(c.Value) == "value"; string(c.Key) != name || !set && c.Op != api.OpDelete {
			t.Errorf("the command is %+v", c)
		}
		accept(w, "4.17")
		return true
	})
	router, _ := routerTo(t, p.Listener.Addr().String())
	want := partition.Position{Epoch: 4, LSN: 17}
	if v, err := router.Set(within(t), key(name), []byte("value")); err != nil || v != want {
		t.Errorf("set: %v, %v", v, err)
	}
	if v, err := router.Get(within(t), key(name)); err != nil || string(v.Data) != "stored" || v.Version != want {
		t.Errorf("get: %+v, %v", v, err)
	}
	if err := router.Delete(within(t), key(name)); err != nil {
		t.Errorf("delete: %v", err)
	}
	if n := p.executed.Load(); n != 3 {
		t.Errorf("%d requests arrived, want 3", n)
	}
}

// The write has arrived, and its answer has not: whether it was executed is
// not known, and it must not be executed again.
func TestWriteThatLosesItsAnswer(t *testing.T) {
	for name, write := range map[string]func(*kvstore.Router) error{
		"set":       func(r *kvstore.Router) error { _, err := r.Set(within(t), key("k"), []byte("v")); return err },
		"empty set": func(r *kvstore.Router) error { _, err := r.Set(within(t), key("k"), nil); return err },
		"delete":    func(r *kvstore.Router) error { return r.Delete(within(t), key("k")) },
		"large set": func(r *kvstore.Router) error { _, err := r.Set(within(t), key("k"), make([]byte, 1<<19)); return err },
		"set, again": func(r *kvstore.Router) error {
			_, err := r.Set(within(t), key("warm"), nil)
			return errors.Join(err, r.Delete(within(t), key("k")))
		},
	} {
		t.Run(name, func(t *testing.T) {
			var cut atomic.Int32
			p := newPrimary(t, func(_ int, w http.ResponseWriter, _ *http.Request, body string) bool {
				if strings.Contains(body, `"d2FybQ=="`) {
					accept(w, "1.1") // the connection is used a second time
					return true
				}
				cut.Add(1)
				return false
			})
			router, _ := routerTo(t, p.Listener.Addr().String())
			if err := write(router); !errors.Is(err, api.ErrOutcomeUnknown) {
				t.Errorf("%v, want that the outcome is unknown", err)
			}
			if n := cut.Load(); n != 1 {
				t.Errorf("executed %d times", n)
			}
		})
	}
}

func TestAnswersThatAreFinal(t *testing.T) {
	for code, want := range map[api.Code]error{
		api.CodeOutcomeUnknown:  api.ErrOutcomeUnknown,
		api.CodeTooLarge:        api.ErrTooLarge,
		api.CodeBadRequest:      api.ErrBadRequest,
		api.CodeConditionFailed: api.ErrConditionFailed,
	} {
		t.Run(string(code), func(t *testing.T) {
			p := newPrimary(t, func(_ int, w http.ResponseWriter, _ *http.Request, _ string) bool {
				refuse(w, code)
				return true
			})
			router, _ := routerTo(t, p.Listener.Addr().String())
			if _, err := router.Set(within(t), key("k"), nil); !errors.Is(err, want) {
				t.Errorf("%v, want %v", err, want)
			}
			if n := p.executed.Load(); n != 1 {
				t.Errorf("asked %d times", n)
			}
		})
	}
	t.Run("no answer of the API", func(t *testing.T) {
		p := newPrimary(t, func(_ int, w http.ResponseWriter, _ *http.Request, _ string) bool {
			http.Error(w, "a proxy in between", http.StatusBadGateway)
			return true
		})
		router, _ := routerTo(t, p.Listener.Addr().String())
		if err := router.Delete(within(t), key("k")); !errors.Is(err, api.ErrOutcomeUnknown) {
			t.Errorf("%v, want that the outcome is unknown", err)
		}
		if n := p.executed.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
	t.Run("elsewhere", func(t *testing.T) {
		p := newPrimary(t, func(_ int, w http.ResponseWriter, r *http.Request, _ string) bool {
			http.Redirect(w, r, "/somewhere", http.StatusTemporaryRedirect)
			return true
		})
		router, _ := routerTo(t, p.Listener.Addr().String())
		if _, err := router.Set(within(t), key("k"), nil); !errors.Is(err, api.ErrOutcomeUnknown) {
			t.Errorf("%v, want that the outcome is unknown", err)
		}
		if n := p.executed.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
	t.Run("absent", func(t *testing.T) {
		p := newPrimary(t, func(_ int, w http.ResponseWriter, _ *http.Request, _ string) bool {
			refuse(w, api.CodeNotFound)
			return true
		})
		router, _ := routerTo(t, p.Listener.Addr().String())
		if v, err := router.Get(within(t), key("k")); !errors.Is(err, api.ErrNotFound) {
			t.Errorf("%+v, %v, want that it is absent", v, err)
		}
	})
}

// What proves that nothing was executed is tried again.
func TestRefusalsAreTriedAgain(t *testing.T) {
	for _, code := range []api.Code{api.CodeNotPrimary, api.CodeUnavailable} {
		t.Run(string(code), func(t *testing.T) {
			p := newPrimary(t, func(n int, w http.ResponseWriter, _ *http.Request, _ string) bool {
				if n < 3 {
					refuse(w, code)
				} else {
					accept(w, "1.1")
				}
				return true
			})
			router, _ := routerTo(t, p.Listener.Addr().String())
			if _, err := router.Set(within(t), key("k"), []byte("v")); err != nil {
				t.Error(err)
			}
			if n := p.executed.Load(); n != 3 {
				t.Errorf("asked %d times, want 3", n)
			}
		})
	}
}

// Reads harm nobody.
func TestReadsAreTriedAgain(t *testing.T) {
	for name, spoil := range map[string]func(w http.ResponseWriter) bool{
		"cut":  func(http.ResponseWriter) bool { return false },
		"junk": func(w http.ResponseWriter) bool { w.WriteHeader(http.StatusBadGateway); return true },
		"half": func(w http.ResponseWriter) bool {
			w.Header().Set("Content-Length", "10")
			_, _ = io.WriteString(w, "half")
			return false
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPrimary(t, func(n int, w http.ResponseWriter, _ *http.Request, _ string) bool {
				if n < 3 {
					return spoil(w)
				}
				_, _ = io.WriteString(w, "value")
				return true
			})
			router, _ := routerTo(t, p.Listener.Addr().String())
			if v, err := router.Get(within(t), key("k")); err != nil || string(v.Data) != "value" {
				t.Errorf("%q, %v", v.Data, err)
			}
		})
	}
}

// Nobody listens where the primary was; it comes back elsewhere.
func TestRefusedConnectionIsTriedAgain(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	router, a := routerTo(t, l.Addr().String())
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := router.Set(ctx, key("k"), []byte("v")); !errors.Is(err, api.ErrUnavailable) {
		t.Errorf("%v, want that nothing was executed", err)
	}
	done := make(chan error, 1)
	before := a.cluster.looked.Load()
	go func() {
		_, err := router.Set(within(t), key("k"), []byte("v"))
		done <- err
	}()
	ticker := time.NewTicker(time.Millisecond)
	defer ticker.Stop()
	for deadline := time.After(patience); a.cluster.looked.Load() < before+2; {
		select {
		case <-ticker.C:
		case err := <-done:
			t.Fatalf("ended with %v", err)
		case <-deadline:
			t.Fatal("the router does not look at the map")
		}
	}
	p := newPrimary(t, func(_ int, w http.ResponseWriter, _ *http.Request, _ string) bool {
		accept(w, "1.1")
		return true
	})
	a.cluster.open("b", p.Listener.Addr().String(), 2)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if n := p.executed.Load(); n != 1 {
		t.Errorf("executed %d times", n)
	}
}

func TestRequestsThatCannotBeServed(t *testing.T) {
	p := newPrimary(t, func(int, http.ResponseWriter, *http.Request, string) bool {
		t.Error("forwarded")
		return true
	})
	addr := p.Listener.Addr().String()
	router, a := routerTo(t, addr)

	_, err := router.Set(within(t), kvstore.Request{Key: []byte("k"), NoForward: true}, nil)
	var refused *api.Error
	if !errors.As(err, &refused) || refused.Code != api.CodeNotPrimary || refused.Details["primary"] != "b" || refused.Details["address"] != addr {
		t.Errorf("not to be forwarded: %+v", refused)
	}

	if _, err := router.Get(within(t), key("")); !errors.Is(err, api.ErrBadRequest) {
		t.Errorf("empty key: %v", err)
	}
	if got, err := a.request(within(t), http.MethodPut, "", "v"); err == nil || !strings.HasPrefix(err.Error(), "400 ") {
		t.Errorf("empty key over HTTP: %q, %v", got, err)
	}
	if err := router.Delete(within(t), key(strings.Repeat("k", api.MaxKeyBytes+1))); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("long key: %v", err)
	}
	if _, err := router.Set(within(t), key("k"), make([]byte, api.MaxValueBytes+1)); !errors.Is(err, api.ErrTooLarge) {
		t.Errorf("large value: %v", err)
	}

	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	a.cluster.update(func(m *clusterkit.Map) { m.Partitions[0].Primary = "" })
	if _, err := router.Get(ctx, key("k")); !errors.Is(err, api.ErrUnavailable) || !strings.Contains(fmt.Sprint(err), "no primary") {
		t.Errorf("without a primary: %v", err)
	}
}

// A forwarded value of any size that is allowed arrives whole.
func TestLargestValueIsForwarded(t *testing.T) {
	p := newPrimary(t, func(_ int, w http.ResponseWriter, r *http.Request, body string) bool {
		if r.Method == http.MethodPost {
			var b api.Batch
			if err := json.Unmarshal([]byte(body), &b); err != nil || len(b.Commands[0].Value) != api.MaxValueBytes {
				t.Errorf("%d bytes arrived", len(body))
			}
			accept(w, "1.1")
		} else {
			w.Header().Set("Content-Length", strconv.Itoa(api.MaxValueBytes))
			_, _ = w.Write(make([]byte, api.MaxValueBytes))
		}
		return true
	})
	router, _ := routerTo(t, p.Listener.Addr().String())
	if _, err := router.Set(within(t), key("k"), make([]byte, api.MaxValueBytes)); err != nil {
		t.Error(err)
	}
	if v, err := router.Get(within(t), key("k")); err != nil || len(v.Data) != api.MaxValueBytes {
		t.Errorf("%d bytes, %v", len(v.Data), err)
	}
}
