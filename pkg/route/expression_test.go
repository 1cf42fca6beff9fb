package route

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Setup.Expression is this function.
var _ = bellhop.Setup{Expression: CompileExpression}

const testClaims = `{
	"sub": "repo:shop/web:ref:refs/heads/main", "repository": "shop/web", "run": 7, "attempt": 1.5,
	"environment": null, "verified": true, "groups": ["dev", "ops"], "nested": {"a": {"b": "c"}}
}`

func TestExpression(t *testing.T) {
	t.Parallel()
	var claims any
	if err := json.Unmarshal([]byte(testClaims), &claims); err != nil {
		t.Fatal(err)
	}
	for expr, want := range map[string]string{
		`claims.repository == "shop/web"`:                        "true",
		`claims.repository == "shop/shop"`:                       "false",
		`claims.sub.startsWith("repo:shop/")`:                    "true",
		`claims.sub.matches("^repo:shop/[^:]+:ref:.*$")`:         "true",
		`claims.run == 7 && claims.run > 6 && claims.run != "7"`: "true",
		`claims.attempt > 1`:                                     "true",
		`claims.verified`:                                        "true",
		`"ops" in claims.groups`:                                 "true",
		`claims.groups.exists(g, g.startsWith("d"))`:             "true",
		`sets.contains(claims.groups, ["ops", "dev"])`:           "true",
		`claims.nested.a["b"].upperAscii() == "C"`:               "true",
		`claims.environment == null`:                             "true",
		`has(claims.actor)`:                                      "false",
		`claims[?"actor"].orValue("") == "me"`:                   "false",
		`vars.wanted == claims.repository`:                       "true",

		`claims.actor == "me"`: "evaluating `claims.actor == \"me\"`: no such key: actor",
		`claims.repository`:    "evaluating `claims.repository`: it yields string, not true or false",
		`claims.run + 1 == 8`:  "evaluating `claims.run + 1 == 8`: no such overload",
	} {
		x, err := CompileExpression(expr, "claims", "vars")
		if err != nil {
			t.Errorf("%s: %v", expr, err)
			continue
		}
		ok, err := x.Match(map[string]any{"claims": claims, "vars": map[string]any{"wanted": "shop/web"}})
		got := "true"
		if err != nil {
			got = err.Error()
		} else if !ok {
			got = "false"
		}
		if got != want {
			t.Errorf("%s: got %s, want %s", expr, got, want)
		}
		if ok && err != nil {
			t.Errorf("%s: matches and fails", expr)
		}
	}
}

func TestExpressionProblems(t *testing.T) {
	t.Parallel()
	for expr, want := range map[string]string{
		"":                          "the expression is empty: write one over claims and vars",
		" \n":                       "the expression is empty: write one over claims and vars",
		`claim.sub == "x"`:          `column 1: there is no "claim": expressions are over claims and vars; did you mean "claims"?`,
		`event.branch == "x"`:       `column 1: there is no "event": expressions are over claims and vars`,
		`claims.sub = "x"`:          "column 12: a comparison is written ==",
		`claims.sub.startWith("x")`: `column 21: there is no function "startWith"; did you mean "startsWith"?`,
		`"claims.sub"`:              "the expression yields string, not true or false: compare it with something",
		`claims.sub.matches("(")`:   "column 20: the regular expression is malformed: see https://github.com/google/re2/wiki/Syntax",
		strings.Repeat("(", 500) + "true" + strings.Repeat(")", 500): "",
	} {
		_, err := CompileExpression(expr, "claims", "vars")
		ps, ok := errors.AsType[bellhop.Problems](err)
		if !ok || len(ps) == 0 {
			t.Errorf("%.40q: got %T %v, want problems", expr, err, err)
			continue
		}
		if got := err.Error(); want != "" && got != want {
			t.Errorf("%q:\ngot  %s\nwant %s", expr, got, want)
		}
		if ps[0].Path != "" {
			t.Errorf("%q: the path %q is the caller's", expr, ps[0].Path)
		}
	}
	if _, err := CompileExpression("true"); err == nil {
		t.Error("an expression over nothing is compiled")
	}
}

// The bounds are those of conditions, at load and while it runs.
func TestExpressionLimits(t *testing.T) {
	t.Parallel()
	for name, expr := range map[string]string{
		"long":   `claims.a == "` + strings.Repeat("x", maxExpression) + `"`,
		"nested": "[1].map(a, [1].map(b, [1].map(c, c))) == []",
		"regex":  `claims.a.matches("((a{100}){100}){100}")`,
	} {
		if _, err := CompileExpression(expr, "claims"); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}
	x, err := CompileExpression("claims.all(a, claims.all(b, a + b > 0.0))", "claims")
	if err != nil {
		t.Fatal(err)
	}
	claims := make([]any, 5_000)
	for i := range claims {
		claims[i] = 1.0
	}
	if ok, err := x.Match(map[string]any{"claims": claims}); ok || err == nil || !strings.Contains(err.Error(), "cost limit exceeded") {
		t.Errorf("25 million rounds: got %v, %v", ok, err)
	}
}

func TestExpressionWithoutItsValues(t *testing.T) {
	t.Parallel()
	x, err := CompileExpression("claims.a == 1", "claims")
	if err != nil {
		t.Fatal(err)
	}
	for _, values := range []map[string]any{nil, {}, {"other": 1}, {"claims": nil}, {"claims": "text"}} {
		if ok, err := x.Match(values); ok || err == nil {
			t.Errorf("%v: got %v, %v; want an error", values, ok, err)
		}
	}
}

// Configurations are read, checked on demand and judged at admission, all at once: of an environment that is new, the
// first mistake must not disturb who is compiling beside it.
func TestCompileConcurrently(t *testing.T) {
	t.Parallel()
	for n := range 20 {
		name := fmt.Sprintf("claims%d", n)
		if _, err := CompileExpression(name+".verified", name); err != nil {
			t.Fatal(err)
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, err := CompileExpression(name+`.groups.exists(g, g == "dev")`, name); err != nil {
					t.Error(err)
				}
			})
			all.Go(func() {
				if _, err := CompileExpression("clams.verified", name); err == nil {
					t.Error("a misspelt name was compiled")
				}
			})
		}
		all.Wait()
	}
}
