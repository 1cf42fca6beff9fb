package route

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestCondition(t *testing.T) {
	t.Parallel()
	testData(t, "condition-*.txtar", func(e *bellhop.Event, expr string) string {
		c, err := CompileCondition(expr)
		if err != nil {
			return "invalid: " + err.Error()
		}
		ok, err := c.Match(e)
		if err != nil {
			return fmt.Sprintf("%v, and an error: %v", ok, err)
		}
		return strconv.FormatBool(ok)
	})
}

func TestConditionProblemsHaveNoPath(t *testing.T) {
	t.Parallel()
	for _, expr := range []string{"", " \n", "event.", "event.brnch == ''", "1", `event.branch.matches("(")`} {
		_, err := CompileCondition(expr)
		ps, ok := errors.AsType[bellhop.Problems](err)
		if !ok || len(ps) == 0 {
			t.Fatalf("%q: got %T %v, want problems", expr, err, err)
		}
		for _, p := range ps {
			if p.Path != "" || p.Line != 0 || p.File != "" || strings.Contains(p.Message, "\n") {
				t.Errorf("%q: %#v: the place in the file is the caller's, and a message is one line", expr, p)
			}
		}
	}
}

func TestNoConditionMatchesAll(t *testing.T) {
	t.Parallel()
	var c *Condition
	if ok, err := c.Match(&bellhop.Event{}); !ok || err != nil {
		t.Errorf("got %v, %v", ok, err)
	}
}

// What an expression may cost is bounded, at load and while it runs.
func TestConditionLimits(t *testing.T) {
	t.Parallel()
	for name, expr := range map[string]string{
		"long":   `event.branch == "` + strings.Repeat("x", maxExpression) + `"`,
		"wide":   `event.branch in [` + strings.Repeat(`"x",`, maxNodes) + `]`,
		"deep":   strings.Repeat("(", 1_000) + "true" + strings.Repeat(")", 1_000),
		"nested": "[1].map(a, [1].map(b, [1].map(c, c))) == []",
		"regex":  `event.branch.matches("((a{100}){100}){100}")`,
	} {
		if _, err := CompileCondition(expr); err == nil {
			t.Errorf("%s: compiled", name)
		}
	}

	c, err := CompileCondition("body.all(a, body.all(b, a + b > 0))")
	if err != nil {
		t.Fatal(err)
	}
	body := "[1" + strings.Repeat(",1", 5_000) + "]"
	if ok, err := c.Match(&bellhop.Event{Raw: []byte(body)}); ok || err == nil || !strings.Contains(err.Error(), "cost limit exceeded") {
		t.Errorf("25 million rounds: got %v, %v", ok, err)
	}
}

func TestConditionIsSharedWhileInUse(t *testing.T) {
	t.Parallel()
	const expr = `event.branch == "shared while in use"`
	func() {
		a, b := condition(t, expr), condition(t, expr)
		if a != b {
			t.Error("the same text was compiled twice")
		}
	}()
	for range 100 {
		runtime.GC()
		if _, ok := compiled.Load(expr); !ok {
			return
		}
		runtime.Gosched()
	}
	t.Error("a condition that nobody uses is still kept")
}

// Expressions must not change an event, nor be changed by one: they run at once on many.
func TestConditionConcurrently(t *testing.T) {
	t.Parallel()
	c, err := CompileCondition(`body.n == event.pullRequest.number && headers["x-n"] == string(body.n)`)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	for n := range 8 {
		go func() {
			e := &bellhop.Event{
				PullRequest: bellhop.PullRequest{Number: int64(n)},
				Headers:     map[string]string{"X-N": strconv.Itoa(n)},
				Raw:         fmt.Appendf(nil, `{"n": %d}`, n),
			}
			for range 200 {
				if ok, err := c.Match(e); !ok || err != nil {
					done <- fmt.Errorf("%d: %v, %w", n, ok, err)
					return
				}
			}
			done <- nil
		}()
	}
	for range 8 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func FuzzCompileCondition(f *testing.F) {
	for _, s := range []string{
		`event.branch == "main"`, `event.kind.startsWith("git.") && !has(event.tag)`, `body.a.b[0] > 1.5`,
		`headers["x"].matches("^a+$")`, `event.brnch`, `body.?x.orValue(1) == 1`, "\x00", `"` + "\u202e" + `" == ''`,
		"event.fields.exists(f, f.name == 'a')", "</script>", strings.Repeat("!", 300) + "true",
	} {
		f.Add(s, `{"a": {"b": [1, 2]}}`)
	}
	f.Fuzz(func(t *testing.T, expr, body string) {
		c, err := CompileCondition(expr)
		if err != nil {
			if _, ok := errors.AsType[bellhop.Problems](err); !ok {
				t.Errorf("%q: %T: %v", expr, err, err)
			}
			return
		}
		ok, err := c.Match(&bellhop.Event{Branch: "main", Time: time.Unix(0, 0), Raw: []byte(body)})
		if ok && err != nil {
			t.Errorf("%q matches and fails: %v", expr, err)
		}
	})
}

var benchmarkEvent = &bellhop.Event{
	Kind: bellhop.KindGitPush, Branch: "main", Repo: bellhop.Repo{Name: "shop/web"},
	Headers: map[string]string{"X-Github-Event": "push"},
	Raw:     []byte(`{"ref": "refs/heads/main", "commits": [{"id": "1", "message": "` + strings.Repeat("x", 7_000) + `"}]}`),
}

func BenchmarkMatch(b *testing.B) {
	for _, bench := range []struct{ name, expr string }{
		{"kind", `event.kind == "git.push"`},
		{"fields", `event.kind.startsWith("git.") && event.branch in ["main", "release"] && event.repo.name == "shop/web"`},
		{"regex", `event.branch.matches("^(main|release-[0-9]+)$")`},
		{"header", `headers["x-github-event"] == "push"`},
		{"body", `body.ref == "refs/heads/main"`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			c, err := CompileCondition(bench.expr)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				if ok, err := c.Match(benchmarkEvent); !ok || err != nil {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

func BenchmarkCompileCondition(b *testing.B) {
	b.Run("distinct", func(b *testing.B) {
		b.ReportAllocs()
		n := 0
		for b.Loop() {
			n++
			if _, err := CompileCondition(`event.kind == "git.push" && event.branch == "b` + strconv.Itoa(n) + `"`); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("known", func(b *testing.B) {
		keep, _ := CompileCondition(`event.kind == "git.push" && event.branch == "known"`)
		b.ReportAllocs()
		for b.Loop() {
			if _, err := CompileCondition(keep.String()); err != nil {
				b.Fatal(err)
			}
		}
	})
}
