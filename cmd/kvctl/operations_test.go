package main

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

// recording returns a node that remembers the last batch, or keys, and answers
// with the result for each.
func recording(t *testing.T, r api.Result) (addr string, asked *string) {
	asked = new(string)
	return serve(t, func(w http.ResponseWriter, req *http.Request) {
		var got struct {
			ID       *api.RequestID
			Commands []json.RawMessage
			Keys     []json.RawMessage
		}
		if err := json.NewDecoder(req.Body).Decode(&got); err != nil {
			t.Errorf("%s %s: %v", req.Method, req.URL, err)
		}
		*asked = ""
		answer := api.BatchAnswer{}
		for _, c := range append(got.Commands, got.Keys...) {
			*asked += string(c)
			answer.Results = append(answer.Results, r)
		}
		json.NewEncoder(w).Encode(answer)
	}), asked
}

func TestOperations(t *testing.T) {
	addr, asked := recording(t, api.Result{Found: true, Number: 5, Value: []byte("v"), Version: "1.2"})
	for _, tc := range []struct {
		stdin string
		args  []string
		asked string
		want  result
	}{
		{"", []string{"incr", "k"}, `{"op":"increment","key":"aw==","delta":1}`, result{exitOK, "5\n", ""}},
		{"", []string{"incr", "--", "k", "-3"}, `{"op":"increment","key":"aw==","delta":-3}`, result{exitOK, "5\n", ""}},
		{"", []string{"append", "k", "v"}, `{"op":"append","key":"aw==","value":"dg=="}`, result{}},
		{"v", []string{"append", "k", "-"}, `{"op":"append","key":"aw==","value":"dg=="}`, result{}},
		{"", []string{"expire", "k", "1.5s"}, `{"op":"expire","key":"aw==","ttl_ms":1500}`, result{}},
		{"", []string{"expire", "k", "0"}, `{"op":"expire","key":"aw=="}`, result{}},
		{"", []string{"set", "k", "v", "--if-absent"}, `{"op":"set","key":"aw==","value":"dg==","if":"absent"}`, result{}},
		{"", []string{"set", "k", "v", "--if-present"}, `{"op":"set","key":"aw==","value":"dg==","if":"present"}`, result{}},
		{"", []string{"set", "k", "v", "--if-version", "1.2", "--ttl", "1s"}, `{"op":"set","key":"aw==","value":"dg==","ttl_ms":1000,"if":"version","version":"1.2"}`, result{}},
		{"", []string{"set", "k", "v", "--ttl", "1s"}, `{"op":"set","key":"aw==","value":"dg==","ttl_ms":1000}`, result{}},
		{"", []string{"del", "k", "--if-version", "1.2"}, `{"op":"delete","key":"aw==","if":"version","version":"1.2"}`, result{}},
		{"", []string{"mget", "a", "b"}, `"YQ==""Yg=="`, result{exitOK, `{"key":"a","found":true,"value":"dg==","number":5,"version":"1.2"}` + "\n" +
			`{"key":"b","found":true,"value":"dg==","number":5,"version":"1.2"}` + "\n", ""}},
		{`{"commands":[{"op":"get","key":"YQ=="}]}`, []string{"batch"}, `{"op":"get","key":"YQ=="}`,
			result{exitOK, `{"results":[{"found":true,"value":"dg==","number":5,"version":"1.2"}]}` + "\n", ""}},
	} {
		if got := kvctlRun(t, tc.stdin, append([]string{"--endpoints", addr}, tc.args...)...); got != tc.want || *asked != tc.asked {
			t.Errorf("%q: %+v, want %+v;\nasked %s, want %s", tc.args, got, tc.want, *asked, tc.asked)
		}
	}
}

func TestGetInJSON(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set(api.HeaderVersion, "1.2")
		w.Header().Set(api.HeaderTTL, "1500")
		w.Write([]byte("v"))
	})
	want := result{exitOK, `{"found":true,"value":"dg==","version":"1.2","ttl_ms":1500}` + "\n", ""}
	if got := kvctlRun(t, "", "--endpoints", addr, "get", "-o", "json", "k"); got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
}

