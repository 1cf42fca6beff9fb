package route

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func condition(tb testing.TB, expr string) *Condition {
	tb.Helper()
	c, err := CompileCondition(expr)
	if err != nil {
		tb.Fatal(err)
	}
	return c
}

func TestTargets(t *testing.T) {
	t.Parallel()
	rules := []*Rule{
		{Name: "broken", When: condition(t, "body.missing == 1"), To: []string{"never"}},
		{Name: "main", From: []string{"app-*"}, When: condition(t, `event.branch == "main"`), To: []string{"team", "flux"}},
		{Name: "tags", From: []string{"app-web", "lib"}, When: condition(t, `event.tag != ""`), To: []string{"flux", "releases", "releases"}},
		{Name: "all", To: []string{"audit", "team"}},
	}
	tests := []struct {
		endpoint string
		event    bellhop.Event
		want     []bellhop.Target
	}{
		{"other", bellhop.Event{Branch: "main"}, []bellhop.Target{{Provider: "audit", Route: "all"}, {Provider: "team", Route: "all"}}},
		{"app-web", bellhop.Event{Branch: "main", Tag: "v1"}, []bellhop.Target{
			{Provider: "team", Route: "main"}, {Provider: "flux", Route: "main"}, {Provider: "releases", Route: "tags"}, {Provider: "audit", Route: "all"},
		}},
		{"lib", bellhop.Event{Branch: "main", Tag: "v1"}, []bellhop.Target{
			{Provider: "flux", Route: "tags"}, {Provider: "releases", Route: "tags"}, {Provider: "audit", Route: "all"}, {Provider: "team", Route: "all"},
		}},
	}
	for _, test := range tests {
		got, err := PlanFor(test.endpoint, rules).Targets(&test.event)
		if diff := cmp.Diff(test.want, got); diff != "" {
			t.Errorf("%s: -want +got:\n%s", test.endpoint, diff)
		}
		const want = "route \"broken\": evaluating `body.missing == 1`: "
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: got error %v, want it to begin with %s", test.endpoint, err, want)
		}
	}
}

func TestTargetsOfNothing(t *testing.T) {
	t.Parallel()
	for name, plan := range map[string]Plan{
		"no rules": nil,
		"no match": {{Name: "x", When: condition(t, "event.tag != ''"), To: []string{"a"}}},
		"to none":  {{Name: "x"}},
	} {
		if got, err := plan.Targets(&bellhop.Event{}); len(got) != 0 || err != nil {
			t.Errorf("%s: got %v, %v", name, got, err)
		}
	}
}

// However many providers there are, each is named once, in order.
func TestTargetsOfMany(t *testing.T) {
	t.Parallel()
	var names []string
	for i := range 1_000 {
		names = append(names, fmt.Sprint("p", i))
	}
	plan := Plan{
		{Name: "some", To: names[10:20]},
		{Name: "all", To: names},
		{Name: "again", To: append(slices.Clone(names), "last")},
	}
	got, err := plan.Targets(&bellhop.Event{})
	if err != nil || len(got) != 1_001 {
		t.Fatalf("got %d targets, %v", len(got), err)
	}
	for i, want := range slices.Concat(names[10:20], names[:10], names[20:], []string{"last"}) {
		if got[i].Provider != want {
			t.Fatalf("target %d is %s, not %s", i, got[i].Provider, want)
		}
	}
	if got[0].Route != "some" || got[10].Route != "all" || got[1_000].Route != "again" {
		t.Errorf("got %v, %v, %v", got[0], got[10], got[1_000])
	}
}

func TestMatchName(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		globs string
		name  string
		want  bool
	}{
		{"", "app", false},
		{"app", "app", true},
		{"app", "apps", false},
		{"App", "app", false},
		{"app*", "app", true},
		{"*", "anything-at-all", true},
		{"lib app-?", "app-1", true},
		{"lib app-?", "app-10", false},
		{"app-[a-c]", "app-b", true},
		{"app-[^a-c]", "app-b", false},
		{"[app", "[app", true}, // as it is written
		{"[app", "a", false},
	} {
		if got := MatchName(strings.Fields(test.globs), test.name); got != test.want {
			t.Errorf("%q covers %q: got %v", test.globs, test.name, got)
		}
	}
}

func TestCheckGlob(t *testing.T) {
	t.Parallel()
	for _, glob := range []string{"", "[", "a[b", `a\`, "[]"} {
		if CheckGlob(glob) == nil {
			t.Errorf("%q passes", glob)
		}
	}
	for _, glob := range []string{"app", "*", "app-[a-z]?"} {
		if err := CheckGlob(glob); err != nil {
			t.Errorf("%q: %v", glob, err)
		}
	}
}

func BenchmarkTargets(b *testing.B) {
	b.Run("one rule to 1000", func(b *testing.B) {
		all := &Rule{Name: "all"}
		for i := range 1_000 {
			all.To = append(all.To, fmt.Sprint("provider-", i))
		}
		b.ReportAllocs()
		for b.Loop() {
			if targets, err := (Plan{all}).Targets(benchmarkEvent); len(targets) != 1_000 || err != nil {
				b.Fatal(targets, err)
			}
		}
	})
	for _, n := range []int{1, 10} {
		var plan Plan
		for i := range n {
			plan = append(plan, &Rule{
				Name: fmt.Sprint("r", i), When: condition(b, `event.kind == "git.push"`), To: []string{fmt.Sprint("p", i)},
			})
		}
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				if targets, err := plan.Targets(benchmarkEvent); len(targets) != n || err != nil {
					b.Fatal(targets, err)
				}
			}
		})
	}
}
