package route

import (
	"errors"
	"fmt"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"weak"

	"cel.dev/cel-go/cel"
	"cel.dev/cel-go/common"
	"cel.dev/cel-go/common/ast"
	"cel.dev/cel-go/common/cost"
	"cel.dev/cel-go/common/types"
	"cel.dev/cel-go/ext"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Limits of an expression. A cost of 1 is about the comparison of two short strings; maxCost is some tens of
// milliseconds, which only a comprehension over a large body comes near.
const (
	maxExpression = 16 << 10 // characters
	maxNodes      = 5_000
	maxRegex      = 5_000 // instructions of the compiled program
	maxNesting    = 2     // comprehensions in comprehensions
	maxCost       = 1_000_000
)

// Condition is a compiled CEL expression over `event`, `body` and `headers`. It is safe for concurrent use.
type Condition struct{ clause }

// clause is a compiled expression that yields true or false.
type clause struct {
	expr    string
	program cel.Program
}

// compiled holds every Condition in use by its text: a thousand routes with the same clause, and a reload
// that changes none, compile nothing. What no configuration uses any more is collected.
var compiled sync.Map // string -> weak.Pointer[Condition]

// CompileCondition compiles an expression that must yield a bool. The error is bellhop.Problems without a
// path; each names the place in the expression.
func CompileCondition(expr string) (*Condition, error) {
	if v, ok := compiled.Load(expr); ok {
		if c := v.(weak.Pointer[Condition]).Value(); c != nil {
			return c, nil
		}
	}
	c, err := compileCondition(expr)
	if err != nil {
		return nil, err
	}
	key, p := strings.Clone(expr), weak.Make(c)
	compiled.Store(key, p)
	runtime.AddCleanup(c, func(key string) { compiled.CompareAndDelete(key, p) }, key)
	return c, nil
}

func compileCondition(expr string) (*Condition, error) {
	if strings.TrimSpace(expr) == "" {
		return nil, bellhop.Problems{{Message: `the expression is empty: write one such as event.branch == "main", or leave the key out`}}
	}
	env, err := environment()
	if err != nil {
		return nil, err
	}
	c, err := compile(expr, env, []string{eventName, bodyName, headersName})
	if err != nil {
		return nil, err
	}
	return &Condition{c}, nil
}

// checking guards cel.Env.Check: to hint at the right name for a misspelt one, the first check that finds one writes a
// catalog into the environment that other checks read just then (checker.Env, as of cel-go v0.33.2).
var checking sync.Mutex

// compile compiles an expression over the named variables of env.
func compile(expr string, env *cel.Env, variables []string) (clause, error) {
	tree, issues := env.Parse(expr)
	if issues.Err() != nil {
		return clause{}, explain(expr, nil, env, variables, issues)
	}
	checking.Lock()
	checked, issues := env.Check(tree)
	checking.Unlock()
	if issues.Err() != nil {
		return clause{}, explain(expr, tree, env, variables, issues)
	}
	if t := checked.OutputType(); !t.IsExactType(types.BoolType) && !t.IsExactType(types.DynType) {
		return clause{}, bellhop.Problems{{Message: fmt.Sprintf("the expression yields %s, not true or false: compare it with something", t)}}
	}
	options := []cel.ProgramOption{cel.EvalOptions(cel.OptOptimize)}
	estimate, err := env.EstimateCost(checked, unknownSizes{})
	if err != nil {
		return clause{}, fmt.Errorf("estimating the cost of the expression: %w", err)
	}
	if estimate.Min > maxCost {
		return clause{}, bellhop.Problems{{Message: "the expression costs too much on every event: make it smaller"}}
	}
	if estimate.Max > maxCost {
		// Its cost depends on the event, so it is counted while it runs; the others are spared that.
		options = append(options, cel.CostLimit(maxCost))
	}
	program, err := env.Program(checked, options...)
	if err != nil {
		return clause{}, bellhop.Problems{{Message: lowerFirst(err.Error())}}
	}
	return clause{expr, program}, nil
}

// Match reports whether the event matches. A nil condition matches all. The error says at which expression
// and why it has no answer for this event, such as a key that the body does not have.
func (c *Condition) Match(e *bellhop.Event) (bool, error) {
	if c == nil {
		return true, nil
	}
	return c.holds(&subject{event: e})
}

// holds evaluates the clause over the variables that vars holds: a cel.Activation or a map[string]any.
func (c *clause) holds(vars any) (bool, error) {
	out, _, err := c.program.Eval(vars)
	if err != nil {
		return false, fmt.Errorf("evaluating %s: %w", quoteClause(c.expr), plain(err))
	}
	b, ok := out.(types.Bool)
	if !ok {
		return false, fmt.Errorf("evaluating %s: it yields %s, not true or false", quoteClause(c.expr), out.Type().TypeName())
	}
	return bool(b), nil
}

// String is the expression.
func (c *clause) String() string { return c.expr }

// environment is what conditions are compiled in.
var environment = sync.OnceValues(func() (*cel.Env, error) {
	return cel.NewEnv(
		language,
		ext.NativeTypes(goEventType, ext.ParseStructTag("json")),
		func(env *cel.Env) (*cel.Env, error) {
			t := eventTypes{env.CELTypeProvider(), env.CELTypeAdapter()}
			env, err := cel.CustomTypeAdapter(t)(env)
			if err != nil {
				return nil, err
			}
			return cel.CustomTypeProvider(t)(env)
		},
		cel.Variable(eventName, eventType),
		cel.Variable(bodyName, cel.DynType),
		cel.Variable(headersName, cel.MapType(cel.StringType, cel.StringType)),
	)
})

// language is what all expressions have in common: functions and limits.
func language(env *cel.Env) (*cel.Env, error) {
	for _, option := range []cel.EnvOption{
		cel.OptionalTypes(),
		ext.Strings(),
		ext.Sets(),

		cel.CrossTypeNumericComparisons(true), // body.size > 1.5, whatever number the sender wrote
		cel.DefaultUTCTimeZone(true),

		cel.ParserExpressionSizeLimit(maxExpression),
		cel.ExpressionNodeLimit(maxNodes),
		cel.ParserRecursionLimit(100),
		cel.RegexProgramSizeLimit(maxRegex),
		cel.ASTValidators(
			cel.ValidateRegexLiterals(),
			cel.ValidateDurationLiterals(),
			cel.ValidateTimestampLiterals(),
			cel.ValidateComprehensionNestingLimit(maxNesting),
		),
	} {
		var err error
		if env, err = option(env); err != nil {
			return nil, err
		}
	}
	return env, nil
}

// unknownSizes: nothing is known of the sizes of what senders write.
type unknownSizes struct{}

func (unknownSizes) EstimateSize(cost.AstNode) *cost.SizeEstimate { return nil }
func (unknownSizes) EstimateCallCost(_, _ string, _ *cost.AstNode, _ []cost.AstNode) *cost.CallEstimate {
	return nil
}

// explain turns what CEL found into problems that say what to write instead. tree is nil if the expression
// does not parse.
func explain(expr string, tree *cel.Ast, env *cel.Env, variables []string, issues *cel.Issues) bellhop.Problems {
	var ps bellhop.Problems
	for _, e := range issues.Errors() {
		message := lowerFirst(e.Message)
		if m := explainName(tree, env, variables, e); m != "" {
			message = m
		} else if m := overload.FindStringSubmatch(e.Message); m != nil {
			message = fmt.Sprintf("%s does not go between %s and %s", m[1], m[2], m[3])
		} else if strings.HasPrefix(e.Message, "invalid matches argument") {
			message = "the regular expression is malformed: see https://github.com/google/re2/wiki/Syntax"
		} else if tree == nil && strings.Contains(e.Message, "token recognition error at: '=") {
			message = "a comparison is written =="
		} else if tree == nil && strings.Contains(e.Message, `token recognition error at: '"`) {
			message = "a text begins here that no quote ends"
		}
		ps = append(ps, bellhop.Problem{Message: place(expr, e.Location) + message})
		if tree == nil {
			break // what follows a syntax error is its echo
		}
	}
	return ps
}

// overload is CEL's word for an operator between two types that it does not know.
var overload = regexp.MustCompile(`^found no matching overload for '_(\S+)_' applied to '\((.+), (.+)\)'`)

// explainName finds the nearest name for a misspelt one; empty if e is about something else.
func explainName(tree *cel.Ast, env *cel.Env, variables []string, e *common.Error) string {
	undefined := strings.HasPrefix(e.Message, "undefined field")
	undeclared := strings.HasPrefix(e.Message, "undeclared reference")
	if tree == nil || !undefined && !undeclared {
		return ""
	}
	node := find(tree.NativeRep().Expr(), e.ExprID)
	if node == nil {
		return ""
	}
	provider := env.CELTypeProvider()
	switch node.Kind() {
	case ast.SelectKind:
		field := node.AsSelect().FieldName()
		known, _ := provider.FindStructFieldNames(typeOf(node.AsSelect().Operand(), env).TypeName())
		return fmt.Sprintf("%s has no field %q%s", text(node.AsSelect().Operand()), field, didYouMean(field, known))
	case ast.IdentKind:
		name := node.AsIdent()
		fields, _ := provider.FindStructFieldNames(eventType.TypeName())
		if slices.Contains(fields, name) {
			return fmt.Sprintf("there is no %q: write event.%s", name, name)
		}
		return fmt.Sprintf("there is no %q: expressions are over %s%s", name, enumerate(variables), didYouMean(name, variables))
	case ast.CallKind:
		name := node.AsCall().FunctionName()
		var known []string
		for f := range env.Functions() {
			if !strings.ContainsAny(f, "_@!-") {
				known = append(known, f)
			}
		}
		return fmt.Sprintf("there is no function %q%s", name, didYouMean(name, known))
	}
	return ""
}

// enumerate is "a, b and c".
func enumerate(words []string) string {
	last := len(words) - 1
	if last < 1 {
		return strings.Join(words, "")
	}
	return strings.Join(words[:last], ", ") + " and " + words[last]
}

func find(e ast.Expr, id int64) ast.Expr {
	var found ast.Expr
	ast.PreOrderVisit(e, ast.NewExprVisitor(func(e ast.Expr) {
		if e.ID() == id && found == nil {
			found = e
		}
	}))
	return found
}

// typeOf is the type of a path such as event.repo, as far as it is one.
func typeOf(e ast.Expr, env *cel.Env) *types.Type {
	switch e.Kind() {
	case ast.IdentKind:
		if e.AsIdent() == eventName {
			return eventType
		}
	case ast.SelectKind:
		s := e.AsSelect()
		if f, ok := env.CELTypeProvider().FindStructFieldType(typeOf(s.Operand(), env).TypeName(), s.FieldName()); ok {
			return f.Type
		}
	}
	return types.DynType
}

// text is a path as it is written.
func text(e ast.Expr) string {
	switch e.Kind() {
	case ast.IdentKind:
		return e.AsIdent()
	case ast.SelectKind:
		return text(e.AsSelect().Operand()) + "." + e.AsSelect().FieldName()
	}
	return "it"
}

// place is where in the expression: lines only if there are several, both from 1.
func place(expr string, at common.Location) string {
	if at == nil || at.Line() < 1 {
		return ""
	}
	if strings.Contains(strings.TrimSpace(expr), "\n") {
		return fmt.Sprintf("line %d, column %d: ", at.Line(), at.Column()+1)
	}
	return fmt.Sprintf("column %d: ", at.Column()+1)
}

// quoteClause is the expression on one line, cut for a log.
func quoteClause(expr string) string {
	return "`" + truncate(120, strings.Join(strings.Fields(expr), " ")) + "`"
}

// plain is an error of CEL without the excerpt of the source that it prints below.
func plain(err error) error {
	if line, _, ok := strings.Cut(err.Error(), "\n"); ok {
		return errors.New(line)
	}
	return err
}

func lowerFirst(s string) string {
	if s == "" || strings.HasPrefix(s, "CEL") || strings.HasPrefix(s, "JSON") {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}
