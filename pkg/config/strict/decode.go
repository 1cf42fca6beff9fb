package strict

import (
	"bytes"
	"encoding"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Decode reads one mapping into several structs at once: a key goes to every struct that knows it, and one
// that none knows is a problem. What a field holds before stays unless the mapping or the Secret sets it.
// A nil node is an empty mapping. path is the mapping's own path; secret holds the Secret's keys, whose
// values override the mapping's. The tags are those of bellhop.Define.
//
// Values from the Secret lose surrounding white space, which editors and kubectl leave behind; one that
// holds nothing else counts as not given. Where a mapping is wanted, the value is YAML. No message quotes
// a value that could have come from a Secret. A field of type *yaml.Node takes what is written as it is.
func Decode(file, path string, node *yaml.Node, secret map[string][]byte, into ...any) bellhop.Problems {
	d := decoder{file: file}
	d.fields(path, node, secret, into, true)
	return d.problems
}

// DecodeKnown is Decode for who knows only a part of the mapping: keys unknown to into are left alone.
func DecodeKnown(file, path string, node *yaml.Node, secret map[string][]byte, into ...any) bellhop.Problems {
	d := decoder{file: file}
	d.fields(path, node, secret, into, false)
	return d.problems
}

// Locate gives problems with paths relative to a mapping, as a plug-in reports them, the file, the line and
// the whole path: the position is that of the value, or of the nearest thing around it that is written.
// Problems that have a file already stay as they are.
func Locate(file, path string, node *yaml.Node, ps bellhop.Problems) bellhop.Problems {
	out := slices.Clone(ps)
	for i, p := range out {
		if p.File != "" {
			continue
		}
		out[i].File, out[i].Path = file, Join(path, p.Path)
		if node != nil {
			at := Find(node, p.Path)
			out[i].Line, out[i].Col = at.Line, at.Column
		}
	}
	return out
}

// Has reports whether a mapping says something under key.
func Has(node *yaml.Node, key string) bool {
	return slices.ContainsFunc(pairs(deref(node)), func(p pair) bool { return p.key.Value == key && !isNull(p.value) })
}

// Find follows a path from a node as far as it goes. Keys may hold dots: the longest key that fits is taken.
func Find(n *yaml.Node, path string) *yaml.Node {
	for path != "" {
		path = strings.TrimPrefix(path, ".")
		inside := deref(n)
		var next *yaml.Node
		rest := ""
		switch inside.Kind {
		case yaml.MappingNode:
			for _, p := range pairs(inside) {
				key := p.key.Value
				after, ok := strings.CutPrefix(path, key)
				if ok && (after == "" || after[0] == '.' || after[0] == '[') && (next == nil || len(after) < len(rest)) {
					next, rest = p.value, after
				}
			}
		case yaml.SequenceNode:
			index, after, _ := strings.Cut(strings.TrimPrefix(path, "["), "]")
			if i, err := strconv.Atoi(index); err == nil && i >= 0 && i < len(inside.Content) {
				next, rest = inside.Content[i], after
			}
		}
		if next == nil {
			return n
		}
		n, path = next, rest
	}
	return n
}

// Field is one setting of a struct.
type Field struct {
	// Name is the key in the file, empty if the setting can only come from the Secret.
	Name string
	// Secrets are the keys in the Secret, the first present one counts; none if it cannot come from there.
	Secrets []string
	Doc     string
	Type    reflect.Type

	index []int
}

// Fields are the settings of a struct type, in its order; those of embedded structs included.
func Fields(t reflect.Type) []Field {
	if fs, ok := fieldCache.Load(t); ok {
		return fs.([]Field)
	}
	var fs []Field
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && f.Type.Kind() == reflect.Struct {
			for _, inner := range Fields(f.Type) {
				inner.index = append([]int{i}, inner.index...)
				fs = append(fs, inner)
			}
			continue
		}
		name, _, _ := strings.Cut(f.Tag.Get("yaml"), ",")
		var secrets []string
		if s := f.Tag.Get("secret"); s != "" {
			secrets = strings.Split(s, ",")
		}
		if !f.IsExported() || name == "-" || name == "" && secrets == nil {
			continue
		}
		fs = append(fs, Field{Name: name, Secrets: secrets, Doc: f.Tag.Get("doc"), Type: f.Type, index: f.Index})
	}
	fieldCache.Store(t, fs)
	return fs
}

