package httpapi_test

import (
	"net/http"
	"reflect"
	"strings"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// What a request says becomes the command that is executed.
func TestCommands(t *testing.T) {
	key := []byte("key")
	for name, tc := range map[string]struct {
		method, query, body string
		header              []string
		want                api.Batch
		status              int
	}{
		"set":             {"PUT", "", "v", nil, api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: key, Value: []byte("v")}}}, 204},
		"set for a while": {"PUT", "", "v", []string{api.HeaderTTL, "1500"}, api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: key, Value: []byte("v"), TTL: 1500}}}, 204},
		"set if absent":   {"PUT", "", "v", []string{"If-None-Match", "*"}, api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: key, Value: []byte("v"), If: api.IfAbsent}}}, 204},
		"set if present":  {"PUT", "", "v", []string{"If-Match", "*"}, api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: key, Value: []byte("v"), If: api.IfPresent}}}, 204},
		"set if version":  {"PUT", "", "v", []string{"If-Match", `"2.7"`}, api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: key, Value: []byte("v"), If: api.IfVersion, Version: "2.7"}}}, 204},
		"set once": {"PUT", "", "v", []string{api.HeaderClient, "me", api.HeaderSeq, "7"},
			api.Batch{ID: &api.RequestID{Client: "me", Seq: 7}, Commands: []api.Command{{Op: api.OpSet, Key: key, Value: []byte("v")}}}, 204},
		"delete":                {"DELETE", "", "", nil, api.Batch{Commands: []api.Command{{Op: api.OpDelete, Key: key}}}, 204},
		"delete if version":     {"DELETE", "", "", []string{"If-Match", `"2.7"`}, api.Batch{Commands: []api.Command{{Op: api.OpDelete, Key: key, If: api.IfVersion, Version: "2.7"}}}, 204},
		"get and set":           {"POST", "?op=set", "v", nil, api.Batch{Commands: []api.Command{{Op: api.OpSet, Key: key, Value: []byte("v"), Report: true}}}, 200},
		"get and delete":        {"POST", "?op=delete", "", nil, api.Batch{Commands: []api.Command{{Op: api.OpDelete, Key: key, Report: true}}}, 200},
		"get with all there is": {"POST", "?op=get", "", nil, api.Batch{Commands: []api.Command{{Op: api.OpGet, Key: key}}}, 200},
		"increment":             {"POST", "?op=increment", "", nil, api.Batch{Commands: []api.Command{{Op: api.OpIncrement, Key: key, Delta: 1}}}, 200},
		"decrement":             {"POST", "?op=increment&delta=-5", "", nil, api.Batch{Commands: []api.Command{{Op: api.OpIncrement, Key: key, Delta: -5}}}, 200},
		"append":                {"POST", "?op=append", "v", nil, api.Batch{Commands: []api.Command{{Op: api.OpAppend, Key: key, Value: []byte("v")}}}, 200},
		"expire":                {"POST", "?op=expire", "", []string{api.HeaderTTL, "9"}, api.Batch{Commands: []api.Command{{Op: api.OpExpire, Key: key, TTL: 9}}}, 200},
		"persist":               {"POST", "?op=expire", "", nil, api.Batch{Commands: []api.Command{{Op: api.OpExpire, Key: key}}}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			base, store := start(t, nil)
			got := do(t, tc.method, base+api.PathKV+"key"+tc.query, strings.NewReader(tc.body), tc.header...)
			if got.StatusCode != tc.status {
				t.Fatalf("%s: %s", got.Status, got.body)
			}
			if a := <-store.asked; !reflect.DeepEqual(a.batch, tc.want) {
				t.Errorf("executed %+v, want %+v", a.batch, tc.want)
			}
			if tc.method == "DELETE" {
				return
			}
			if got.Header.Get(api.HeaderVersion) != "3.41" || got.Header.Get("ETag") != `"3.41"` {
				t.Errorf("version %q, tag %q", got.Header.Get(api.HeaderVersion), got.Header.Get("ETag"))
			}
			if tc.status == 200 && strings.TrimSpace(string(got.body)) != `{"found":true,"value":"dmFsdWU=","version":"3.41"}` {
				t.Errorf("answered %s", got.body)
			}
		})
	}
}

