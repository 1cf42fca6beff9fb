package flux

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// mapping is a mapping of Bellhop's own dialect under construction.
type mapping struct{ *yaml.Node }

// newMapping begins a mapping that stands where at does.
func newMapping(at *yaml.Node) mapping {
	return mapping{&yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Line: at.Line, Column: at.Column}}
}

// set adds a key with a value of a manifest; nothing for nil.
func (m mapping) set(key string, value *yaml.Node) {
	if value == nil {
		return
	}
	m.Content = append(m.Content, scalar(value, key), copyOf(value))
}

// setText adds a key with a text that stands where at does.
func (m mapping) setText(key string, at *yaml.Node, value string) { m.set(key, scalar(at, value)) }

func scalar(at *yaml.Node, value string) *yaml.Node {
	return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: value, Line: at.Line, Column: at.Column}
}

func list(at *yaml.Node, items ...*yaml.Node) *yaml.Node {
	return &yaml.Node{Kind: yaml.SequenceNode, Tag: "!!seq", Line: at.Line, Column: at.Column, Content: items}
}

// short writes a mapping or a list on one line.
func short(n *yaml.Node) *yaml.Node {
	n.Style = yaml.FlowStyle
	return n
}

// copyOf is a node that stands on its own: aliases resolved, comments left behind.
func copyOf(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	c := *n
	c.Anchor, c.HeadComment, c.LineComment, c.FootComment = "", "", "", ""
	c.Content = make([]*yaml.Node, len(n.Content))
	for i, child := range n.Content {
		c.Content[i] = copyOf(child)
	}
	return &c
}

// quote is a text as a literal of CEL. Backslashes, which regular expressions are full of, stay readable.
func quote(s string) string {
	raw := strconv.Quote(s)
	if len(raw) > len(s)+2 && strconv.CanBackquote(s) {
		for _, q := range []string{`"`, `'`} {
			if !strings.Contains(s, q) {
				return "r" + q + s + q
			}
		}
	}
	return raw
}