func TestScan(t *testing.T) {
	addr := serve(t, func(w http.ResponseWriter, req *http.Request) {
		q := req.URL.Query()
		answer := api.ScanAnswer{Items: []api.ScanItem{{Key: []byte("p/a"), Value: []byte("v"), Version: "1.2", TTL: 1500}, {Key: []byte("p/\n"), Version: "1.3"}}, Cursor: "next"}
		if q.Get(api.QueryCursor) == "next" {
			answer = api.ScanAnswer{Items: []api.ScanItem{{Key: []byte("p/c"), Version: "1.4"}}}
		} else if q.Get(api.QueryPrefix) != "p/" {
			answer = api.ScanAnswer{}
		}
		json.NewEncoder(w).Encode(answer)
	})
	for _, tc := range []struct {
		args []string
		want result
	}{
		{[]string{"scan"}, result{}},
		{[]string{"scan", "p/"}, result{exitOK, "p/a\n\"p/\\n\"\np/c\n", ""}},
		{[]string{"scan", "p/", "--limit", "1"}, result{exitOK, "p/a\n", ""}},
		{[]string{"scan", "p/", "--limit", "1", "-o", "json"}, result{exitOK, `{"key":"cC9h","found":true,"value":"dg==","version":"1.2","ttl_ms":1500}` + "\n", ""}},
	} {
		if got := kvctlRun(t, "", append([]string{"--endpoints", addr}, tc.args...)...); got != tc.want {
			t.Errorf("%q: %+v, want %+v", tc.args, got, tc.want)
		}
	}
	gone := answering(t, api.CodeSnapshotGone)
	if got := kvctlRun(t, "", "--endpoints", gone, "scan"); got.code != exitError || !strings.Contains(got.stderr, "--newer") {
		t.Errorf("without its snapshot: %+v", got)
	}
}

func TestMisusedOperations(t *testing.T) {
	absent, _ := recording(t, api.Result{})
	for _, tc := range []struct {
		stdin string
		args  []string
		code  int
		word  string
	}{
		{"", []string{"incr"}, exitUsage, "KEY is missing"},
		{"", []string{"incr", "k", "x"}, exitUsage, "DELTA"},
		{"", []string{"incr", "k", "1", "2"}, exitUsage, "unexpected"},
		{"", []string{"append", "", "v"}, exitUsage, "key is empty"},
		{"", []string{"expire", "k", "soon"}, exitUsage, "TTL"},
		{"", []string{"expire", "k", "1us"}, exitUsage, "TTL"},
		{"", []string{"expire", "k", "1s"}, exitNotFound, `expire "k": key not found`},
		{"", []string{"set", "k", "v", "--ttl", "-1s"}, exitUsage, "--ttl"},
		{"", []string{"set", "k", "v", "--if-absent", "--if-present"}, exitUsage, "if-absent"},
		{"", []string{"get", "k", "-o", "xml"}, exitUsage, "--output"},
		{"", []string{"mget"}, exitUsage, "KEY is missing"},
		{"", []string{"scan", "a", "b"}, exitUsage, "arg"},
		{"", []string{"scan", "-o", "xml"}, exitUsage, "--output"},
		{"", []string{"scan", "--limit", "-1"}, exitUsage, "--limit"},
		{"", []string{"mget", "a", ""}, exitUsage, "key is empty"},
		{"nonsense", []string{"batch"}, exitUsage, "JSON"},
		{`{"command":[]}`, []string{"batch"}, exitUsage, "command"},
		{"{}", []string{"batch", "x"}, exitUsage, "x"},
	} {
		got := kvctlRun(t, tc.stdin, append([]string{"--endpoints", absent}, tc.args...)...)
		if got.code != tc.code || !strings.Contains(got.stderr, tc.word) || got.stdout != "" {
			t.Errorf("%q: %+v, want exit code %d and %q", tc.args, got, tc.code, tc.word)
		}
	}
	failed := answering(t, api.CodeConditionFailed)
	for _, args := range [][]string{{"set", "k", "v", "--if-absent"}, {"del", "k", "--if-version", "1.2"}} {
		if got := kvctlRun(t, "", append([]string{"--endpoints", failed}, args...)...); got.code != exitNotFound {
			t.Errorf("%q: %+v", args, got)
		}
	}
}
