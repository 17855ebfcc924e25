package clusterkit_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const (
	module = "github.com/skshohagmiah/clusterkit"
	badger = "github.com/dgraph-io/badger"
	raft   = "github.com/hashicorp/raft"
	cobra  = "github.com/spf13"
)

// goPackage is what `go list` tells of a package.
type goPackage struct {
	ImportPath   string
	Standard     bool
	Imports      []string
	TestImports  []string
	XTestImports []string
	// Deps are all packages that it is built from.
	Deps []string
}

// builds returns every package that the module is built from, by path.
func builds(t *testing.T) map[string]goPackage {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-deps", "-json=ImportPath,Standard,Imports,TestImports,XTestImports,Deps", "./...").Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		t.Fatalf("go list: %v\n%s", err, exit.Stderr)
	} else if err != nil {
		t.Fatalf("go list: %v", err)
	}
	packages := map[string]goPackage{}
	for dec := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p goPackage
		if err := dec.Decode(&p); errors.Is(err, io.EOF) {
			return packages
		} else if err != nil {
			t.Fatalf("go list: %v", err)
		}
		packages[p.ImportPath] = p
	}
}

// below reports whether path is one of the trees or stands below one.
func below(path string, trees ...string) bool {
	return slices.ContainsFunc(trees, func(tree string) bool {
		return path == tree || strings.HasPrefix(path, tree+"/")
	})
}

// imported returns those of the paths that stand in one of the trees.
func imported(paths []string, trees ...string) []string {
	return slices.DeleteFunc(slices.Clone(paths), func(path string) bool { return !below(path, trees...) })
}

// What a package is built from, through whatever it imports.
func TestDependencies(t *testing.T) {
	packages := builds(t)
	for _, tc := range []struct {
		tree string
		// not must not be among the dependencies, except for what is in but.
		not, but []string
	}{
		{tree: module + "/clusterkit", not: []string{badger, module + "/kvstore", module + "/cmd", module + "/loadtest"}},
		{tree: module + "/examples", not: []string{badger, module + "/kvstore", module + "/cmd", module + "/loadtest"}},
		{
			tree: module + "/kvstore/client",
			not:  []string{raft, badger, module + "/clusterkit", module + "/kvstore"},
			but:  []string{module + "/kvstore/client", module + "/kvstore/api"},
		},
		{
			tree: module + "/cmd/kvctl",
			not:  []string{raft, badger, module + "/clusterkit", module + "/kvstore"},
			but:  []string{module + "/kvstore/client", module + "/kvstore/api"},
		},
		{tree: module + "/kvstore/api", not: []string{module}},
		{tree: module + "/kvstore/partition", not: []string{module, "net", "log"}, but: []string{module + "/kvstore/partition", module + "/kvstore/planted"}},
		{tree: module + "/kvstore/wal", not: []string{module}},
		{tree: module + "/kvstore/migration", not: []string{module}, but: []string{module + "/kvstore/migration", module + "/kvstore/api"}},
	} {
		t.Run(strings.TrimPrefix(tc.tree, module+"/"), func(t *testing.T) {
			found := false
			for path, p := range packages {
				if !below(path, tc.tree) {
					continue
				}
				found = true
				for _, dep := range imported(p.Deps, tc.not...) {
					if !below(dep, tc.but...) {
						t.Errorf("%s depends on %s", path, dep)
					}
				}
			}
			if !found {
				t.Errorf("there is no package in %s", tc.tree)
			}
		})
	}
	// The list is transitive: otherwise nothing above could ever fail.
	for _, dep := range []string{badger + "/v4", raft, module + "/kvstore/storage"} {
		if !slices.Contains(packages[module+"/cmd/kvnode"].Deps, dep) {
			t.Errorf("kvnode does not seem to depend on %s; is the list complete?", dep)
		}
	}
}

func TestPlacementNeedsTheStandardLibraryOnly(t *testing.T) {
	packages := builds(t)
	placement, ok := packages[module+"/clusterkit/placement"]
	if !ok {
		t.Fatal("there is no package clusterkit/placement")
	}
	for _, dep := range placement.Deps {
		if !packages[dep].Standard {
			t.Errorf("clusterkit/placement depends on %s", dep)
		}
	}
	for _, path := range []string{"time", "math/rand", "math/rand/v2", "log", "log/slog", "os", "net"} {
		if slices.Contains(placement.Imports, path) {
			t.Errorf("clusterkit/placement imports %s, and is to be a pure function", path)
		}
	}
}

// Who may import what directly.
func TestImports(t *testing.T) {
	packages := builds(t)
	programs := []string{module + "/cmd", module + "/loadtest", module + "/examples"}
	for _, tc := range []struct {
		name    string
		what    []string
		allowed []string
		tests   bool
	}{
		{"badger", []string{badger}, []string{module + "/kvstore/storage"}, true},
		{"raft", []string{raft, "github.com/hashicorp/raft-boltdb"}, []string{module + "/clusterkit"}, true},
		{"flags and signals", []string{"flag", cobra, "os/signal"}, programs, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			users := 0
			for path, p := range packages {
				if !below(path, module) {
					continue
				}
				imports := slices.Clone(p.Imports)
				if tc.tests {
					imports = slices.Concat(imports, p.TestImports, p.XTestImports)
				}
				found := imported(imports, tc.what...)
				if len(found) > 0 && !below(path, tc.allowed...) {
					t.Errorf("%s imports %v", path, found)
				}
				users += len(found)
			}
			if users == 0 {
				t.Errorf("nobody imports %v; is the list complete?", tc.what)
			}
		})
	}
}

// Importers of the module would not see a replacement.
func TestModuleReplacesNothing(t *testing.T) {
	out, err := exec.CommandContext(t.Context(), "go", "mod", "edit", "-json").Output()
	if err != nil {
		t.Fatalf("go mod edit: %v", err)
	}
	var mod struct {
		Module  struct{ Path string }
		Replace []struct {
			Old, New struct{ Path, Version string }
		}
	}
	if err := json.Unmarshal(out, &mod); err != nil {
		t.Fatal(err)
	}
	if mod.Module.Path != module {
		t.Errorf("the module is called %s, want %s", mod.Module.Path, module)
	}
	for _, r := range mod.Replace {
		t.Errorf("go.mod replaces %s by %s", r.Old.Path, r.New.Path)
	}
}
