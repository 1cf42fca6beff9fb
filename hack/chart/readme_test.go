package chart_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// row is a value that a user may set.
type row struct{ key, initial, description string }

// rows reads the values that a mapping of values.yaml has, in its order. A mapping in braces, and one without
// entries, is a value of its own, as is a list.
func rows(t *testing.T, path string, mapping *yaml.Node) []row {
	t.Helper()
	var found []row
	for i := 0; i < len(mapping.Content); i += 2 {
		key, value := mapping.Content[i], mapping.Content[i+1]
		name := path + key.Value
		text := description(key.HeadComment)
		if value.Kind == yaml.MappingNode && value.Style&yaml.FlowStyle == 0 && text == "" {
			found = append(found, rows(t, name+".", value)...)
			continue
		}
		if text == "" {
			t.Errorf("values.yaml:%d: %s has no comment that begins with # --", key.Line, name)
		}
		found = append(found, row{name, inline(t, value), text})
	}
	return found
}

// description is the last part of a comment, from its "# --" on.
func description(comment string) string {
	_, text, ok := strings.Cut("\n"+comment, "\n# -- ")
	if !ok {
		return ""
	}
	text, _, _ = strings.Cut(text, "\n\n")
	return strings.ReplaceAll(text, "\n# ", " ")
}

// inline is a value on one line.
func inline(t *testing.T, value *yaml.Node) string {
	t.Helper()
	var flow func(*yaml.Node)
	flow = func(n *yaml.Node) {
		n.HeadComment, n.LineComment, n.FootComment = "", "", ""
		if n.Kind != yaml.ScalarNode {
			n.Style |= yaml.FlowStyle
		}
		for _, c := range n.Content {
			flow(c)
		}
	}
	flow(value)
	out, err := yaml.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(strings.Fields(string(out)), " ")
}

// TestReadme: the table of the chart's README is made of the comments of values.yaml.
func TestReadme(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- values, made by go test -C hack/chart ./... -update -->\n", "<!-- end of values -->\n"
	content, err := os.ReadFile(filepath.Join(chartDir, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var doc yaml.Node
	if err := yaml.Unmarshal(content, &doc); err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	table.WriteString("| value | default | |\n|---|---|---|\n")
	escape := strings.NewReplacer("|", `\|`)
	for _, r := range rows(t, "", doc.Content[0]) {
		fmt.Fprintf(&table, "| `%s` | `%s` | %s |\n", r.key, escape.Replace(r.initial), escape.Replace(r.description))
	}
	file := filepath.Join(chartDir, "README.md")
	readme, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, ok := bytes.Cut(readme, []byte(begin))
	_, after, closed := bytes.Cut(rest, []byte(end))
	if !ok || !closed {
		t.Fatalf("%s lacks the lines %q and %q", file, begin, end)
	}
	want := bytes.Join([][]byte{before, []byte(begin), []byte(table.String()), []byte(end), after}, nil)
	if bytes.Equal(readme, want) {
		return
	}
	if !*update {
		t.Fatalf("%s is not what values.yaml says; run go test -C hack/chart ./... -update", file)
	}
	if err := os.WriteFile(file, want, 0o644); err != nil {
		t.Fatal(err)
	}
}
