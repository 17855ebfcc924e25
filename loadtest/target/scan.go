package target

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/client"
)

// scanPage is how many keys a page of a ScanPrefix has: so few that what a scan
// shows is of several requests.
const scanPage = 2

// scanned gathers what a ScanPrefix finds.
type scanned struct {
	keys map[string]Result
	// again are further results of a key that was found before.
	again []Result
}

func (s *scanned) add(key string, value []byte, version string) {
	r := Result{Found: true, Value: value, Version: version}
	if _, ok := s.keys[key]; ok {
		s.again = append(s.again, r)
		return
	}
	if s.keys == nil {
		s.keys = map[string]Result{}
	}
	s.keys[key] = r
}

// result returns one result for each key that is expected, and then whatever was
// found beside them.
func (s *scanned) result(op Op) Result {
	rest := maps.Clone(s.keys)
	var r Result
	for _, expected := range op.Ops {
		r.Results = append(r.Results, rest[expected.Key])
		delete(rest, expected.Key)
	}
	for _, key := range slices.Sorted(maps.Keys(rest)) {
		r.Results = append(r.Results, rest[key])
	}
	r.Results = append(r.Results, s.again...)
	return r
}

// scan follows the pages of a scan from node to node.
func (t *httpTarget) scan(ctx context.Context, op Op) (Result, error) {
	var s scanned
	query := url.Values{api.QueryPrefix: {op.Key}, api.QueryLimit: {strconv.Itoa(scanPage)}}
	for {
		answer, err := t.send(ctx, httpRequest{method: http.MethodGet, path: api.PathScan + "?" + query.Encode()})
		if err != nil {
			return Result{}, failed(err)
		}
		if answer.status != http.StatusOK {
			return answer.result(op)
		}
		var page api.ScanAnswer
		if err := json.Unmarshal(answer.body, &page); err != nil {
			return Result{}, failedf("the answer is not a page of a scan: %w", err)
		}
		for _, item := range page.Items {
			s.add(string(item.Key), item.Value, item.Version)
		}
		if page.Cursor == "" {
			return s.result(op), nil
		}
		query.Del(api.QueryPrefix) // the cursor has it
		query.Set(api.QueryCursor, page.Cursor)
	}
}

func scanClient(ctx context.Context, c *client.Client, op Op) (Result, error) {
	var s scanned
	for item, err := range c.Scan(ctx, op.Key, client.ScanOptions{PageItems: scanPage}) {
		if err != nil {
			return Result{}, fmt.Errorf("scan: %w", err)
		}
		s.add(item.Key, item.Data, item.Version)
	}
	return s.result(op), nil
}