func TestRequestsThatMakeNoCommand(t *testing.T) {
	for name, tc := range map[string]struct {
		method, query string
		header        []string
		word          string
	}{
		"no operation":           {"POST", "", nil, "use get, set, delete, increment, append or expire"},
		"misspelt delta":         {"POST", "?op=increment&dleta=5", nil, "dleta"},
		"delta of no increment":  {"POST", "?op=append&delta=5", nil, "delta"},
		"unknown operation":      {"POST", "?op=frob", nil, "frob"},
		"delta is no number":     {"POST", "?op=increment&delta=x", nil, "delta"},
		"version without quotes": {"PUT", "", []string{"If-Match", "2.7"}, "If-Match"},
		"weak version":           {"PUT", "", []string{"If-Match", `W/"2.7"`}, "If-Match"},
		"several versions":       {"PUT", "", []string{"If-Match", `"2.7", "2.8"`}, "If-Match"},
		"empty version":          {"PUT", "", []string{"If-Match", `""`}, "If-Match"},
		"none of a version":      {"PUT", "", []string{"If-None-Match", `"2.7"`}, "If-None-Match"},
		"both conditions":        {"PUT", "", []string{"If-None-Match", "*", "If-Match", "*"}, "If-Match"},
		"TTL of nothing":         {"PUT", "", []string{api.HeaderTTL, "0"}, api.HeaderTTL},
		"TTL of ages":            {"PUT", "", []string{api.HeaderTTL, "9223372036854775807"}, api.HeaderTTL},
		"TTL in words":           {"PUT", "", []string{api.HeaderTTL, "1s"}, api.HeaderTTL},
		"half an ID":             {"PUT", "", []string{api.HeaderClient, "me"}, api.HeaderSeq},
		"the other half":         {"DELETE", "", []string{api.HeaderSeq, "1"}, api.HeaderClient},
		"negative sequence":      {"PUT", "", []string{api.HeaderClient, "me", api.HeaderSeq, "-1"}, api.HeaderSeq},
	} {
		t.Run(name, func(t *testing.T) {
			base, store := start(t, nil)
			got := wantError(t, do(t, tc.method, base+api.PathKV+"key"+tc.query, nil, tc.header...), http.StatusBadRequest, api.CodeBadRequest)
			if !strings.Contains(got.Message, tc.word) {
				t.Errorf("the message does not mention %s: %s", tc.word, got.Message)
			}
			wantNotAsked(t, store)
		})
	}
}

// What an operation does not take is refused rather than left out: a delta in
// the body would be counted as 1.
func TestBodyOfAnOperationWithoutValue(t *testing.T) {
	for _, op := range []api.Op{api.OpGet, api.OpDelete, api.OpIncrement, api.OpExpire} {
		t.Run(string(op), func(t *testing.T) {
			base, store := start(t, nil)
			got := wantError(t, do(t, "POST", base+api.PathKV+"key?op="+string(op), strings.NewReader("5")), http.StatusBadRequest, api.CodeBadRequest)
			if !strings.HasPrefix(got.Message, "body: ") || !strings.Contains(got.Message, "delta") {
				t.Errorf("the message does not say where a delta goes: %s", got.Message)
			}
			wantNotAsked(t, store)
		})
	}
}

// Errors of JSON are told in the words of the API, not of Go.
func TestBodiesThatAreNotTheirJSON(t *testing.T) {
	base, store := start(t, nil)
	for body, want := range map[string]string{
		`{"keys":"a"}`:       "keys is of type string: give an array",
		`[]`:                 "the whole is of type array: give an object",
		`{"keys":[7]}`:       "is of type number: give a string in base64",
		`{"keys":["!"]}`:     "keys and values are in base64",
		`{"kyes":[]}`:        `unknown field "kyes"`,
		`{"keys":["YQ=="]}}`: "there is more behind",
	} {
		got := wantError(t, do(t, "POST", base+api.PathMGet, strings.NewReader(body)), http.StatusBadRequest, api.CodeBadRequest)
		if !strings.Contains(got.Message, want) || strings.Contains(got.Message, "Go ") {
			t.Errorf("%s: %s, want %q", body, got.Message, want)
		}
	}
	wantNotAsked(t, store)
}

func TestTimeLeft(t *testing.T) {
	base, store := start(t, nil)
	if got := do(t, http.MethodGet, base+api.PathKV+"key", nil); got.Header.Get(api.HeaderTTL) != "" || got.Header.Get("ETag") != `"3.41"` {
		t.Errorf("for ever: %v", got.Header)
	}
	<-store.asked
	store.ttl = 70
	if got := do(t, http.MethodGet, base+api.PathKV+"key", nil); got.Header.Get(api.HeaderTTL) != "70" {
		t.Errorf("for a while: %v", got.Header)
	}
}

func TestMGet(t *testing.T) {
	base, store := start(t, nil)
	got := do(t, http.MethodPost, base+api.PathMGet, strings.NewReader(`{"keys":["YQ==","Yg=="]}`), api.HeaderNoForward, "1")
	if got.StatusCode != http.StatusOK || strings.TrimSpace(string(got.body)) != `{"results":[{},{}]}` {
		t.Errorf("%s: %s", got.Status, got.body)
	}
	if a := <-store.asked; a.method != "mget" || !a.req.NoForward || !reflect.DeepEqual(a.keys, [][]byte{[]byte("a"), []byte("b")}) {
		t.Errorf("asked %+v", a)
	}
	_ = wantError(t, do(t, http.MethodPost, base+api.PathMGet, strings.NewReader(`["YQ=="]`)), http.StatusBadRequest, api.CodeBadRequest)
	if got := do(t, http.MethodGet, base+api.PathMGet, nil); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("GET: %s", got.Status)
	}
}
