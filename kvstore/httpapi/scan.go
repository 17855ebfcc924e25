package httpapi

import (
	"net/http"
	"net/url"
	"strconv"

	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
)

func (s server) scan(w http.ResponseWriter, r *http.Request) {
	req, err := scanRequest(r.URL.RawQuery)
	if err != nil {
		fail(w, err)
		return
	}
	req.NoForward = r.Header.Get(api.HeaderNoForward) != ""
	answer, err := s.store.Scan(r.Context(), req)
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, answer)
}

// scanRequest reads the query of a scan, which names nothing twice and nothing
// that is not known.
func scanRequest(raw string) (req kvstore.ScanRequest, err error) {
	query, err := url.ParseQuery(raw)
	if err != nil {
		return req, api.Errorf(api.CodeBadRequest, "query: %v; percent-encode what is in it", err)
	}
	req.Partition = -1
	for name, values := range query {
		value := values[0]
		switch {
		case len(values) > 1:
			return req, api.Errorf(api.CodeBadRequest, "query %s: give it once", name)
		case name == api.QueryPrefix:
			req.Prefix = []byte(value)
		case name == api.QueryCursor:
			req.Cursor = value
		case name == api.QueryLimit:
			req.Limit, err = number(name, value, 1, api.MaxScanItems)
		case name == api.QueryPartition:
			req.Partition, err = number(name, value, 0, 1<<31-1)
		case name == api.QueryNewer && (value == "true" || value == "false"):
			req.Newer = value == "true"
		case name == api.QueryNewer:
			err = api.Errorf(api.CodeBadRequest, "query %s: %q is neither true nor false", name, value)
		default:
			err = api.Errorf(api.CodeBadRequest, "query %s: it is not known, use prefix, partition, limit, cursor or newer", name)
		}
		if err != nil {
			return req, err
		}
	}
	return req, nil
}

// number reads a whole number in the query.
func number(name, value string, least, most int) (int, error) {
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > most {
		return 0, api.Errorf(api.CodeBadRequest, "query %s: %q is not a whole number from %d to %d", name, value, least, most)
	}
	return n, nil
}
