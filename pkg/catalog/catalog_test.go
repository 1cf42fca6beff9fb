package catalog_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/catalog"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
)

// TestComplete holds every plug-in's folder to the same anatomy, and to its line in the catalog.
func TestComplete(t *testing.T) {
	t.Parallel()
	for _, room := range []struct {
		folder, suite string
		names         []string
	}{
		{"sources", "RunSource", names(catalog.Sources)},
		{"providers", "RunProvider", names(catalog.Providers)},
	} {
		entries, err := os.ReadDir(filepath.Join("..", room.folder))
		if err != nil {
			t.Fatal(err)
		}
		var folders []string
		for _, e := range entries {
			if !e.IsDir() || e.Name() == "internal" {
				continue
			}
			folders = append(folders, e.Name())
			checkFolder(t, filepath.Join("..", room.folder, e.Name()), room.suite)
		}
		var listed []string
		for _, name := range room.names {
			listed = append(listed, strings.ReplaceAll(name, "-", ""))
		}
		if !slices.IsSorted(room.names) {
			t.Errorf("%s are not in the order of their names: %v", room.folder, room.names)
		}
		slices.Sort(listed)
		if !slices.Equal(listed, folders) {
			t.Errorf("%s: the folders are %v, the catalog has %v", room.folder, folders, listed)
		}
	}
}

func names[T any](kinds []bellhop.Kind[T]) []string {
	var out []string
	for _, k := range kinds {
		out = append(out, k.Name)
	}
	return out
}

func checkFolder(t *testing.T, folder, suite string) {
	t.Helper()
	cases, err := filepath.Glob(filepath.Join(folder, "testdata", "*.txtar"))
	if err != nil || len(cases) == 0 {
		t.Errorf("%s: testdata holds no *.txtar: a plug-in is tested by data", folder)
	}
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	var manual string
	var tested bool
	for _, file := range files {
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		if !strings.HasSuffix(file, "_test.go") {
			manual += parsed.Doc.Text()
			continue
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			if s, ok := n.(*ast.SelectorExpr); ok && s.Sel.Name == suite {
				tested = true
			}
			return true
		})
	}
	if len(manual) < 200 {
		t.Errorf("%s: the package comment is the manual page, and is missing or too short to be one", folder)
	}
	if !tested {
		t.Errorf("%s: no test calls bellhoptest.%s", folder, suite)
	}
}

func TestKinds(t *testing.T) {
	t.Parallel()
	checkKinds(t, catalog.Sources)
	checkKinds(t, catalog.Providers)
	for _, k := range catalog.Sources {
		if k.Source.Verification == "" {
			t.Errorf("source %s does not say what its requests are known by", k.Name)
		}
	}
	all := catalog.All()
	if len(all.Sources) == 0 || len(all.Providers) == 0 {
		t.Error("All leaves something out")
	}
}

func checkKinds[T any](t *testing.T, kinds []bellhop.Kind[T]) {
	t.Helper()
	wellFormed := regexp.MustCompile(`^[a-z][a-z0-9]*(-[a-z0-9]+)*$`)
	taken := map[string]string{}
	for _, k := range kinds {
		if !wellFormed.MatchString(k.Name) {
			t.Errorf("%q: a name is lower case, with dashes", k.Name)
		}
		for _, name := range append([]string{k.Name}, k.Aliases...) {
			name = strings.ToLower(name)
			if by, twice := taken[name]; twice {
				t.Errorf("the name %q is taken by both %s and %s", name, by, k.Name)
			}
			taken[name] = k.Name
		}
		if k.Summary == "" || strings.Contains(k.Summary, "\n") || strings.HasSuffix(k.Summary, ".") {
			t.Errorf("%s: the summary is one line without a full stop: %q", k.Name, k.Summary)
		}
		if k.Settings.Kind() != reflect.Struct {
			t.Errorf("%s: settings are a struct, not %v", k.Name, k.Settings)
			continue
		}
		for _, f := range strict.Fields(k.Settings) {
			if f.Doc == "" {
				t.Errorf("%s: the setting %s%v has no doc tag", k.Name, f.Name, f.Secrets)
			}
		}
	}
}