var fieldCache sync.Map // reflect.Type -> []Field

type pair struct{ key, value *yaml.Node }

// pairs are a mapping's keys and values, in the order of the file; what merge keys bring comes last, and
// only where the mapping does not say it itself.
func pairs(n *yaml.Node) []pair {
	ps := make([]pair, 0, len(n.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key := deref(n.Content[i])
		switch {
		case key.Kind != yaml.ScalarNode:
		case isMerge(key):
			merges = append(merges, n.Content[i+1])
		default:
			ps = append(ps, pair{key, n.Content[i+1]})
		}
	}
	if merges == nil {
		return ps
	}
	have := make(map[string]bool, len(ps))
	for _, p := range ps {
		have[p.key.Value] = true
	}
	for len(merges) > 0 {
		m := deref(merges[0])
		merges = merges[1:]
		switch m.Kind {
		case yaml.SequenceNode:
			merges = append(slices.Clone(m.Content), merges...)
		case yaml.MappingNode:
			for _, p := range pairs(m) {
				if !have[p.key.Value] {
					have[p.key.Value] = true
					ps = append(ps, p)
				}
			}
		}
	}
	return ps
}

// decoder collects the problems of one Decode.
type decoder struct {
	file     string
	problems bellhop.Problems
	// quiet: values are not quoted in messages, since they may be secret.
	quiet bool
}

func (d *decoder) wrong(path string, n *yaml.Node, format string, args ...any) {
	d.problems = append(d.problems, problem(d.file, path, n, format, args...))
}

// wants says that n should be something else.
func (d *decoder) wants(path string, n *yaml.Node, instead string) {
	switch {
	case n.Kind != yaml.ScalarNode:
		d.wrong(path, n, "write %s, not a %s", instead, kindName(n))
	case n.Value == "":
		d.wrong(path, n, "the value is empty: write %s", instead)
	case d.quiet:
		d.wrong(path, n, "write %s", instead)
	case quoted(n) && strings.Contains(instead, "number"):
		d.wrong(path, n, "%s: write %s, without quotes", quote(n.Value), instead)
	default:
		d.wrong(path, n, "%s: write %s", quote(n.Value), instead)
	}
}

func quoted(n *yaml.Node) bool { return n.Style&(yaml.SingleQuotedStyle|yaml.DoubleQuotedStyle) != 0 }

func (d *decoder) fields(path string, node *yaml.Node, secret map[string][]byte, into []any, all bool) {
	targets := make([]reflect.Value, len(into))
	for i, v := range into {
		targets[i] = reflect.ValueOf(v).Elem()
	}
	at := node
	if node != nil && !isNull(node) {
		m := deref(node)
		if m.Kind != yaml.MappingNode {
			d.wants(path, m, "a mapping, one key: value a line")
			return
		}
		for _, p := range pairs(m) {
			d.key(path, p, targets, all)
		}
	}
	if secret == nil {
		return
	}
	if at == nil {
		at = &yaml.Node{}
	}
	for _, p := range pairs(deref(at)) {
		if p.key.Value == "secretRef" {
			at = p.value
		}
	}
	for _, t := range targets {
		for _, f := range Fields(t.Type()) {
			for _, key := range f.Secrets {
				if value := bytes.TrimSpace(secret[key]); len(value) > 0 {
					d.secret(path, at, key, value, t.FieldByIndex(f.index))
					break
				}
			}
		}
	}
}

// key hands one key's value to every target that knows it.
func (d *decoder) key(path string, p pair, targets []reflect.Value, all bool) {
	name, known := p.key.Value, false
	for _, t := range targets {
		for _, f := range Fields(t.Type()) {
			if f.Name != name {
				continue
			}
			known = true
			d.quiet = f.Secrets != nil || f.Type == secretType
			d.value(Join(path, name), p.value, t.FieldByIndex(f.index))
			d.quiet = false
		}
	}
	if known {
		return
	}
	var names []string
	for _, t := range targets {
		for _, f := range Fields(t.Type()) {
			if f.Name == "" && slices.Contains(f.Secrets, name) {
				d.wrong(Join(path, name), p.key, "does not belong in a file: put it under the key %s of the Secret named by secretRef", quote(name))
				return
			}
			if f.Name != "" && !slices.Contains(names, f.Name) {
				names = append(names, f.Name)
			}
		}
	}
	if all {
		d.wrong(Join(path, name), p.key, "unknown key %s: %s", quote(name), didYouMean(name, names))
	}
}

// secret sets a field from the Secret's value under key. at is where the problem would be shown.
func (d *decoder) secret(path string, at *yaml.Node, key string, value []byte, v reflect.Value) {
	if !utf8.Valid(value) {
		d.wrong(Join(path, "secretRef"), at, "the key %s of the Secret is not UTF-8 text", quote(key))
		return
	}
	n := &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: string(value)}
	instead := "text"
	t := v.Type()
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	inner := decoder{quiet: true}
	switch {
	case t == secretType || reflect.PointerTo(t).Implements(textType) || t.Kind() == reflect.String || t == durationType:
	case t.Kind() == reflect.Map:
		instead = `a YAML mapping, one line each such as "X-Token: abc"`
		docs, ps := Parse("", value)
		inner.problems = ps
		if len(docs) == 1 {
			n = docs[0]
		} else {
			inner.problems = append(inner.problems, bellhop.Problem{})
		}
	default:
		// Numbers and the like: let YAML say what the text is.
		n.Tag = ""
	}
	if inner.problems == nil {
		inner.value("", n, v)
	}
	if len(inner.problems) > 0 {
		d.wrong(Join(path, "secretRef"), at, "the value under the key %s of the Secret is not understood: %s", quote(key), secretAdvice(t, instead))
	}
}

