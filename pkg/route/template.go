package route

import (
	"errors"
	"fmt"
	"iter"
	"maps"
	"net/http"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"text/template"
	"text/template/parse"
	"time"
	"unicode/utf8"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Limits of a template.
const (
	maxTemplate = 64 << 10 // bytes of its source
	maxRounds   = 100_000  // of all its ranges together
	// maxRendered is the largest text that a part may become, in bytes; what is longer is cut. Providers cut
	// to the vendor's own limit, which is smaller.
	maxRendered = 64 << 10
)

// templateName is how text/template calls every part in its errors.
const templateName = "part"

// part is one compiled template. Before it is used its tree is rewritten:
//
//   - the functions event, body and headers become fields of $, the root data;
//   - every value that is printed goes through the function of that name, textOf;
//   - every range begins with an empty text, so that output sees each of its rounds.
type part struct {
	name     string
	template *template.Template
	usesBody bool
}

func compilePart(name, source string) (*part, error) {
	if len(source) > maxTemplate {
		return nil, bellhop.Problem{Message: fmt.Sprintf("the template is longer than %v", bellhop.Size(maxTemplate))}
	}
	t, err := template.New(templateName).Funcs(functions).Parse(source)
	if err != nil {
		return nil, bellhop.Problem{Message: explainParse(source, err)}
	}
	p := &part{name: name, template: t}
	if t.Tree == nil || t.Root == nil { // white space or definitions alone
		t, _ = t.Parse("{{/**/}}")
	}
	if len(t.Templates()) > 1 {
		return nil, bellhop.Problem{Message: "define and block are not supported: write one template"}
	}
	w := walk{source: source, part: p}
	w.list(t.Root, rootShape)
	if len(w.problems) > 0 {
		return nil, w.problems
	}
	return p, nil
}

// render makes the part's text, cut to maxRendered.
func (p *part) render(root map[string]any) (string, error) {
	out := &output{}
	switch err := p.template.Execute(out, root); {
	case errors.Is(err, errFull):
		return out.text.String() + "…", nil
	case err != nil:
		return "", errors.New(explainRun(err))
	}
	return out.text.String(), nil
}

// output takes maxRendered bytes in maxRounds writes at most. A template writes in every round of a range.
type output struct {
	text   strings.Builder
	writes int
}

var (
	errFull   = errors.New("the text is long enough")
	errRounds = fmt.Errorf("it goes on for more than %d rounds", maxRounds)
)

func (o *output) Write(b []byte) (int, error) {
	if o.writes++; o.writes > maxRounds {
		return 0, errRounds
	}
	if room := maxRendered - o.text.Len(); len(b) > room {
		for room > 0 && !utf8.RuneStart(b[room]) {
			room--
		}
		o.text.Write(b[:room])
		return room, errFull
	}
	return o.text.Write(b)
}

// shape is what is known of a value when a template is compiled: the fields of a struct, the elements of a
// list. A nil shape may be anything.
type shape struct {
	fields map[string]*shape
	elem   *shape
	// scalar: it has no fields at all.
	scalar bool
}

// rootShape has the event's fields, and event, body and headers; eventShape is that of event.
var rootShape, eventShape = func() (root, event *shape) {
	event = shapeOf(reflect.TypeFor[bellhop.Event]())
	event.fields[bodyName] = nil
	event.fields[headersName] = nil
	root = &shape{fields: maps.Clone(event.fields)}
	root.fields[eventName] = event
	return root, event
}()

func shapeOf(t reflect.Type) *shape {
	switch t.Kind() {
	case reflect.Struct:
		if t == reflect.TypeFor[time.Time]() {
			return nil // it has methods
		}
		s := &shape{fields: map[string]*shape{}}
		for f, name := range jsonFields(t) {
			s.fields[name] = shapeOf(f.Type)
		}
		return s
	case reflect.Slice:
		return &shape{elem: shapeOf(t.Elem()), scalar: true}
	case reflect.Map:
		return nil
	}
	return &shape{scalar: true}
}

// jsonFields are the fields of a struct by the names that they have in JSON.
func jsonFields(t reflect.Type) iter.Seq2[reflect.StructField, string] {
	return func(yield func(reflect.StructField, string) bool) {
		for f := range t.Fields() {
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if name != "" && name != "-" && !yield(f, name) {
				return
			}
		}
	}
}

// headerView is the sender's headers: printed and ranged over like a map.
type headerView map[string]string

// Get is the value of the header of that name, whatever its case; empty if there is none.
func (h headerView) Get(name string) string { return h[http.CanonicalHeaderKey(name)] }

// view is an event as templates see it, of rootShape. The body is decoded only if it is wanted.
func view(e *bellhop.Event, body bool) map[string]any {
	event := viewOf(reflect.ValueOf(*e)).(map[string]any)
	event[headersName] = headerView(e.Headers)
	event[bodyName] = nil
	if body {
		event[bodyName] = decode(e.Payload())
	}
	root := maps.Clone(event)
	root[eventName] = event
	return root
}

// viewOf turns structs into maps by their JSON names, all fields in them, and named strings into strings.
func viewOf(v reflect.Value) any {
	switch v.Kind() {
	case reflect.Struct:
		if t, ok := reflect.TypeAssert[time.Time](v); ok {
			return t.UTC()
		}
		m := map[string]any{}
		for f, name := range jsonFields(v.Type()) {
			m[name] = viewOf(v.FieldByIndex(f.Index))
		}
		return m
	case reflect.Slice:
		s := make([]any, v.Len())
		for i := range s {
			s[i] = viewOf(v.Index(i))
		}
		return s
	case reflect.String:
		return v.String()
	}
	return v.Interface()
}

// walk checks the names of a template and rewrites it.
type walk struct {
	source   string
	part     *part
	problems bellhop.Problems
}

func (w *walk) wrong(n parse.Node, format string, args ...any) {
	w.problems = append(w.problems, bellhop.Problem{Message: w.place(n) + fmt.Sprintf(format, args...)})
}

func (w *walk) place(n parse.Node) string {
	before := w.source[:min(int(n.Position()), len(w.source))]
	column := utf8.RuneCountInString(before[strings.LastIndexByte(before, '\n')+1:]) + 1
	if strings.Contains(strings.TrimSpace(w.source), "\n") {
		return fmt.Sprintf("line %d, column %d: ", 1+strings.Count(before, "\n"), column)
	}
	return fmt.Sprintf("column %d: ", column)
}

// list walks a list of nodes in which dot has the shape.
func (w *walk) list(l *parse.ListNode, dot *shape) {
	if l == nil {
		return
	}
	for _, n := range l.Nodes {
		switch n := n.(type) {
		case *parse.ActionNode:
			w.pipe(n.Pipe, dot)
			if len(n.Pipe.Decl) == 0 {
				n.Pipe.Cmds = append(n.Pipe.Cmds, &parse.CommandNode{
					NodeType: parse.NodeCommand,
					Pos:      n.Pos,
					Args:     []parse.Node{parse.NewIdentifier(textName).SetPos(n.Pos).SetTree(w.part.template.Tree)},
				})
			}
		case *parse.IfNode:
			w.pipe(n.Pipe, dot)
			w.list(n.List, dot)
			w.list(n.ElseList, dot)
		case *parse.WithNode:
			inner := w.pipe(n.Pipe, dot)
			w.list(n.List, inner)
			w.list(n.ElseList, dot)
		case *parse.RangeNode:
			over := w.pipe(n.Pipe, dot)
			var inner *shape
			if over != nil {
				inner = over.elem
			}
			w.list(n.List, inner)
			w.list(n.ElseList, dot)
			n.List.Nodes = slices.Insert(n.List.Nodes, 0, parse.Node(&parse.TextNode{NodeType: parse.NodeText, Pos: n.Pos}))
		case *parse.TemplateNode:
			w.wrong(n, "template is not supported: write one template")
		}
	}
}

// pipe walks a pipeline and tells the shape of its value.
func (w *walk) pipe(p *parse.PipeNode, dot *shape) *shape {
	if p == nil {
		return nil
	}
	var value *shape
	for _, c := range p.Cmds {
		for i := range c.Args {
			c.Args[i], value = w.operand(c.Args[i], dot)
		}
		if len(c.Args) != 1 || c.Args[0].Type() == parse.NodeIdentifier {
			value = nil // what a function returns
		}
	}
	if len(p.Cmds) > 1 {
		return nil
	}
	return value
}

// operand checks one operand, and returns what stands for it and its shape.
func (w *walk) operand(n parse.Node, dot *shape) (parse.Node, *shape) {
	switch n := n.(type) {
	case *parse.DotNode:
		w.whole(dot)
		return n, dot
	case *parse.FieldNode:
		return n, w.path(n, dot, n.Ident)
	case *parse.VariableNode:
		if n.Ident[0] != "$" {
			return n, nil
		}
		if len(n.Ident) == 1 {
			w.whole(rootShape)
		}
		return n, w.path(n, rootShape, n.Ident[1:])
	case *parse.IdentifierNode:
		if v := variable(n, nil); v != nil {
			return w.operand(v, dot)
		}
		if n.Ident == "call" {
			w.wrong(n, "there is no function %q", n.Ident)
		}
		return n, nil
	case *parse.ChainNode:
		if id, ok := n.Node.(*parse.IdentifierNode); ok {
			if v := variable(id, n.Field); v != nil {
				return w.operand(v, dot)
			}
		}
		n.Node, _ = w.operand(n.Node, dot)
		return n, nil
	case *parse.PipeNode:
		return n, w.pipe(n, dot)
	}
	return n, nil
}

// variable is event.title as $.event.title; nil if the identifier is a function proper.
func variable(n *parse.IdentifierNode, fields []string) *parse.VariableNode {
	switch n.Ident {
	case eventName, bodyName, headersName:
		return &parse.VariableNode{NodeType: parse.NodeVariable, Pos: n.Pos, Ident: append([]string{"$", n.Ident}, fields...)}
	}
	return nil
}

// whole notes that all of a value is used, and of an event that is its body, too.
func (w *walk) whole(s *shape) {
	if s == rootShape || s == eventShape {
		w.part.usesBody = true
	}
}

// path follows fields from a value, and notes a name that is not there.
func (w *walk) path(n parse.Node, s *shape, names []string) *shape {
	for i, name := range names {
		if s == nil {
			return nil
		}
		if (s == rootShape || s == eventShape) && name == bodyName {
			w.part.usesBody = true
		}
		next, ok := s.fields[name]
		if !ok {
			of := strings.Join(names[:i], ".")
			switch {
			case s == rootShape:
				of = "the event"
			case i == 0:
				of = "what dot stands for here"
			}
			if s.scalar {
				w.wrong(n, "%s has no fields, so there is no %q in it", of, name)
			} else {
				w.wrong(n, "%s has no field %q%s", of, name, didYouMean(name, slices.Collect(maps.Keys(s.fields))))
			}
			return nil
		}
		s = next
	}
	if len(names) > 0 {
		w.whole(s)
	}
	return s
}

// What text/template says, and what of it a person needs.
var (
	parseError = regexp.MustCompile(`(?s)^template: ` + templateName + `:(\d+)(?::\d+)?: (.*)$`)
	runError   = regexp.MustCompile(`(?s)^template: ` + templateName + `:\d+(?::\d+)?: executing "` + templateName + `" at (<.*>): (.*)$`)
	noFunction = regexp.MustCompile(`^function "(.*)" not defined$`)
	noValue    = regexp.MustCompile(`^nil pointer evaluating .*\.(\w+)$`)
	noField    = regexp.MustCompile(`^can't evaluate field (\w+) in type .*$`)
)

func explainParse(source string, err error) string {
	m := parseError.FindStringSubmatch(err.Error())
	if m == nil {
		return err.Error()
	}
	line, message := "line "+m[1]+": ", m[2]
	if !strings.Contains(strings.TrimSpace(source), "\n") {
		line = ""
	}
	if f := noFunction.FindStringSubmatch(message); f != nil {
		message = fmt.Sprintf("there is no function %q%s", f[1], didYouMean(f[1], slices.Collect(maps.Keys(functions))))
	}
	return line + message
}

func explainRun(err error) string {
	m := runError.FindStringSubmatch(err.Error())
	if m == nil {
		return err.Error()
	}
	message := m[2]
	if f := noValue.FindStringSubmatch(message); f != nil {
		message = fmt.Sprintf("there is nothing that could have a field %q", f[1])
	} else if f := noField.FindStringSubmatch(message); f != nil {
		message = fmt.Sprintf("what is there has no field %q", f[1])
	}
	return m[1] + ": " + message
}
