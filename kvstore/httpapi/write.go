package httpapi

import (
	"net/http"
	"slices"
	"strconv"
	"strings"

	"github.com/skshohagmiah/clusterkit/kvstore"
	"github.com/skshohagmiah/clusterkit/kvstore/api"
	"github.com/skshohagmiah/clusterkit/kvstore/command"
)

func (s server) put(w http.ResponseWriter, r *http.Request) {
	result, ok := s.execute(w, r, api.Command{Op: api.OpSet})
	if ok {
		setVersion(w, result.Version)
		w.WriteHeader(http.StatusNoContent)
	}
}

func (s server) delete(w http.ResponseWriter, r *http.Request) {
	if _, ok := s.execute(w, r, api.Command{Op: api.OpDelete}); ok {
		w.WriteHeader(http.StatusNoContent)
	}
}

// operate executes the operation that the query names, and tells all of its
// result.
func (s server) operate(w http.ResponseWriter, r *http.Request) {
	c, err := operation(r)
	if err != nil {
		fail(w, err)
		return
	}
	if result, ok := s.execute(w, r, c); ok {
		setVersion(w, result.Version)
		writeJSON(w, result)
	}
}

// operation is what the query asks for. A delta in the body or under another
// name would be left out in silence, so neither is taken.
func operation(r *http.Request) (api.Command, error) {
	c := api.Command{Op: api.Op(r.URL.Query().Get(api.QueryOp))}
	switch {
	case !slices.Contains(command.Operations, c.Op):
		return c, api.Errorf(api.CodeBadRequest, "query %s: %q is not known, use %s", api.QueryOp, c.Op, orList(command.Operations))
	case r.ContentLength != 0 && !takesValue(c.Op):
		return c, api.Errorf(api.CodeBadRequest, "body: %s takes none; its arguments are query %s and header %s", c.Op, api.QueryDelta, api.HeaderTTL)
	}
	c.Report = c.Op == api.OpSet || c.Op == api.OpDelete
	if c.Op == api.OpIncrement {
		c.Delta = 1
	}
	for name, values := range r.URL.Query() {
		var err error
		switch {
		case name == api.QueryOp:
		case name != api.QueryDelta:
			return c, api.Errorf(api.CodeBadRequest, "query %s: it is not known, use %s or %s", name, api.QueryOp, api.QueryDelta)
		case c.Op != api.OpIncrement:
			return c, api.Errorf(api.CodeBadRequest, "query %s: it belongs to %s", api.QueryDelta, api.OpIncrement)
		default:
			c.Delta, err = strconv.ParseInt(values[0], 10, 64)
		}
		if err != nil {
			return c, api.Errorf(api.CodeBadRequest, "query %s: %q is not a whole number of 64 bits", api.QueryDelta, values[0])
		}
	}
	return c, nil
}

func takesValue(op api.Op) bool { return op == api.OpSet || op == api.OpAppend }

// orList is "a, b or c".
func orList(ops []api.Op) string {
	var b strings.Builder
	for i, op := range ops {
		switch {
		case i == 0:
		case i == len(ops)-1:
			b.WriteString(" or ")
		default:
			b.WriteString(", ")
		}
		b.WriteString(string(op))
	}
	return b.String()
}

// execute executes a command with the key, the value, the conditions and the
// time to live that the request gives it, or answers with an error.
func (s server) execute(w http.ResponseWriter, r *http.Request, c api.Command) (api.Result, bool) {
	req, ok := request(w, r)
	if !ok {
		return api.Result{}, false
	}
	c.Key = req.Key
	err := conditions(r.Header, &c)
	if err == nil {
		c.TTL, err = milliseconds(r.Header, api.HeaderTTL)
	}
	if err == nil && takesValue(c.Op) {
		c.Value, err = readValue(w, r)
	}
	b := api.Batch{Commands: []api.Command{c}}
	if err == nil {
		b.ID, err = requestID(r.Header)
	}
	var results []api.Result
	if err == nil {
		results, err = s.store.Execute(r.Context(), req, b)
	}
	if err != nil {
		fail(w, err)
		return api.Result{}, false
	}
	return results[0], true
}

// conditions reads on what the request depends.
func conditions(h http.Header, c *api.Command) error {
	match, noneMatch := h.Values("If-Match"), h.Values("If-None-Match")
	switch {
	case len(match)+len(noneMatch) > 1:
		return api.Errorf(api.CodeBadRequest, "headers If-Match and If-None-Match: give one of the two, once")
	case len(match) == 1 && match[0] == "*":
		c.If = api.IfPresent
	case len(match) == 1:
		version, ok := unquote(match[0])
		if !ok {
			return api.Errorf(api.CodeBadRequest, "header If-Match: %q is neither * nor one version in quotes, as ETag has it", match[0])
		}
		c.If, c.Version = api.IfVersion, version
	case len(noneMatch) == 1 && noneMatch[0] != "*":
		return api.Errorf(api.CodeBadRequest, "header If-None-Match: %q is not *", noneMatch[0])
	case len(noneMatch) == 1:
		c.If = api.IfAbsent
	}
	return nil
}

func unquote(tag string) (version string, ok bool) {
	if len(tag) < 3 || tag[0] != '"' || tag[len(tag)-1] != '"' {
		return "", false
	}
	version = tag[1 : len(tag)-1]
	return version, !strings.ContainsAny(version, `", `)
}

// requestID returns the ID of the request, nil if it has none.
func requestID(h http.Header) (*api.RequestID, error) {
	client, seq := h.Get(api.HeaderClient), h.Get(api.HeaderSeq)
	if client == "" && seq == "" {
		return nil, nil
	}
	n, err := strconv.ParseUint(seq, 10, 64)
	if client == "" || err != nil {
		return nil, api.Errorf(api.CodeBadRequest, "headers %s and %s: give both, the second a whole number of 64 bits", api.HeaderClient, api.HeaderSeq)
	}
	return &api.RequestID{Client: client, Seq: n}, nil
}

// milliseconds returns the positive number in a header, 0 if there is none.
func milliseconds(h http.Header, name string) (int64, error) {
	value := h.Get(name)
	if value == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(value, 10, 64)
	if err != nil || n <= 0 || n > api.MaxTTL {
		return 0, api.Errorf(api.CodeBadRequest, "header %s: %q is not a positive number of milliseconds, up to %d", name, value, int64(api.MaxTTL))
	}
	return n, nil
}

// setVersion tells the version of the value, if there is one.
func setVersion(w http.ResponseWriter, version string) {
	if version != "" {
		w.Header().Set(api.HeaderVersion, version)
		w.Header().Set("ETag", `"`+version+`"`)
	}
}

func (s server) mget(w http.ResponseWriter, r *http.Request) {
	var keys api.Keys
	if err := readJSON(w, r, &keys); err != nil {
		fail(w, err)
		return
	}
	results, err := s.store.MGet(r.Context(), kvstore.Request{NoForward: r.Header.Get(api.HeaderNoForward) != ""}, keys.Keys)
	if err != nil {
		fail(w, err)
		return
	}
	writeJSON(w, api.BatchAnswer{Results: results})
}