// secretAdvice says what the Secret's value should look like, without looking at it.
func secretAdvice(t reflect.Type, instead string) string {
	switch {
	case t == durationType:
		instead = "a duration with its unit, such as 15s"
	case reflect.PointerTo(t).Implements(textType):
		instead = "it as in a file"
	case t.Kind() == reflect.Bool:
		instead = "true or false"
	case t.Kind() >= reflect.Int && t.Kind() <= reflect.Float64:
		instead = "a number"
	}
	return "write " + instead
}

var (
	secretType   = reflect.TypeFor[bellhop.Secret]()
	durationType = reflect.TypeFor[time.Duration]()
	textType     = reflect.TypeFor[encoding.TextUnmarshaler]()
	nodeType     = reflect.TypeFor[*yaml.Node]()
)

// value decodes n into v. null leaves v as it is.
func (d *decoder) value(path string, n *yaml.Node, v reflect.Value) {
	n = deref(n)
	if isNull(n) {
		return
	}
	t := v.Type()
	switch {
	case t == nodeType:
		v.Set(reflect.ValueOf(n))
		return
	case t.Kind() == reflect.Pointer:
		elem := reflect.New(t.Elem())
		if !v.IsNil() {
			elem.Elem().Set(v.Elem())
		}
		d.value(path, n, elem.Elem())
		v.Set(elem)
		return
	case t == secretType:
		if text, ok := d.text(path, n, "text"); ok {
			v.Set(reflect.ValueOf(bellhop.NewSecret([]byte(text))))
		}
		return
	case t == durationType:
		d.duration(path, n, v)
		return
	case reflect.PointerTo(t).Implements(textType):
		text, ok := d.text(path, n, "text")
		if !ok {
			return
		}
		if err := v.Addr().Interface().(encoding.TextUnmarshaler).UnmarshalText([]byte(text)); err != nil {
			if d.quiet {
				d.wrong(path, n, "the value is not understood")
			} else {
				d.wrong(path, n, "%v", err)
			}
		}
		return
	}
	switch t.Kind() {
	case reflect.String:
		if text, ok := d.text(path, n, "text"); ok {
			v.SetString(text)
		}
	case reflect.Bool:
		if n.Kind != yaml.ScalarNode || n.ShortTag() != "!!bool" {
			d.wants(path, n, "true or false, without quotes")
			return
		}
		v.SetBool(strings.EqualFold(n.Value, "true"))
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		i, ok := whole(n)
		if !ok || v.OverflowInt(i) {
			d.wants(path, n, "a whole number, such as 4")
			return
		}
		v.SetInt(i)
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		i, ok := whole(n)
		if !ok || i < 0 || v.OverflowUint(uint64(i)) {
			d.wants(path, n, "a whole number from 0, such as 4")
			return
		}
		v.SetUint(uint64(i))
	case reflect.Float32, reflect.Float64:
		var f float64
		tag := n.ShortTag()
		if n.Kind != yaml.ScalarNode || tag != "!!int" && tag != "!!float" || n.Decode(&f) != nil || math.IsNaN(f) || math.IsInf(f, 0) {
			d.wants(path, n, "a number, such as 0.5")
			return
		}
		v.SetFloat(f)
	case reflect.Slice:
		d.list(path, n, v)
	case reflect.Map:
		d.mapping(path, n, v)
	case reflect.Struct:
		quiet := d.quiet
		d.fields(path, n, nil, []any{v.Addr().Interface()}, true)
		d.quiet = quiet
	case reflect.Interface:
		if err := n.Decode(v.Addr().Interface()); err != nil {
			d.wrong(path, n, "this value is not understood")
		}
	default:
		panic(fmt.Sprintf("strict: %s: no YAML is known for a field of type %s", path, t))
	}
}

