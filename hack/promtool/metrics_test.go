package promtool

import (
	"encoding/json"
	"fmt"
	"go/ast"
	goparser "go/parser"
	"go/token"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/promql/parser"

	"github.com/bellhop-dev/bellhop/pkg/telemetry" //nolint:depguard // The metrics are outside contract, and declared there.
)

// series are what can be queried: the labels that each name comes with. As a Registerer it learns them from the
// collectors themselves.
type series map[string][]string

// targetLabels are what the Prometheus operator adds to every series of a ServiceMonitor, less endpoint, which
// the chart drops.
var targetLabels = []string{"namespace", "job", "pod", "instance", "service", "container"}

// exported are all series of a scrape that rules and dashboards may use.
func exported() series {
	s := series{"up": targetLabels}
	telemetry.NewMetrics(s)
	telemetry.RegisterQueue(s, nil, nil) // described, never collected
	return s
}

var descriptor = regexp.MustCompile(`fqName: "(\w+)".*variableLabels: \{([\w,]*)\}`)

func (s series) Register(c prometheus.Collector) error {
	descs := make(chan *prometheus.Desc)
	go func() {
		defer close(descs)
		c.Describe(descs)
	}()
	for desc := range descs {
		m := descriptor.FindStringSubmatch(desc.String())
		if m == nil {
			return fmt.Errorf("reading the descriptor %s", desc)
		}
		own := slices.Clone(targetLabels)
		if m[2] != "" {
			own = append(own, strings.Split(m[2], ",")...)
		}
		_, vec := c.(*prometheus.HistogramVec)
		if _, one := c.(prometheus.Histogram); vec || one {
			s[m[1]+"_bucket"] = append(slices.Clone(own), "le")
			s[m[1]+"_sum"], s[m[1]+"_count"] = own, own
			continue
		}
		s[m[1]] = own
	}
	return nil
}

func (s series) MustRegister(cs ...prometheus.Collector) {
	for _, c := range cs {
		if err := s.Register(c); err != nil {
			panic(err)
		}
	}
}

func (s series) Unregister(prometheus.Collector) bool { return false }

// words are the values that labels of a fixed vocabulary take, by series and label.
type words map[[2]string][]string

// vocabulary reads them where the program declares them.
func vocabulary(t *testing.T) words {
	t.Helper()
	return words{
		{"bellhop_received_total", "result"}:   constants(t, "../../pkg/receiver/answer.go", regexp.MustCompile(`.`)),
		{"bellhop_deliveries_total", "result"}: constants(t, "../../pkg/notifier/judge.go", regexp.MustCompile(`^result`)),
	}
}

// constants are the values of the string constants of a Go file whose names match.
func constants(t *testing.T, name string, names *regexp.Regexp) []string {
	t.Helper()
	parsed, err := goparser.ParseFile(token.NewFileSet(), name, nil, goparser.SkipObjectResolution)
	if err != nil {
		t.Fatal(err)
	}
	var values []string
	for _, decl := range parsed.Decls {
		gen, ok := decl.(*ast.GenDecl)
		if !ok || gen.Tok != token.CONST {
			continue
		}
		for _, spec := range gen.Specs {
			spec := spec.(*ast.ValueSpec)
			if len(spec.Values) != 1 || !names.MatchString(spec.Names[0].Name) {
				continue
			}
			if literal, ok := spec.Values[0].(*ast.BasicLit); ok && literal.Kind == token.STRING {
				value, err := strconv.Unquote(literal.Value)
				if err != nil {
					t.Fatal(err)
				}
				values = append(values, value)
			}
		}
	}
	if len(values) == 0 {
		t.Fatalf("%s declares no string constant that matches %s", name, names)
	}
	return values
}

