package clusterkit

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/gorilla/mux"
)

// spec is openapi.json, or a part of it.
type spec map[string]any

var apiSpec = sync.OnceValue(func() spec {
	var s spec
	if err := json.Unmarshal(openAPI, &s); err != nil {
		panic(err)
	}
	return s
})

// at returns the part at the end of the keys, nil if there is none, and follows
// references on the way.
func (s spec) at(keys ...string) spec {
	for _, key := range keys {
		next, _ := s.resolved()[key].(map[string]any)
		s = next
	}
	return s.resolved()
}

func (s spec) resolved() spec {
	ref, ok := s["$ref"].(string)
	if !ok {
		return s
	}
	keys := strings.Split(strings.TrimPrefix(ref, "#/"), "/")
	target := apiSpec().at(keys...)
	if target == nil {
		panic("openapi.json refers to " + ref + ", which is not there")
	}
	return target
}

// operation returns the operation that a request is, nil if there is none.
func operation(method, path string) spec {
	if method == http.MethodHead {
		method = http.MethodGet
	}
	var found spec
	best := -1
	for template := range apiSpec().at("paths") {
		if literal, ok := fits(template, path); ok && literal > best {
			best, found = literal, apiSpec().at("paths", template, strings.ToLower(method))
		}
	}
	return found
}

// fits reports whether the path is of that template, and in how many places it
// is literally the same.
func fits(template, path string) (literal int, ok bool) {
	want, got := strings.Split(template, "/"), strings.Split(path, "/")
	for i, part := range want {
		switch {
		case len(want) != len(got):
			return 0, false
		case part == got[i]:
			literal++
		case !strings.HasPrefix(part, "{") || got[i] == "":
			return 0, false
		}
	}
	return literal, true
}

// checkAnswer returns what in an answer is not as openapi.json says.
func checkAnswer(method, path string, resp *http.Response, body []byte) error {
	path, _, _ = strings.Cut(path, "?")
	op := operation(method, path)
	schema := spec{"$ref": "#/components/schemas/Error"}
	switch {
	case op == nil && (resp.StatusCode == http.StatusNotFound || resp.StatusCode == http.StatusMethodNotAllowed):
	case op == nil:
		return errors.New("there is no such operation")
	default:
		answer := op.at("responses", strconv.Itoa(resp.StatusCode))
		if answer == nil {
			return fmt.Errorf("status %d is not documented", resp.StatusCode)
		}
		for name := range answer.at("headers") {
			if resp.Header.Get(name) == "" {
				return fmt.Errorf("there is no header %s", name)
			}
		}
		content := answer.at("content")
		if method == http.MethodHead || content == nil {
			if len(body) > 0 {
				return fmt.Errorf("there is a body: %s", body)
			}
			return nil
		}
		kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
		if content[kind] == nil {
			return fmt.Errorf("content type %q is not documented", kind)
		}
		if kind != "application/json" {
			return nil
		}
		schema = content.at("application/json", "schema")
	}
	var value any
	if err := json.Unmarshal(body, &value); err != nil {
		return err
	}
	return errors.Join(schema.check("body", value)...)
}

// check returns what in the value is not as the schema says. It knows the
// keywords that openapi.json uses, and fails at others.
func (s spec) check(at string, value any) (errs []error) {
	s = s.resolved()
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(at+": "+format, args...)) }
	for _, keyword := range slices.Sorted(maps.Keys(s)) {
		argument := s[keyword]
		switch keyword {
		case "description", "examples", "default", "required", "properties", "additionalProperties", "items", "format":
		case "type":
			if !hasType(value, argument.(string)) {
				fail("%v is no %v", value, argument)
			}
		case "enum":
			if !slices.Contains(argument.([]any), value) {
				fail("%v is none of %v", value, argument)
			}
		case "minimum":
			if n, ok := value.(float64); ok && n < argument.(float64) {
				fail("%v is less than %v", value, argument)
			}
		case "maximum":
			if n, ok := value.(float64); ok && n > argument.(float64) {
				fail("%v is more than %v", value, argument)
			}
		case "anyOf":
			if !slices.ContainsFunc(argument.([]any), func(one any) bool {
				return len(spec(one.(map[string]any)).check(at, value)) == 0
			}) {
				fail("%v is none of the alternatives", value)
			}
			return errs
		default:
			fail("the schema has the keyword %s, which is not checked", keyword)
		}
	}
	switch value := value.(type) {
	case map[string]any:
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, ok := value[name.(string)]; !ok {
				fail("%s is missing", name)
			}
		}
		for name, field := range value {
			schema := s.at("properties", name)
			if schema == nil {
				schema = s.at("additionalProperties")
			}
			if schema == nil {
				if any, _ := s["additionalProperties"].(bool); !any {
					fail("%s is not documented", name)
				}
				continue
			}
			errs = append(errs, schema.check(at+"."+name, field)...)
		}
	case []any:
		for i, item := range value {
			errs = append(errs, s.at("items").check(fmt.Sprintf("%s[%d]", at, i), item)...)
		}
	}
	return errs
}