func (d *decoder) list(path string, n *yaml.Node, v reflect.Value) {
	if n.Kind != yaml.SequenceNode {
		d.wants(path, n, `a list, such as [a, b] or one line each that begins with "- "`)
		return
	}
	list := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, c := range n.Content {
		if isNull(c) {
			d.wrong(indexed(path, i), c, "an empty item: fill it in or remove it")
			continue
		}
		d.value(indexed(path, i), c, list.Index(i))
	}
	v.Set(list)
}

func (d *decoder) mapping(path string, n *yaml.Node, v reflect.Value) {
	if v.Type().Key().Kind() != reflect.String {
		panic(fmt.Sprintf("strict: %s: keys of a map must be strings", path))
	}
	if n.Kind != yaml.MappingNode {
		d.wants(path, n, "a mapping, one key: value a line")
		return
	}
	m := reflect.MakeMap(v.Type())
	for _, p := range pairs(n) {
		elem := reflect.New(v.Type().Elem()).Elem()
		d.value(Join(path, p.key.Value), p.value, elem)
		m.SetMapIndex(reflect.ValueOf(p.key.Value).Convert(v.Type().Key()), elem)
	}
	v.Set(m)
}

// text is a scalar's text as it is written.
func (d *decoder) text(path string, n *yaml.Node, instead string) (string, bool) {
	if n.Kind != yaml.ScalarNode {
		d.wants(path, n, instead)
		return "", false
	}
	switch n.ShortTag() {
	case "!!str", "!!int", "!!float", "!!timestamp":
		return n.Value, true
	case "!!bool":
		d.wrong(path, n, "%s means true or false in YAML: write it in quotes", n.Value)
	default:
		d.wrong(path, n, "the tag %s is not understood: write plain %s", quote(n.Tag), instead)
	}
	return "", false
}

func (d *decoder) duration(path string, n *yaml.Node, v reflect.Value) {
	const instead = "a duration with its unit, such as 15s, 5m or 24h"
	if n.Kind == yaml.ScalarNode && n.ShortTag() != "!!bool" {
		if dur, err := time.ParseDuration(n.Value); err == nil && dur >= 0 {
			v.SetInt(int64(dur))
			return
		}
	}
	d.wants(path, n, instead)
}

// whole reads an integer that is written as one.
func whole(n *yaml.Node) (int64, bool) {
	var i int64
	ok := n.Kind == yaml.ScalarNode && n.ShortTag() == "!!int" && n.Decode(&i) == nil
	return i, ok
}

// quote puts a short piece of the file into a message.
func quote(s string) string {
	if runes := []rune(s); len(runes) > 60 {
		s = string(runes[:60]) + "…"
	}
	return strconv.Quote(s)
}
