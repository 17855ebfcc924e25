package localcluster

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// A voter whose data are gone counts as one that is down.
func TestMissingVoters(t *testing.T) {
	three := &client.Status{Nodes: []client.Node{{RaftID: "a/1"}, {RaftID: "b/2"}, {RaftID: "c/1"}}}
	two := &client.Status{Nodes: three.Nodes[:2]}
	for _, test := range []struct {
		name    string
		status  *client.Status
		servers string
		want    string
	}{
		{"all vote", three, `{"id": "a/1", "voter": true}, {"id": "b/2", "voter": true}, {"id": "c/1", "voter": true}`, ""},
		{"one came back empty", three, `{"id": "a/1", "voter": true}, {"id": "b/1", "voter": true}, {"id": "b/2"}, {"id": "c/1", "voter": true}`, "b/1 is gone and still votes"},
		{"and does not vote yet", three, `{"id": "a/1", "voter": true}, {"id": "b/2"}, {"id": "c/1", "voter": true}`, "2 nodes vote, not 3 yet"},
		{"what is gone only follows", three, `{"id": "a/1", "voter": true}, {"id": "b/1"}, {"id": "b/2", "voter": true}, {"id": "c/1", "voter": true}`, ""},
		{"two nodes", two, `{"id": "a/1", "voter": true}, {"id": "b/2"}`, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				fmt.Fprintf(w, `{"servers": [%s]}`, test.servers)
			}))
			defer srv.Close()
			n := &Node{HTTPAddr: strings.TrimPrefix(srv.URL, "http://")}
			err := missingVoters(t.Context(), n, test.status)
			if got := fmt.Sprint(err); test.want == "" && err != nil || test.want != "" && got != test.want {
				t.Errorf("missing is %q, want %q", got, test.want)
			}
		})
	}
}
