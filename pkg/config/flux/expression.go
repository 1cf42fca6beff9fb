package flux

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/operators"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/parser"
)

// parse reads an expression as it is written: macros stay the calls that they look like.
func parse(expr string) (*ast.AST, error) {
	p, err := parser.NewParser(parser.Macros(), parser.EnableOptionalSyntax(true), parser.MaxRecursionDepth(100))
	if err != nil {
		return nil, err
	}
	tree, problems := p.Parse(common.NewTextSource(expr))
	if all := problems.GetErrors(); len(all) > 0 {
		return nil, errors.New(all[0].Message)
	}
	return tree, nil
}

// variables are the named expressions of an OIDC provider, each without the others in it.
type variables map[string]ast.Expr

// inline is the expression with every vars.NAME replaced by what that stands for.
func (v variables) inline(expr string) (*ast.AST, error) {
	tree, err := parse(expr)
	if err != nil {
		return nil, err
	}
	factory := ast.NewExprFactory()
	var unknown []string
	ast.PostOrderVisit(tree.Expr(), ast.NewExprVisitor(func(e ast.Expr) {
		if e.Kind() != ast.SelectKind || e.AsSelect().Operand().Kind() != ast.IdentKind || e.AsSelect().Operand().AsIdent() != "vars" {
			return
		}
		name := e.AsSelect().FieldName()
		if value, ok := v[name]; ok {
			e.SetKindCase(factory.CopyExpr(value))
		} else {
			unknown = append(unknown, name)
		}
	}))
	if unknown != nil {
		return nil, fmt.Errorf("there is no variable %q", unknown[0])
	}
	return tree, nil
}

// rule is the validation in one expression.
func (v variables) rule(expr string) (string, error) {
	if len(v) == 0 {
		return expr, nil
	}
	tree, err := v.inline(expr)
	if err != nil {
		return "", err
	}
	return parser.Unparse(tree.Expr(), tree.SourceInfo())
}

// contextTemplate is a commitStatusExpr as a template over the event: texts, fields of the event, and what is
// known of Provider and Alert, put together with + and changed with lowerAscii and upperAscii. It is false for
// anything else.
func contextTemplate(expr string, known map[string]string) (string, bool) {
	tree, err := parse(expr)
	if err != nil {
		return "", false
	}
	pieces, ok := piecesOf(tree.Expr(), known)
	if !ok {
		return "", false
	}
	var b strings.Builder
	for _, p := range pieces {
		if p.field == "" {
			b.WriteString(escape(p.text))
		} else {
			b.WriteString("{{ " + strings.Join(append([]string{p.field}, p.functions...), " | ") + " }}")
		}
	}
	return b.String(), true
}

// piece is a part of a text: a text, or a field of the event and the functions that it goes through.
type piece struct {
	text, field string
	functions   []string
}

// eventFields are those of Flux's event that are a text here under the same name.
var eventFields = []string{
	"event.involvedObject.apiVersion", "event.involvedObject.kind", "event.involvedObject.name", "event.involvedObject.namespace",
	"event.involvedObject.uid", "event.severity", "event.reason", "event.message", "event.reportingController", "event.reportingInstance",
}

func piecesOf(e ast.Expr, known map[string]string) ([]piece, bool) {
	switch e.Kind() {
	case ast.LiteralKind:
		text, ok := e.AsLiteral().(types.String)
		return []piece{{text: string(text)}}, ok
	case ast.SelectKind:
		return pieceAt(pathOf(e), known)
	case ast.CallKind:
		call := e.AsCall()
		switch name, args := call.FunctionName(), call.Args(); {
		case name == operators.Add && len(args) == 2:
			left, ok := piecesOf(args[0], known)
			right, also := piecesOf(args[1], known)
			return append(left, right...), ok && also
		case name == operators.Index && len(args) == 2:
			return pieceAt(pathOf(e), known)
		case call.IsMemberFunction() && name == "lowerAscii" && len(args) == 0:
			return changed(call.Target(), known, "lower", strings.ToLower)
		case call.IsMemberFunction() && name == "upperAscii" && len(args) == 0:
			return changed(call.Target(), known, "upper", strings.ToUpper)
		}
	}
	return nil, false
}

func changed(e ast.Expr, known map[string]string, function string, change func(string) string) ([]piece, bool) {
	pieces, ok := piecesOf(e, known)
	for i, p := range pieces {
		pieces[i].text = change(p.text)
		pieces[i].functions = append(p.functions, function)
	}
	return pieces, ok
}

func pieceAt(path string, known map[string]string) ([]piece, bool) {
	if text, ok := known[path]; ok {
		return []piece{{text: text}}, true
	}
	return []piece{{field: strings.TrimPrefix(path, "event")}}, slices.Contains(eventFields, path)
}

// pathOf is a chain of fields as it is written, with dots; an index of a text counts as a field.
func pathOf(e ast.Expr) string {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent()
	case ast.SelectKind:
		return pathOf(e.AsSelect().Operand()) + "." + e.AsSelect().FieldName()
	case ast.CallKind:
		if c := e.AsCall(); c.FunctionName() == operators.Index && len(c.Args()) == 2 && c.Args()[1].Kind() == ast.LiteralKind {
			if key, ok := c.Args()[1].AsLiteral().(types.String); ok {
				return pathOf(c.Args()[0]) + "." + string(key)
			}
		}
	}
	return strconv.Quote("no path")
}

// escape is a text that a template shows as it is.
func escape(text string) string { return strings.ReplaceAll(text, "{{", `{{"{{"}}`) }
