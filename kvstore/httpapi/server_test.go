package httpapi_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gorilla/mux"

	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/httpapi"
	"github.com/skshohagmiah/clusterkit/kvstore/partition"
)

// fakeStore answers every request with err, or with value and version, and
// reports what it was asked.
type fakeStore struct {
	value   []byte
	version partition.Position
	ttl     int64
	err     error
	asked   chan asked
}

type asked struct {
	method string
	req    kvstore.Request
	value  []byte
	batch  api.Batch
	keys   [][]byte
	scan   kvstore.ScanRequest
}

func (f *fakeStore) Get(_ context.Context, req kvstore.Request) (kvstore.Value, error) {
	f.asked <- asked{method: "get", req: req}
	return kvstore.Value{Data: f.value, Version: f.version, TTL: f.ttl}, f.err
}

func (f *fakeStore) MGet(_ context.Context, req kvstore.Request, keys [][]byte) ([]api.Result, error) {
	f.asked <- asked{method: "mget", req: req, keys: keys}
	return make([]api.Result, len(keys)), f.err
}

func (f *fakeStore) Execute(_ context.Context, req kvstore.Request, b api.Batch) ([]api.Result, error) {
	f.asked <- asked{method: string(b.Commands[0].Op), req: req, value: b.Commands[0].Value, batch: b}
	return []api.Result{{Found: true, Value: f.value, Version: kvstore.FormatVersion(f.version)}}, f.err
}

func (f *fakeStore) Scan(_ context.Context, req kvstore.ScanRequest) (api.ScanAnswer, error) {
	f.asked <- asked{method: "scan", scan: req}
	item := api.ScanItem{Key: []byte("key\xff"), Value: f.value, Version: kvstore.FormatVersion(f.version), TTL: f.ttl}
	return api.ScanAnswer{Items: []api.ScanItem{item}, Cursor: "next", Partition: 3, Snapshot: "s"}, f.err
}

// start serves a store that answers with the error.
func start(t *testing.T, err error) (base string, store *fakeStore) {
	t.Helper()
	store = &fakeStore{value: []byte("value"), version: partition.Position{Epoch: 3, LSN: 41}, err: err, asked: make(chan asked, 1)}
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	httpapi.Register(r, store)
	srv := httptest.NewServer(r)
	t.Cleanup(srv.Close)
	return srv.URL, store
}

type answer struct {
	*http.Response
	body []byte
}

// do sends a request to a path that is written as it is to be sent.
func do(t *testing.T, method, target string, body io.Reader, header ...string) answer {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, target, body)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer{resp, got}
}

// wantError wants an answer that is the error: status, type, code and details.
func wantError(t *testing.T, got answer, status int, code api.Code) *api.Error {
	t.Helper()
	var body api.ErrorBody
	if err := json.Unmarshal(got.body, &body); err != nil || body.Error == nil {
		t.Fatalf("%s: the body is no error: %q", got.Status, got.body)
	}
	if got.StatusCode != status || body.Error.Code != code {
		t.Errorf("answered %s with %s %q, want %d with %s", got.Status, body.Error.Code, body.Error.Message, status, code)
	}
	if ct := got.Header.Get("Content-Type"); ct != "application/json" {
		t.Errorf("an error of type %q", ct)
	}
	return body.Error
}

func wantAsked(t *testing.T, store *fakeStore, method, key string) asked {
	t.Helper()
	select {
	case got := <-store.asked:
		if got.method != method || string(got.req.Key) != key {
			t.Fatalf("the store was asked to %s %q, want %s %q", got.method, got.req.Key, method, key)
		}
		return got
	default:
		t.Fatal("the store was not asked")
		return asked{}
	}
}

func wantNotAsked(t *testing.T, store *fakeStore) {
	t.Helper()
	select {
	case got := <-store.asked:
		t.Errorf("the store was asked to %s %q", got.method, got.req.Key)
	default:
	}
}

