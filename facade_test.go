package clusterkit_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"testing"
)

// TestEveryErrorIsHere: an application that imports the module's own path can
// tell all errors apart, and names everything that the methods take and return.
func TestEveryErrorIsHere(t *testing.T) {
	here := exported(t, "clusterkit.go")
	for _, file := range []string{"errors.go", "events.go", "health.go"} {
		for name := range exported(t, "clusterkit/"+file) {
			if !here[name] {
				t.Errorf("%s of clusterkit/%s is not here", name, file)
			}
		}
	}
	if errs := exported(t, "clusterkit/errors.go"); len(errs) < 10 {
		t.Errorf("clusterkit/errors.go seems to have these only: %v", errs)
	}
}

// exported returns the names that a file declares for others.
func exported(t *testing.T, path string) map[string]bool {
	t.Helper()
	file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	add := func(name string) {
		if ast.IsExported(name) {
			names[name] = true
		}
	}
	for _, decl := range file.Decls {
		group, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, one := range group.Specs {
			switch one := one.(type) {
			case *ast.ValueSpec:
				for _, name := range one.Names {
					add(name.Name)
				}
			case *ast.TypeSpec:
				add(one.Name.Name)
			}
		}
	}
	return names
}
