package bellhoptest

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
)

var update = flag.Bool("update", false, "rewrite what testdata/*.txtar expects")

// Case is one testdata/*.txtar file of a plug-in. Its comment is prose, and lines "name: value" of the
// suites' options.
type Case struct {
	Name    string // the file's, without .txtar
	path    string
	archive *txtar.Archive
}

// Cases reads testdata/*.txtar in the order of their names. There must be some.
func Cases(t testing.TB) []*Case {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join("testdata", "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) == 0 {
		t.Fatal("testdata holds no *.txtar; a plug-in is tested by data")
	}
	var cases []*Case
	for _, p := range paths {
		a, err := txtar.ParseFile(p)
		if err != nil {
			t.Fatal(err)
		}
		cases = append(cases, &Case{strings.TrimSuffix(filepath.Base(p), ".txtar"), p, a})
	}
	return cases
}

// File is a file of the archive. The line break that ends every file of the format does not belong to it.
func (c *Case) File(name string) ([]byte, bool) {
	for _, f := range c.archive.Files {
		if f.Name == name {
			return bytes.TrimSuffix(f.Data, []byte("\n")), true
		}
	}
	return nil, false
}

// Option is the value of a line "name: value" of the comment, empty if there is none.
func (c *Case) Option(name string) string {
	for line := range strings.Lines(string(c.archive.Comment)) {
		if v, ok := strings.CutPrefix(line, name+":"); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// Golden compares got with a file of the archive, byte for byte, or writes it there when the test runs with
// -update.
func (c *Case) Golden(t testing.TB, name string, got []byte) {
	t.Helper()
	want, ok := c.File(name)
	if bytes.Equal(want, got) && ok {
		return
	}
	if !*update {
		t.Errorf("%s: %s differs (run with -update to accept):\n--- want\n%s\n--- got\n%s", c.path, name, want, got)
		return
	}
	data := append(bytes.Clone(got), '\n')
	for i, f := range c.archive.Files {
		if f.Name == name {
			c.archive.Files[i].Data = data
			ok = true
		}
	}
	if !ok {
		c.archive.Files = append(c.archive.Files, txtar.File{Name: name, Data: data})
	}
	if err := os.WriteFile(c.path, txtar.Format(c.archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// decodeSettings is a Setup.Decode over YAML, as the configuration does it.
func decodeSettings(data []byte, secret map[string][]byte) func(into any) error {
	return func(into any) error {
		nodes, problems := strict.Parse("settings.yaml", data)
		switch {
		case len(problems.Fatal()) > 0:
			return problems
		case len(nodes) > 1:
			return bellhop.Wrong("", "settings.yaml: more than one document")
		}
		var node *yaml.Node
		if len(nodes) == 1 {
			node = nodes[0]
		}
		if problems := strict.Decode("settings.yaml", "", node, secret, into); len(problems.Fatal()) > 0 {
			return problems
		}
		return nil
	}
}