// problems are what expr asks for that Bellhop does not export.
func problems(expr parser.Expr, known series, fixed words) []string {
	var found []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		switch node := node.(type) {
		case *parser.VectorSelector:
			own, ok := known[node.Name]
			if !ok {
				found = append(found, "no metric "+node.Name)
				return nil
			}
			for _, m := range node.LabelMatchers {
				if m.Name == model.MetricNameLabel {
					continue
				}
				if !slices.Contains(own, m.Name) {
					found = append(found, fmt.Sprintf("%s has no label %s", node.Name, m.Name))
				}
				allowed, ok := fixed[[2]string{node.Name, m.Name}]
				for word := range strings.SplitSeq(m.Value, "|") {
					if ok && !slices.Contains(allowed, word) {
						found = append(found, fmt.Sprintf("%s of %s is never %s", m.Name, node.Name, word))
					}
				}
			}
		case *parser.AggregateExpr:
			for _, selector := range selectors(node.Expr) {
				for _, name := range node.Grouping {
					if own, ok := known[selector]; ok && !slices.Contains(own, name) {
						found = append(found, fmt.Sprintf("%s has no label %s to group by", selector, name))
					}
				}
			}
		}
		return nil
	})
	return found
}

// selectors are the names of the metrics in expr.
func selectors(expr parser.Expr) []string {
	var names []string
	parser.Inspect(expr, func(node parser.Node, _ []parser.Node) error {
		if selector, ok := node.(*parser.VectorSelector); ok {
			names = append(names, selector.Name)
		}
		return nil
	})
	return names
}

func parse(t *testing.T, expr string) parser.Expr {
	t.Helper()
	parsed, err := parser.NewParser(parser.Options{}).ParseExpr(expr)
	if err != nil {
		t.Fatalf("%s: %v", expr, err)
	}
	return parsed
}

// TestProblems: what the tests below rely on is found.
func TestProblems(t *testing.T) {
	t.Parallel()
	known, fixed := exported(), vocabulary(t)
	for _, tc := range []struct{ expr, want string }{
		{`sum by (provider) (rate(bellhop_deliveries_total{result=~"retried|dead"}[5m]))`, ""},
		{`sum by (le) (rate(bellhop_receive_duration_seconds_bucket[5m]))`, ""},
		{`max(bellhop_queue_depth{job="x"}) by (pod)`, ""},
		{`bellhop_receipts_total`, "no metric bellhop_receipts_total"},
		{`bellhop_receive_duration_seconds`, "no metric bellhop_receive_duration_seconds"},
		{`rate(bellhop_received_total{provider="x"}[5m])`, "bellhop_received_total has no label provider"},
		{`sum by (endpoint) (bellhop_queue_depth)`, "bellhop_queue_depth has no label endpoint to group by"},
		{`bellhop_received_total{result="refused"}`, "result of bellhop_received_total is never refused"},
		{`bellhop_deliveries_total{result=~"dead|accepted"}`, "result of bellhop_deliveries_total is never accepted"},
	} {
		if got := strings.Join(problems(parse(t, tc.expr), known, fixed), "; "); got != tc.want {
			t.Errorf("%s: %q, want %q", tc.expr, got, tc.want)
		}
	}
}

func TestRulesUseWhatIsExported(t *testing.T) {
	t.Parallel()
	known, fixed := exported(), vocabulary(t)
	for _, rule := range renderRules(t, nil) {
		for _, problem := range problems(parse(t, rule.Expr.String()), known, fixed) {
			t.Errorf("%s: %s", rule.Alert, problem)
		}
	}
}

// TestRejectedSpikeKnowsEveryRejection: a reason that the vocabulary gains is not forgotten by the alert.
func TestRejectedSpikeKnowsEveryRejection(t *testing.T) {
	t.Parallel()
	reasons := constants(t, "../../pkg/bellhop/errors.go", regexp.MustCompile(`^Reason`))
	for _, rule := range renderRules(t, nil) {
		if rule.Alert != "BellhopRejectedSpike" {
			continue
		}
		seen := false
		parser.Inspect(parse(t, rule.Expr.String()), func(node parser.Node, _ []parser.Node) error {
			if selector, ok := node.(*parser.VectorSelector); ok {
				for _, m := range selector.LabelMatchers {
					if m.Name != "reason" {
						continue
					}
					seen = true
					for _, reason := range reasons {
						if !m.Matches(reason) {
							t.Errorf("%s passes by %s", m, reason)
						}
					}
					for _, other := range []string{"path_unknown", "method_not_allowed", "rate_limited", "body_too_large", "body_malformed"} {
						if m.Matches(other) {
							t.Errorf("%s takes %s for a wrong signature", m, other)
						}
					}
				}
			}
			return nil
		})
		if !seen {
			t.Error("the alert does not look at reasons")
		}
	}
}

