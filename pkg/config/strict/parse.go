// Package strict reads YAML into structs and forgives nothing: an unknown key, a doubled key, a value of the
// wrong kind each become a problem that names file, line, column and path and says what to write instead.
// It collects all of them.
//
// Numbers and dates are taken as text, as they are written, where text is wanted (a chat's id, a version);
// true and false are not. null is the same as leaving the key out. Anchors, aliases and merge keys work.
package strict

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// What aliases may make of a document: so many nodes, or so many times its own.
const (
	maxAliased     = 100_000
	maxAliasFactor = 10
)

// Parse splits a file into its documents. Empty documents are left out. What follows a syntax error is not
// read; documents before it are returned.
func Parse(file string, data []byte) ([]*yaml.Node, bellhop.Problems) {
	if at, what := badByte(data); what != "" {
		line, col := position(data, at)
		return nil, bellhop.Problems{{File: file, Line: line, Col: col, Message: what}}
	}
	var docs []*yaml.Node
	var ps bellhop.Problems
	dec := yaml.NewDecoder(bytes.NewReader(data))
	for {
		var doc yaml.Node
		err := dec.Decode(&doc)
		if errors.Is(err, io.EOF) {
			return docs, ps
		}
		if err != nil {
			return docs, append(ps, syntaxProblem(file, data, err))
		}
		if doc.Kind != yaml.DocumentNode || len(doc.Content) == 0 || isNull(doc.Content[0]) {
			continue
		}
		root := doc.Content[0]
		bad, usable := checkTree(file, root)
		ps = append(ps, bad...)
		if usable {
			docs = append(docs, root)
		}
	}
}

// badByte finds the first byte that no YAML file may hold.
func badByte(data []byte) (at int, what string) {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		switch {
		case r == utf8.RuneError && size <= 1:
			return i, "this byte is not UTF-8: save the file as UTF-8"
		case r < 0x20 && r != '\n' && r != '\r' && r != '\t', r == 0x7f, r >= 0x80 && r < 0xa0 && r != 0x85:
			return i, fmt.Sprintf("control character %U: remove it, or write it as an escape in double quotes", r)
		}
		i += size
	}
	return 0, ""
}

func position(data []byte, at int) (line, col int) {
	before := data[:at]
	return 1 + bytes.Count(before, []byte("\n")), 1 + utf8.RuneCount(before[bytes.LastIndexByte(before, '\n')+1:])
}

var (
	errorLine     = regexp.MustCompile(`^line (\d+): `)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced`)
)

// syntaxProblem places what the parser says. The parser knows lines only, counts them from 0 in messages of
// its grammar and from 1 in those of its scanner, and leaves the first line out.
func syntaxProblem(file string, data []byte, err error) bellhop.Problem {
	msg := strings.TrimPrefix(err.Error(), "yaml: ")
	line := 1
	if m := errorLine.FindStringSubmatch(msg); m != nil {
		line, _ = strconv.Atoi(m[1])
		msg = msg[len(m[0]):]
		if strings.HasPrefix(msg, "did not find expected") {
			line++
		}
	}
	lines := bytes.Split(data, []byte("\n"))
	line = min(max(line, 1), len(lines))
	text := string(lines[line-1])
	indent := len(text) - len(strings.TrimLeft(text, " \t"))
	p := bellhop.Problem{File: file, Line: line, Col: 1 + indent}
	switch {
	case strings.Contains(text[:indent], "\t"):
		p.Col = 1 + strings.Index(text, "\t")
		p.Message = "a tab indents this line: indent with spaces"
	case strings.HasPrefix(msg, "mapping values are not allowed"):
		p.Message = `this is no place for "key: value": check the indentation, and quote a value that contains ": "`
	case strings.HasPrefix(msg, "found character that cannot start any token"):
		p.Message = "a value cannot begin with @, `, % or a tab: quote it"
	case strings.HasPrefix(msg, "found unexpected end of stream"):
		p.Message = "the file ends inside quotes: close them"
	case strings.HasPrefix(msg, "did not find expected"):
		p.Message = "YAML ends unexpectedly here (" + msg + "): check the indentation, and close brackets and quotes"
	case unknownAnchor.MatchString(msg):
		name := unknownAnchor.FindStringSubmatch(msg)[1]
		if i := bytes.Index(data, []byte("*"+name)); i >= 0 {
			p.Line, p.Col = position(data, i)
		}
		p.Message = fmt.Sprintf("alias *%s without an anchor: write &%s before the value that it repeats", name, name)
	default:
		p.Message = "this is no YAML: " + msg
	}
	return p
}

