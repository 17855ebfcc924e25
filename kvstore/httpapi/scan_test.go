package httpapi_test

import (
	"encoding/json"
	"net/http"
	"reflect"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func TestScan(t *testing.T) {
	base, store := start(t, nil)
	for query, want := range map[string]kvstore.ScanRequest{
		"":                                {Partition: -1},
		"?prefix=a%2Fb%00%FF%26&limit=12": {Prefix: []byte("a/b\x00\xff&"), Partition: -1, Limit: 12},
		"?partition=0":                    {},
		"?cursor=x-_y&newer=true":         {Partition: -1, Cursor: "x-_y", Newer: true},
	} {
		got := do(t, http.MethodGet, base+api.PathScan+query, nil)
		var answer api.ScanAnswer
		if err := json.Unmarshal(got.body, &answer); err != nil || got.StatusCode != http.StatusOK {
			t.Fatalf("%q: %s, %v: %s", query, got.Status, err, got.body)
		}
		if i := answer.Items[0]; string(i.Key) != "key\xff" || string(i.Value) != "value" || i.Version != "3.41" || answer.Cursor != "next" || answer.Partition != 3 || answer.Snapshot != "s" {
			t.Errorf("%q: %+v", query, answer)
		}
		if asked := wantAsked(t, store, "scan", ""); !reflect.DeepEqual(asked.scan, want) && (len(asked.scan.Prefix) > 0 || len(want.Prefix) > 0) {
			t.Errorf("%q: asked for %+v, want %+v", query, asked.scan, want)
		}
	}
	do(t, http.MethodGet, base+api.PathScan, nil, api.HeaderNoForward, "1")
	if asked := wantAsked(t, store, "scan", ""); !asked.scan.NoForward {
		t.Error("a request may be forwarded that must not be")
	}
}

func TestMisusedScan(t *testing.T) {
	base, store := start(t, nil)
	for _, query := range []string{
		"?limit=0", "?limit=-1", "?limit=1025", "?limit=x", "?limit=", "?limit=99999999999999999999",
		"?partition=-1", "?partition=x", "?partition=4294967296", "?newer=yes",
		"?prefix=%zz", "?prefix=a&prefix=b", "?prefiks=a",
	} {
		_ = wantError(t, do(t, http.MethodGet, base+api.PathScan+query, nil), http.StatusBadRequest, api.CodeBadRequest)
		wantNotAsked(t, store)
	}
	got := do(t, http.MethodPost, base+api.PathScan, nil)
	_ = wantError(t, got, http.StatusMethodNotAllowed, api.CodeBadRequest)
	if allow := got.Header.Get("Allow"); allow != http.MethodGet {
		t.Errorf("allowed is %q", allow)
	}
}

func TestScanWithoutSnapshot(t *testing.T) {
	base, _ := start(t, api.ErrSnapshotGone)
	_ = wantError(t, do(t, http.MethodGet, base+api.PathScan+"?cursor=x", nil), http.StatusGone, api.CodeSnapshotGone)
}