func hasType(value any, name string) bool {
	switch v := value.(type) {
	case nil:
		return name == "null"
	case string:
		return name == "string"
	case bool:
		return name == "boolean"
	case float64:
		return name == "integer" && v == float64(int64(v))
	case []any:
		return name == "array"
	case map[string]any:
		return name == "object"
	default:
		return false
	}
}

// TestSchemaCheck shows that the check fails.
func TestSchemaCheck(t *testing.T) {
	for _, tt := range []struct{ schema, value, problem string }{
		{"Draining", `{"node":"n","copies":1,"message":"m"}`, ""},
		{"Draining", `{"node":"n","copies":1}`, "message is missing"},
		{"Draining", `{"node":"n","copies":1,"message":"m","more":1}`, "more is not documented"},
		{"Draining", `{"node":"n","copies":"1","message":"m"}`, "body.copies: 1 is no integer"},
		{"Draining", `{"node":"n","copies":1.5,"message":"m"}`, "is no integer"},
		{"Draining", `{"node":"n","copies":-1,"message":"m"}`, "is less than 0"},
		{"Draining", `[]`, "is no object"},
		{"Error", `{"error":{"code":"other","message":"m"}}`, "is none of"},
		{"Error", `{"error":{"code":"refused","message":null}}`, "is no string"},
		{"Metadata", `{"version":1,"metadata":{"a":"b"}}`, ""},
		{"Metadata", `{"version":1,"metadata":{"a":1}}`, "body.metadata.a: 1 is no string"},
		{"Metadata", `{"version":1,"metadata":null}`, "is no object"},
		{"Key", `{"version":1,"key":"k","partition":{},"primary":[],"replicas":[]}`, "body.primary: [] is none of the alternatives"},
		{"Plan", `{"rounds":[[{"partition":"p","index":0,"kind":"swap","node":"n"}]],"copies":0,"nodes":[]}`, "body.rounds[0][0].kind: swap is none of"},
	} {
		var value any
		if err := json.Unmarshal([]byte(tt.value), &value); err != nil {
			t.Fatal(err)
		}
		err := errors.Join(apiSpec().at("components", "schemas", tt.schema).check("body", value)...)
		if (err == nil) != (tt.problem == "") || err != nil && !strings.Contains(err.Error(), tt.problem) {
			t.Errorf("%s %s: %v, want %q", tt.schema, tt.value, err, tt.problem)
		}
	}
	if errs := (spec{"pattern": "x"}).check("body", "x"); len(errs) != 1 {
		t.Errorf("an unknown keyword: %v", errs)
	}
}