func TestSuccess(t *testing.T) {
	base, store := start(t, nil)
	target := base + api.PathKV + "key"

	got := do(t, http.MethodGet, target, nil)
	if got.StatusCode != http.StatusOK || string(got.body) != "value" || got.Header.Get(api.HeaderVersion) != "3.41" {
		t.Errorf("GET: %s, %q, version %q", got.Status, got.body, got.Header.Get(api.HeaderVersion))
	}
	if asked := wantAsked(t, store, "get", "key"); asked.req.NoForward {
		t.Error("GET: not to be forwarded")
	}

	got = do(t, http.MethodHead, target, nil)
	if got.StatusCode != http.StatusOK || len(got.body) != 0 || got.ContentLength != int64(len("value")) || got.Header.Get(api.HeaderVersion) != "3.41" {
		t.Errorf("HEAD: %s, %d bytes of %d, version %q", got.Status, len(got.body), got.ContentLength, got.Header.Get(api.HeaderVersion))
	}
	wantAsked(t, store, "get", "key")

	got = do(t, http.MethodPut, target, strings.NewReader("new"), api.HeaderNoForward, "1")
	if got.StatusCode != http.StatusNoContent || len(got.body) != 0 || got.Header.Get(api.HeaderVersion) != "3.41" {
		t.Errorf("PUT: %s, %q, version %q", got.Status, got.body, got.Header.Get(api.HeaderVersion))
	}
	if asked := wantAsked(t, store, "set", "key"); string(asked.value) != "new" || !asked.req.NoForward {
		t.Errorf("PUT: the store was asked %+v", asked)
	}

	got = do(t, http.MethodDelete, target, nil)
	if got.StatusCode != http.StatusNoContent || len(got.body) != 0 {
		t.Errorf("DELETE: %s, %q", got.Status, got.body)
	}
	wantAsked(t, store, "delete", "key")
}

func TestEmptyValue(t *testing.T) {
	base, store := start(t, nil)
	store.value = nil
	if got := do(t, http.MethodPut, base+api.PathKV+"key", http.NoBody); got.StatusCode != http.StatusNoContent {
		t.Errorf("PUT: %s: %s", got.Status, got.body)
	}
	if asked := wantAsked(t, store, "set", "key"); len(asked.value) != 0 {
		t.Errorf("PUT: the store was given %q", asked.value)
	}
	if got := do(t, http.MethodGet, base+api.PathKV+"key", nil); got.StatusCode != http.StatusOK || len(got.body) != 0 {
		t.Errorf("GET: %s: %q", got.Status, got.body)
	}
}

func TestErrors(t *testing.T) {
	for code, status := range map[api.Code]int{
		api.CodeBadRequest:      400,
		api.CodeNotFound:        404,
		api.CodeConditionFailed: 412,
		api.CodeNotPrimary:      421,
		api.CodeUnavailable:     503,
		api.CodeTooLarge:        413,
		api.CodeUnauthenticated: 401,
		api.CodeForbidden:       403,
		api.CodeConflict:        409,
		api.CodeOutcomeUnknown:  504,
	} {
		t.Run(string(code), func(t *testing.T) {
			cause := api.Errorf(code, "because").With("detail", "fact")
			base, store := start(t, fmt.Errorf("wrapped: %w", cause))
			for _, method := range []string{http.MethodGet, http.MethodPut, http.MethodDelete} {
				got := wantError(t, do(t, method, base+api.PathKV+"key", http.NoBody), status, code)
				if got.Message != "because" || got.Details["detail"] != "fact" {
					t.Errorf("%s: the error has become %+v", method, got)
				}
				<-store.asked
			}
			head := do(t, http.MethodHead, base+api.PathKV+"key", nil)
			if head.StatusCode != status || len(head.body) != 0 {
				t.Errorf("HEAD: %s with %d bytes", head.Status, len(head.body))
			}
		})
	}
	t.Run("any other", func(t *testing.T) {
		base, _ := start(t, errors.New("a fault"))
		got := wantError(t, do(t, http.MethodPut, base+api.PathKV+"key", http.NoBody), http.StatusGatewayTimeout, api.CodeOutcomeUnknown)
		if !strings.Contains(got.Message, "a fault") {
			t.Errorf("the message is %q", got.Message)
		}
	})
}