// checkTree finds keys written twice and keys that are no scalars, and aliases that contain themselves or
// grow beyond measure: only those make a document unusable.
func checkTree(file string, root *yaml.Node) (ps bellhop.Problems, usable bool) {
	nodes := 0
	var walk func(n *yaml.Node, path string)
	walk = func(n *yaml.Node, path string) {
		nodes++
		switch n.Kind {
		case yaml.SequenceNode:
			for i, c := range n.Content {
				walk(c, indexed(path, i))
			}
		case yaml.MappingNode:
			first := make(map[string]int, len(n.Content)/2)
			for i := 0; i+1 < len(n.Content); i += 2 {
				key := deref(n.Content[i])
				nodes++
				if key.Kind != yaml.ScalarNode {
					ps = append(ps, problem(file, path, n.Content[i], "a key must be text, not a %s", kindName(key)))
					continue
				}
				at := Join(path, key.Value)
				if line, twice := first[key.Value]; twice && !isMerge(key) {
					ps = append(ps, problem(file, at, key, "the key is there already, in line %d: keep one of them", line))
				} else {
					first[key.Value] = key.Line
				}
				if isMerge(key) && !mergeable(n.Content[i+1]) {
					ps = append(ps, problem(file, at, n.Content[i+1], "<< takes an alias of a mapping, such as *defaults, or a list of them"))
				}
				walk(n.Content[i+1], at)
			}
		}
	}
	walk(root, "")

	sizes := map[*yaml.Node]int{}
	const underWay = -1
	limit := max(maxAliased, maxAliasFactor*nodes)
	var size func(n *yaml.Node) (int, *yaml.Node)
	size = func(n *yaml.Node) (int, *yaml.Node) {
		if s := sizes[n]; s == underWay {
			return 0, n
		} else if s > 0 {
			return s, nil
		}
		sizes[n] = underWay
		total := 1
		content := n.Content
		if n.Kind == yaml.AliasNode {
			content = []*yaml.Node{n.Alias}
		}
		for _, c := range content {
			s, loop := size(c)
			if loop != nil {
				return 0, loop
			}
			total = min(total+s, limit+1)
		}
		sizes[n] = total
		return total, nil
	}
	total, loop := size(root)
	switch {
	case loop != nil:
		ps = append(ps, problem(file, "", loop, "the anchor &%s contains an alias of itself: write the value out", loop.Anchor))
	case total > limit:
		ps = append(ps, problem(file, "", root, "aliases make more than %d values of this document: write the values out", limit))
	}
	return ps, loop == nil && total <= limit
}

func problem(file, path string, n *yaml.Node, format string, args ...any) bellhop.Problem {
	return bellhop.Problem{File: file, Line: n.Line, Col: n.Column, Path: path, Message: fmt.Sprintf(format, args...)}
}

// Join makes a path of a parent's and what lies in it: a key, or an index in brackets.
func Join(path, rest string) string {
	switch {
	case path == "":
		return rest
	case rest == "":
		return path
	case rest[0] == '[':
		return path + rest
	}
	return path + "." + rest
}

func indexed(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

func deref(n *yaml.Node) *yaml.Node {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	return n
}

func isNull(n *yaml.Node) bool {
	n = deref(n)
	return n.Kind == 0 || n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null"
}

func isMerge(key *yaml.Node) bool { return key.ShortTag() == "!!merge" }

// mergeable reports whether a merge key can take n.
func mergeable(n *yaml.Node) bool {
	n = deref(n)
	if n.Kind != yaml.SequenceNode {
		return n.Kind == yaml.MappingNode
	}
	return !slices.ContainsFunc(n.Content, func(c *yaml.Node) bool { return deref(c).Kind != yaml.MappingNode })
}

// kindName is what a person calls what is no scalar.
func kindName(n *yaml.Node) string {
	if n.Kind == yaml.MappingNode {
		return "mapping"
	}
	return "list"
}
