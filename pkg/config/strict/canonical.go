package strict

import (
	"cmp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// AppendCanonical appends what a mapping says: the same bytes for mappings that differ in the order of their
// keys, in comments, style or aliases only. Keys of except are left out.
func AppendCanonical(b []byte, node *yaml.Node, except ...string) []byte {
	n := deref(node)
	switch n.Kind {
	case yaml.MappingNode:
		ps := pairs(n)
		slices.SortStableFunc(ps, func(a, b pair) int { return cmp.Compare(a.key.Value, b.key.Value) })
		b = append(b, '{')
		for _, p := range ps {
			if !slices.Contains(except, p.key.Value) && !isNull(p.value) {
				b = append(strconv.AppendQuote(b, p.key.Value), ':')
				b = AppendCanonical(b, p.value)
			}
		}
		return append(b, '}')
	case yaml.SequenceNode:
		b = append(b, '[')
		for _, c := range n.Content {
			b = AppendCanonical(b, c)
		}
		return append(b, ']')
	}
	return append(strconv.AppendQuote(b, n.Value), ',')
}