// Any sequence of bytes is a key, and no path is cleaned.
func TestKeys(t *testing.T) {
	var every []byte
	for b := range 256 {
		every = append(every, byte(b))
	}
	for escaped, key := range map[string]string{
		"%2F":                                  "/",
		"a%2Fb":                                "a/b",
		"a/b":                                  "a/b",
		"..":                                   "..",
		"../../etc":                            "../../etc",
		"a/../b":                               "a/../b",
		"a//b":                                 "a//b",
		"/":                                    "/",
		".":                                    ".",
		"%00":                                  "\x00",
		"%ff%FE":                               "\xff\xfe",
		"%25":                                  "%",
		"%252F":                                "%2F",
		"a+b":                                  "a+b",
		"a%20b":                                "a b",
		"a%3Fb%23c":                            "a?b#c",
		"%7Btag%7D":                            "{tag}",
		url.PathEscape("schlüssel"):            "schlüssel",
		url.PathEscape(string(every)):          string(every),
		strings.Repeat("%00", api.MaxKeyBytes): strings.Repeat("\x00", api.MaxKeyBytes),
		"":                                     "", // for the store to refuse
	} {
		t.Run(fmt.Sprintf("%.20q", escaped), func(t *testing.T) {
			base, store := start(t, nil)
			if got := do(t, http.MethodGet, base+api.PathKV+escaped, nil); got.StatusCode != http.StatusOK {
				t.Fatalf("%s: %s", got.Status, got.body)
			}
			wantAsked(t, store, "get", key)
		})
	}
}

func TestMethods(t *testing.T) {
	base, store := start(t, nil)
	for _, method := range []string{http.MethodPatch, http.MethodOptions, "FROB"} {
		got := do(t, method, base+api.PathKV+"key", nil)
		_ = wantError(t, got, http.StatusMethodNotAllowed, api.CodeBadRequest)
		for _, allowed := range []string{"GET", "HEAD", "PUT", "POST", "DELETE"} {
			if !strings.Contains(got.Header.Get("Allow"), allowed) {
				t.Errorf("%s: Allow is %q", method, got.Header.Get("Allow"))
			}
		}
		wantNotAsked(t, store)
	}
}

// endless is a body of zeros that counts what has been read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	clear(p)
	e.read += len(p)
	return len(p), nil
}

func TestLargestValue(t *testing.T) {
	value := make([]byte, api.MaxValueBytes)
	for name, body := range map[string]io.Reader{
		"with length": bytes.NewReader(value),
		"chunked":     io.MultiReader(bytes.NewReader(value)),
	} {
		t.Run(name, func(t *testing.T) {
			base, store := start(t, nil)
			if got := do(t, http.MethodPut, base+api.PathKV+"key", body); got.StatusCode != http.StatusNoContent {
				t.Fatalf("%s: %s", got.Status, got.body)
			}
			if asked := wantAsked(t, store, "set", "key"); !bytes.Equal(asked.value, value) {
				t.Errorf("the store was given %d bytes", len(asked.value))
			}
		})
	}
}

func TestValueTooLarge(t *testing.T) {
	for name, body := range map[string]io.Reader{
		"with length": bytes.NewReader(make([]byte, api.MaxValueBytes+1)),
		"chunked":     io.LimitReader(&endless{}, api.MaxValueBytes+1),
	} {
		t.Run(name, func(t *testing.T) {
			base, store := start(t, nil)
			got := wantError(t, do(t, http.MethodPut, base+api.PathKV+"key", body), http.StatusRequestEntityTooLarge, api.CodeTooLarge)
			if got.Details["limit"] != strconv.Itoa(api.MaxValueBytes) {
				t.Errorf("the details are %v", got.Details)
			}
			wantNotAsked(t, store)
		})
	}
	// What is far too large is not read to its end only to be refused.
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	httpapi.Register(r, &fakeStore{asked: make(chan asked, 1)})
	body := &endless{}
	req := httptest.NewRequest(http.MethodPut, api.PathKV+"key", body)
	req.ContentLength = 1 << 40
	w := httptest.NewRecorder()
	r.ServeHTTP(w, req)
	if w.Code != http.StatusRequestEntityTooLarge || body.read > 16<<20 {
		t.Errorf("answered %d after reading %d bytes", w.Code, body.read)
	}
}

