package flux

import (
	"bytes"

	"go.yaml.in/yaml/v3"
)

// YAML is a document of Bellhop's own dialect, with a comment of so many lines at its beginning. Nothing in it
// comes from a Secret, but for the audience and email of gcr, which are none.
func (n Native) YAML(comment ...string) ([]byte, error) {
	root := newMapping(&yaml.Node{})
	root.setText("apiVersion", root.Node, "bellhop.dev/v1")
	root.setText("kind", root.Node, "Config")
	for _, part := range []struct {
		key   string
		items []Item
	}{{"endpoints", n.Endpoints}, {"providers", n.Providers}, {"routes", n.Routes}} {
		if len(part.items) == 0 {
			continue
		}
		all := list(root.Node)
		for _, item := range part.items {
			all.Content = append(all.Content, item.Node)
		}
		root.set(part.key, all)
	}
	var out bytes.Buffer
	for _, line := range comment {
		out.WriteString("# " + line + "\n")
	}
	enc := yaml.NewEncoder(&out)
	enc.SetIndent(2)
	enc.CompactSeqIndent()
	if err := enc.Encode(root.Node); err != nil {
		return nil, err
	}
	return out.Bytes(), enc.Close()
}