// dashboard is what the tests read of Grafana's JSON model.
// https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/
type dashboard struct {
	UID        string
	Templating struct {
		List []struct{ Name, Type, Definition string }
	}
	Panels []struct {
		ID                       int
		Type, Title, Description string
		Datasource               struct{ UID string }
		GridPos                  struct{ X, Y, W, H int }
		Targets                  []struct {
			Datasource         struct{ UID string }
			Expr, LegendFormat string
		}
	}
}

var (
	legendLabel = regexp.MustCompile(`\{\{(\w+)\}\}`)
	labelValues = regexp.MustCompile(`^label_values\((.+), (\w+)\)$`)
	variable    = regexp.MustCompile(`\$(\w+)`)
)

func TestDashboard(t *testing.T) {
	t.Parallel()
	var board dashboard
	if err := json.Unmarshal(file(t, "dashboard.json"), &board); err != nil {
		t.Fatal(err)
	}
	known, fixed := exported(), vocabulary(t)
	variables := map[string]bool{"__rate_interval": true} // Grafana's own
	for _, v := range board.Templating.List {
		variables[v.Name] = true
	}
	if !variables["datasource"] {
		t.Error("the data source cannot be chosen")
	}
	used := map[string]bool{}
	check := func(where, expr string) {
		t.Helper()
		for _, m := range variable.FindAllStringSubmatch(expr, -1) {
			if !variables[m[1]] {
				t.Errorf("%s: no variable %s", where, m[1])
			}
		}
		parsed := parse(t, strings.ReplaceAll(expr, "$__rate_interval", "5m"))
		for _, problem := range problems(parsed, known, fixed) {
			t.Errorf("%s: %s: %s", where, expr, problem)
		}
		for _, name := range selectors(parsed) {
			used[name] = true
		}
	}
	for _, v := range board.Templating.List {
		if v.Type != "query" {
			continue
		}
		m := labelValues.FindStringSubmatch(v.Definition)
		if m == nil {
			t.Errorf("variable %s: %q does not ask for a label's values", v.Name, v.Definition)
			continue
		}
		check("variable "+v.Name, fmt.Sprintf("group by (%s) (%s)", m[2], m[1]))
	}
	ids := map[int]bool{}
	for i, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("%s: the id %d is taken", p.Title, p.ID)
		}
		ids[p.ID] = true
		g := p.GridPos
		if g.X+g.W > 24 {
			t.Errorf("%s is wider than the 24 columns", p.Title)
		}
		for _, other := range board.Panels[:i] {
			o := other.GridPos
			if g.X < o.X+o.W && o.X < g.X+g.W && g.Y < o.Y+o.H && o.Y < g.Y+g.H {
				t.Errorf("%s lies on %s", p.Title, other.Title)
			}
		}
		if p.Type == "row" {
			continue
		}
		if p.Description == "" || len(p.Targets) == 0 || p.Datasource.UID != "${datasource}" {
			t.Errorf("%s lacks a description, a query, or the variable as its data source", p.Title)
		}
		for _, target := range p.Targets {
			check(p.Title, target.Expr)
			if target.Datasource.UID != "${datasource}" {
				t.Errorf("%s: a query of its own data source %q", p.Title, target.Datasource.UID)
			}
			for _, m := range legendLabel.FindAllStringSubmatch(target.LegendFormat, -1) {
				if !regexp.MustCompile(`by \([^)]*\b` + m[1] + `\b[^)]*\)`).MatchString(target.Expr) {
					t.Errorf("%s: the legend shows %s, by which the query does not group", p.Title, m[1])
				}
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(known)) {
		base, isCount := strings.CutSuffix(name, "_count")
		if _, isSum := strings.CutSuffix(name, "_sum"); isSum || isCount || name == "up" {
			continue
		}
		if !used[name] {
			t.Errorf("no panel shows %s", base)
		}
	}
}