// TestEveryRouteIsDescribed, and every description is of a route.
func TestEveryRouteIsDescribed(t *testing.T) {
	ck := newStopped(t)
	served := make(map[string]bool)
	if err := ck.api.router.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error {
		path, err := route.GetPathTemplate()
		if err != nil {
			return err
		}
		methods, err := route.GetMethods()
		for _, method := range methods {
			if method != http.MethodHead {
				served[strings.ToLower(method)+" "+path] = true
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	described := make(map[string]bool)
	ids := make(map[any]bool)
	for path := range apiSpec().at("paths") {
		for method := range apiSpec().at("paths", path) {
			described[method+" "+path] = true
			ids[apiSpec().at("paths", path, method)["operationId"]] = true
		}
	}
	for operation := range served {
		if !described[operation] {
			t.Errorf("%s is served and not described", operation)
		}
	}
	for operation := range described {
		if !served[operation] {
			t.Errorf("%s is described and not served", operation)
		}
	}
	if len(ids) != len(described) {
		t.Errorf("%d operations have %d IDs", len(described), len(ids))
	}
}

// TestSchemasAreTheTypes: each schema has the fields of its type, and requires
// those that are always there.
func TestSchemasAreTheTypes(t *testing.T) {
	types := map[string]any{
		"Config": Config{}, "Node": Node{}, "NodeView": nodeView{}, "Member": Member{}, "Partition": Partition{},
		"Cluster": clusterAnswer{}, "Nodes": nodesAnswer{}, "NodeAnswer": nodeAnswer{}, "Partitions": partitionsAnswer{},
		"NodeStats": nodeStats{}, "Stats": partitionStats{}, "Key": keyAnswer{}, "Move": Move{}, "Moves": movesAnswer{},
		"Changes": Changes{}, "PlannedStep": plannedStep{}, "NodeLoad": NodeLoad{}, "Plan": planAnswer{},
		"Metadata": metadataAnswer{}, "MetadataEntry": entryAnswer{}, "Draining": drainingAnswer{}, "Leader": leaderAnswer{},
		"RaftServer": serverView{}, "Consensus": consensusAnswer{}, "Check": check{}, "Probe": probeAnswer{},
		"Health": healthAnswer{}, "Copy": copyStats{}, "JoinRequest": joinRequest{}, "Error": errorBody{},
		"Relocation": Relocation{}, "Relocated": Relocated{},
		"Announcement": announcement{}, "AnnounceRequest": announceRequest{},
		"AnnounceAnswer": struct {
			Known []announcement `json:"known,omitempty"`
		}{},
		"JoinAnswer": struct {
			ClusterUUID string `json:"cluster_uuid"`
			Config      Config `json:"config"`
		}{},
	}
	compare := func(name string, schema spec, of reflect.Type) {
		fields := make(map[string]bool)
		jsonFields(of, fields)
		var required []string
		list, _ := schema["required"].([]any)
		for _, field := range list {
			required = append(required, field.(string))
		}
		for field, optional := range fields {
			if schema.at("properties", field) == nil {
				t.Errorf("%s.%s is not described", name, field)
			}
			if optional == slices.Contains(required, field) {
				t.Errorf("%s.%s: it may be absent: %v; it is required: %v", name, field, optional, !optional)
			}
		}
		for field := range schema.at("properties") {
			if _, ok := fields[field]; !ok {
				t.Errorf("%s has no field %s", name, field)
			}
		}
	}
	for name := range apiSpec().at("components", "schemas") {
		schema := apiSpec().at("components", "schemas", name)
		if of, ok := types[name]; ok {
			compare(name, schema, reflect.TypeOf(of))
			delete(types, name)
		} else if schema["type"] == "object" {
			t.Errorf("schema %s is of no type", name)
		}
	}
	compare("Error.error", apiSpec().at("components", "schemas", "Error", "properties", "error"), reflect.TypeFor[errorDetail]())
	for name := range types {
		t.Errorf("there is no schema %s", name)
	}
}

// jsonFields adds the fields of a struct, and whether they may be absent.
func jsonFields(of reflect.Type, to map[string]bool) {
	for field := range of.Fields() {
		name, option, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && name == "":
			jsonFields(field.Type, to)
		case field.IsExported():
			to[name] = option != ""
		}
	}
}

// TestCodesAreDescribed: those in errors.go, with a status each.
func TestCodesAreDescribed(t *testing.T) {
	file, err := parser.ParseFile(token.NewFileSet(), "errors.go", nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	// An incarnation is a matter between a node and the leader.
	wanted := map[string]bool{}
	ast.Inspect(file, func(n ast.Node) bool {
		constant, ok := n.(*ast.ValueSpec)
		if !ok || constant.Type == nil {
			return true
		}
		if of, ok := constant.Type.(*ast.Ident); ok && of.Name == "code" {
			if value, err := strconv.Unquote(constant.Values[0].(*ast.BasicLit).Value); err == nil {
				wanted[value] = true
			}
		}
		return true
	})
	delete(wanted, string(codeOK))
	delete(wanted, string(codeIncarnation))
	if len(wanted) < 10 {
		t.Fatalf("errors.go seems to have these codes only: %v", wanted)
	}
	listed := apiSpec().at("components", "schemas", "Code")["enum"].([]any)
	for _, name := range listed {
		if !wanted[name.(string)] {
			t.Errorf("%s is described, and is not in errors.go", name)
		}
	}
	for name := range wanted {
		if !slices.Contains(listed, any(name)) {
			t.Errorf("%s is not described", name)
		}
		if statuses[code(name)] == 0 {
			t.Errorf("%s has no status", name)
		}
	}
	if len(statuses) != len(wanted) {
		t.Errorf("%d codes have a status, %d are in errors.go", len(statuses), len(wanted))
	}
}

// TestExamplesAreValid checks the examples of bodies against their schemas.
func TestExamplesAreValid(t *testing.T) {
	examples := 0
	var visit func(at string, part any)
	visit = func(at string, part any) {
		switch part := part.(type) {
		case map[string]any:
			if example, ok := part["example"]; ok {
				examples++
				if errs := spec(part).at("schema").check(at, example); len(errs) > 0 {
					t.Error(errors.Join(errs...))
				}
			}
			for key, inner := range part {
				visit(at+"/"+key, inner)
			}
		case []any:
			for i, inner := range part {
				visit(fmt.Sprintf("%s/%d", at, i), inner)
			}
		}
	}
	visit("", map[string]any(apiSpec()))
	if examples < 10 {
		t.Errorf("there are %d examples only", examples)
	}
}

// answer is what a node has answered.
type answer struct {
	status int
	header http.Header
	body   map[string]any
}

func (a answer) code() any {
	detail, _ := a.body["error"].(map[string]any)
	return detail["code"]
}

func (a answer) message() string {
	detail, _ := a.body["error"].(map[string]any)
	message, _ := detail["message"].(string)
	return message
}

// send sends a request to a node and holds the answer against openapi.json.
func (c *testCluster) send(node, method, path, body string, header ...string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, "http://"+c.http[node]+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	if err := checkAnswer(method, path, resp, read); err != nil {
		c.t.Errorf("%s %s: %s: %v\n%s", method, path, resp.Status, err, read)
	}
	a := answer{status: resp.StatusCode, header: resp.Header}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") && method != http.MethodHead {
		if err := json.Unmarshal(read, &a.body); err != nil {
			c.t.Fatalf("%s %s: %v", method, path, err)
		}
	}
	return a
}

// ask gets the path from a node.
func (c *testCluster) ask(node, path string, header ...string) answer {
	c.t.Helper()
	return c.send(node, http.MethodGet, path, "", header...)
}

// serve has a node answer that need not listen, and holds the answer against
// openapi.json.
func serve(t *testing.T, ck *ClusterKit, req *http.Request) answer {
	t.Helper()
	w := httptest.NewRecorder()
	ck.Handler().ServeHTTP(w, req)
	resp := w.Result()
	defer resp.Body.Close()
	if err := checkAnswer(req.Method, req.URL.Path, resp, w.Body.Bytes()); err != nil {
		t.Errorf("%s %s: %s: %v\n%s", req.Method, req.URL, resp.Status, err, w.Body)
	}
	a := answer{status: w.Code, header: resp.Header}
	if strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json") {
		if err := json.Unmarshal(w.Body.Bytes(), &a.body); err != nil {
			t.Fatalf("%s %s: %v", req.Method, req.URL, err)
		}
	}
	return a
}

// newStopped returns a node that was not started.
func newStopped(t *testing.T) *ClusterKit {
	t.Helper()
	ck, err := NewClusterKit(newTestCluster(t, Config{}).options("node-1"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, ck) })
	return ck
}