// What is below /v1/ and no endpoint is told which ones there are.
func TestUnknownEndpoint(t *testing.T) {
	r := mux.NewRouter().UseEncodedPath().SkipClean(true)
	store := &fakeStore{asked: make(chan asked, 1)}
	httpapi.Register(r, store)
	httpapi.RegisterUnknown(r)
	for _, path := range []string{"/v1/nothing", "/v1/kv"} {
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(http.MethodGet, path, nil))
		if body := w.Body.String(); w.Code != http.StatusNotFound || !strings.Contains(body, path+": ") || !strings.Contains(body, api.PathScan) {
			t.Errorf("%s: %d %s", path, w.Code, body)
		}
	}
	wantNotAsked(t, store)
}

// exchange sends bytes and half-closes the connection; it returns the answer.
func exchange(t *testing.T, base, request string) answer {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(conn, request); err != nil {
		t.Fatal(err)
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	raw, err := io.ReadAll(conn)
	if err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(string(raw), "\r\n\r\n")
	status, rest, _ := strings.Cut(head, "\r\n")
	got := answer{&http.Response{Status: status, Header: http.Header{}}, []byte(body)}
	if _, err := fmt.Sscanf(status, "HTTP/1.1 %d", &got.StatusCode); err != nil {
		t.Fatalf("answered %q", raw)
	}
	for line := range strings.SplitSeq(rest, "\r\n") {
		name, value, _ := strings.Cut(line, ": ")
		got.Header.Set(name, value)
	}
	return got
}

// Half a value must never be stored.
func TestBodyThatEndsEarly(t *testing.T) {
	for name, request := range map[string]string{
		"with length":           "PUT /v1/kv/key HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 10\r\n\r\nhalf",
		"chunked, in a chunk":   "PUT /v1/kv/key HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\na\r\nhalf",
		"chunked, without end":  "PUT /v1/kv/key HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
		"chunked, no chunk yet": "PUT /v1/kv/key HTTP/1.1\r\nHost: x\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			base, store := start(t, nil)
			got := wantError(t, exchange(t, base, request), http.StatusBadRequest, api.CodeBadRequest)
			if !strings.Contains(got.Message, "early") {
				t.Errorf("the message is %q", got.Message)
			}
			wantNotAsked(t, store)
		})
	}
}

func TestBatch(t *testing.T) {
	base, store := start(t, nil)
	got := do(t, http.MethodPost, base+api.PathBatch, strings.NewReader(`{"commands":[{"op":"get","key":"YQ=="}]}`), api.HeaderNoForward, "1")
	if got.StatusCode != http.StatusOK || strings.TrimSpace(string(got.body)) != `{"results":[{"found":true,"value":"dmFsdWU=","version":"3.41"}]}` {
		t.Errorf("%s: %s", got.Status, got.body)
	}
	if a := <-store.asked; !a.req.NoForward || !reflect.DeepEqual(a.batch, api.Batch{Commands: []api.Command{{Op: api.OpGet, Key: []byte("a")}}}) {
		t.Errorf("asked for %+v", a.batch)
	}
	for name, tt := range map[string]struct {
		body   string
		status int
	}{
		"no JSON":        {"x", http.StatusBadRequest},
		"unknown field":  {`{"command":[]}`, http.StatusBadRequest},
		"two values":     {`{"commands":[]} {}`, http.StatusBadRequest},
		"too large":      {`{"commands":[{"op":"set","key":"YQ==","value":"` + strings.Repeat("A", 3<<20) + `"}]}`, http.StatusRequestEntityTooLarge},
		"key is no text": {`{"commands":[{"op":"get","key":"%"}]}`, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			if got := do(t, http.MethodPost, base+api.PathBatch, strings.NewReader(tt.body)); got.StatusCode != tt.status {
				t.Errorf("%s: %s", got.Status, got.body)
			}
		})
	}
	if got := do(t, http.MethodGet, base+api.PathBatch, nil); got.StatusCode != http.StatusMethodNotAllowed || got.Header.Get("Allow") != "POST" {
		t.Errorf("%s, Allow: %s", got.Status, got.Header.Get("Allow"))
	}
}
