package route

import (
	"errors"
	"fmt"
	"strings"
	"sync"

	"cel.dev/cel-go/cel"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Expression is a compiled CEL expression over values of any type. It is safe for concurrent use.
type Expression struct{ clause }

// CompileExpression compiles an expression over the named variables that must yield a bool: what
// bellhop.Setup.Expression is. Functions, limits and errors are those of CompileCondition.
//
// Every number is a double, as encoding/json decodes it: it compares with whole numbers, but adds up with
// doubles only.
func CompileExpression(expr string, variables ...string) (bellhop.Expression, error) {
	if len(variables) == 0 {
		return nil, errors.New("compiling an expression: it is over no variables")
	}
	if strings.TrimSpace(expr) == "" {
		return nil, bellhop.Problems{{Message: "the expression is empty: write one over " + enumerate(variables)}}
	}
	env, err := environmentOf(variables)
	if err != nil {
		return nil, fmt.Errorf("compiling an expression over %s: %w", enumerate(variables), err)
	}
	c, err := compile(expr, env, variables)
	if err != nil {
		return nil, err
	}
	return &Expression{c}, nil
}

// Match reports whether the expression holds for the values of its variables.
func (x *Expression) Match(values map[string]any) (bool, error) { return x.holds(values) }

// environments are those of CompileExpression by their variables. There are as many as plug-ins that compile
// expressions.
var environments sync.Map // string -> *cel.Env

func environmentOf(variables []string) (*cel.Env, error) {
	key := strings.Join(variables, " ")
	if env, ok := environments.Load(key); ok {
		return env.(*cel.Env), nil
	}
	options := []cel.EnvOption{language}
	for _, name := range variables {
		options = append(options, cel.Variable(name, cel.DynType))
	}
	env, err := cel.NewEnv(options...)
	if err != nil {
		return nil, err
	}
	environments.Store(key, env)
	return env, nil
}
