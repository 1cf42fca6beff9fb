package config

import (
	"errors"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
)

// freeName is base, or base with the first number that makes it free.
func freeName(taken map[string]place, base string) string {
	name := base
	for i := 2; ; i++ {
		if _, ok := taken[name]; !ok {
			return name
		}
		name = base + "-" + strconv.Itoa(i)
	}
}

// claimName checks a name and notes it as taken.
func (l *load) claimName(taken map[string]place, at place, name, example string) {
	switch first, ok := taken[name]; {
	case name == "" && misread(at.node, "name"):
	case name == "":
		l.report(at.problem("name", "has no name: write one, such as name: %s", example))
	case !validName(name):
		l.report(at.problem("name", "%q is no name: write letters, digits, dots, dashes and underscores, a letter or digit first and last, 253 at most", name))
	case ok:
		l.report(at.problem("name", "the name %q is taken by %s: choose another", name, first))
	default:
		taken[name] = at
	}
}

// misread reports whether what is written under key is not empty, though nothing was read from it: decoding
// has said why.
func misread(node *yaml.Node, key string) bool {
	n := strict.Find(node, key)
	return strict.Has(node, key) && (n.Kind != yaml.ScalarNode || n.Value != "")
}

// validName keeps names to what labels, paths and command lines carry as they are.
func validName(name string) bool {
	for i := range len(name) {
		switch c := name[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case (c == '-' || c == '_' || c == '.') && i > 0 && i < len(name)-1:
		default:
			return false
		}
	}
	return len(name) <= 253
}

// meant is the end of a message about an unknown word.
func meant(word string, known []string) string {
	switch near, ok := bellhop.Nearest(word, known); {
	case ok:
		return fmt.Sprintf("did you mean %s?", near)
	case len(known) == 0:
		return "none is configured"
	case len(known) > 20:
		return fmt.Sprintf("known here: %s and %d more", strings.Join(known[:20], ", "), len(known)-20)
	}
	return "known here: " + strings.Join(known, ", ")
}

// errUnsettled keeps a kind from judging settings that were not read: what is wrong is said already.
var errUnsettled = errors.New("settings not read")

// unsettled is errUnsettled if a problem is about one of the settings of into. Unknown keys beside them keep
// nobody from looking at the rest.
func unsettled(ps bellhop.Problems, path string, into any) error {
	for _, p := range ps.Fatal() {
		rest := strings.TrimPrefix(strings.TrimPrefix(p.Path, path), ".")
		for _, f := range strict.Fields(reflect.TypeOf(into).Elem()) {
			if rest == f.Name || strings.HasPrefix(rest, f.Name+".") || strings.HasPrefix(rest, f.Name+"[") {
				return errUnsettled
			}
		}
	}
	return nil
}
