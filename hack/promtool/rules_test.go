package promtool

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"github.com/prometheus/prometheus/promql/promqltest"
	"github.com/prometheus/prometheus/rules"
	yamlv2 "go.yaml.in/yaml/v2"
	"sigs.k8s.io/yaml"
)

// caseFile is what `promtool test rules` reads, as far as alerts need it.
type caseFile struct {
	EvaluationInterval model.Duration `yaml:"evaluation_interval"`
	Tests              []struct {
		Name        string         `yaml:"name"`
		Interval    model.Duration `yaml:"interval"` // of the samples
		InputSeries []struct {
			Series string `yaml:"series"`
			Values string `yaml:"values"`
		} `yaml:"input_series"`
		AlertRuleTest []expectation `yaml:"alert_rule_test"`
	} `yaml:"tests"`
}

// expectation is which alerts of a name fire at a time, and no others of that name.
type expectation struct {
	EvalTime  model.Duration `yaml:"eval_time"`
	Alertname string         `yaml:"alertname"`
	ExpAlerts []struct {
		Labels      map[string]string `yaml:"exp_labels"`
		Annotations map[string]string `yaml:"exp_annotations"`
	} `yaml:"exp_alerts"`
}

// TestAlerts evaluates the default rules. Every alert has a moment when it fires and one when it does not.
func TestAlerts(t *testing.T) {
	t.Parallel()
	rendered := renderRules(t, nil)
	ruleFile := writeRules(t, rendered)
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no testdata/*.yaml: %v", err)
	}
	fires, silent := map[string]bool{}, map[string]bool{}
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var cases caseFile
		if err := yamlv2.UnmarshalStrict(text, &cases); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for _, tc := range cases.Tests {
			var series strings.Builder
			fmt.Fprintf(&series, "load %s\n", tc.Interval)
			for _, s := range tc.InputSeries {
				fmt.Fprintf(&series, "  %s %s\n", s.Series, s.Values)
			}
			for _, want := range tc.AlertRuleTest {
				if len(want.ExpAlerts) > 0 {
					fires[want.Alertname] = true
				} else {
					silent[want.Alertname] = true
				}
			}
			t.Run(strings.TrimSuffix(filepath.Base(name), ".yaml")+"/"+tc.Name, func(t *testing.T) {
				t.Parallel()
				evaluate(t, ruleFile, series.String(), time.Duration(cases.EvaluationInterval), tc.AlertRuleTest)
			})
		}
	}
	for _, rule := range rendered {
		if !fires[rule.Alert] || !silent[rule.Alert] {
			t.Errorf("%s: fires in a case: %t, is silent in one: %t", rule.Alert, fires[rule.Alert], silent[rule.Alert])
		}
		delete(fires, rule.Alert)
		delete(silent, rule.Alert)
	}
	for name := range fires {
		t.Errorf("a case expects %s, which the chart does not have", name)
	}
	for name := range silent {
		t.Errorf("a case expects %s to be silent, which the chart does not have", name)
	}
}

func writeRules(t *testing.T, rendered []monitoringv1.Rule) string {
	t.Helper()
	text, err := yaml.Marshal(map[string]any{"groups": []monitoringv1.RuleGroup{{Name: "bellhop", Rules: rendered}}})
	if err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(t.TempDir(), "rules.yaml")
	if err := os.WriteFile(name, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

// evaluate runs the rules from time zero to the last expectation, as promtool does, and compares.
func evaluate(t *testing.T, ruleFile, series string, every time.Duration, wants []expectation) {
	t.Helper()
	suite, err := promqltest.NewLazyLoader(series, promqltest.LazyLoaderOpts{})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := suite.Close(); err != nil {
			t.Error(err)
		}
	}()
	manager := rules.NewManager(&rules.ManagerOptions{
		QueryFunc:  rules.EngineQueryFunc(suite.QueryEngine(), suite.Storage()),
		Appendable: suite.Storage(),
		Context:    t.Context(),
		NotifyFunc: func(context.Context, string, ...*rules.Alert) {},
		Logger:     slog.New(slog.DiscardHandler),
		Parser:     parser.NewParser(parser.Options{}),
	})
	groups, errs := manager.LoadGroups(every, labels.EmptyLabels(), "", nil, false, ruleFile)
	if len(errs) > 0 {
		t.Fatal(errs)
	}
	var alerting []*rules.AlertingRule
	for _, group := range groups {
		for _, rule := range group.Rules() {
			if rule, ok := rule.(*rules.AlertingRule); ok {
				rule.SetRestored(true)
				alerting = append(alerting, rule)
			}
		}
	}
	slices.SortStableFunc(wants, func(a, b expectation) int { return int(a.EvalTime - b.EvalTime) })
	start := time.Unix(0, 0).UTC()
	for at := time.Duration(0); len(wants) > 0; at += every {
		suite.WithSamplesTill(start.Add(at), func(err error) {
			if err != nil {
				t.Fatal(err)
			}
			for _, group := range groups {
				group.Eval(suite.Context(), start.Add(at))
			}
		})
		for _, rule := range alerting {
			if err := rule.LastError(); err != nil {
				t.Fatalf("%s at %s: %v", rule.Name(), at, err)
			}
		}
		for len(wants) > 0 && time.Duration(wants[0].EvalTime) < at+every {
			compare(t, wants[0], alerting)
			wants = wants[1:]
		}
	}
}

func compare(t *testing.T, want expectation, alerting []*rules.AlertingRule) {
	t.Helper()
	firing := map[string]*rules.Alert{} // by labels
	for _, rule := range alerting {
		if rule.Name() != want.Alertname {
			continue
		}
		for _, alert := range rule.ActiveAlerts() {
			if alert.State == rules.StateFiring {
				firing[alert.Labels.String()] = alert
			}
		}
	}
	for _, exp := range want.ExpAlerts {
		all := maps.Clone(exp.Labels)
		all[labels.AlertName] = want.Alertname
		key := labels.FromMap(all).String()
		alert, ok := firing[key]
		if !ok {
			t.Errorf("%s: %s does not fire; firing: %q", want.EvalTime, key, slices.Sorted(maps.Keys(firing)))
			continue
		}
		delete(firing, key)
		for name, text := range exp.Annotations {
			if got := alert.Annotations.Get(name); got != text {
				t.Errorf("%s: %s: %s\n got %q\nwant %q", want.EvalTime, key, name, got, text)
			}
		}
	}
	for key := range firing {
		t.Errorf("%s: %s fires", want.EvalTime, key)
	}
}

// placeholder is what templates/monitoring-rules.yaml should have replaced.
var placeholder = regexp.MustCompile(`<[a-zA-Z]+>`)

// TestRules holds every alert to what an operator needs of it.
func TestRules(t *testing.T) {
	t.Parallel()
	for _, rule := range renderRules(t, nil) {
		if rule.For == nil || rule.Labels["severity"] == "" || rule.Annotations["summary"] == "" || rule.Annotations["description"] == "" {
			t.Errorf("%s lacks one of for, severity, summary and description", rule.Alert)
		}
		for _, text := range append(slices.Collect(maps.Values(rule.Annotations)), rule.Expr.String()) {
			if left := placeholder.FindString(text); left != "" {
				t.Errorf("%s: %s is not filled in: %s", rule.Alert, left, text)
			}
		}
	}
}

// TestAlertSettings: each alert can be turned off, and each of its settings reaches the rule.
func TestAlertSettings(t *testing.T) {
	t.Parallel()
	var texts map[string]struct{ Alert, Expr string }
	if err := yaml.Unmarshal(file(t, "alerts.yaml"), &texts); err != nil {
		t.Fatal(err)
	}
	monitoring := load(t).Values["monitoring"].(map[string]any)
	alerts := monitoring["prometheusRule"].(map[string]any)["alerts"].(map[string]any)
	if got, want := slices.Sorted(maps.Keys(alerts)), slices.Sorted(maps.Keys(texts)); !slices.Equal(got, want) {
		t.Fatalf("the values know the alerts %q, files/alerts.yaml has %q", got, want)
	}
	for key, settings := range alerts {
		for setting, value := range settings.(map[string]any) {
			var other any
			switch value.(type) {
			case bool:
				other = false
			case string:
				other = "97m"
			default:
				other = 0.125
			}
			at := fmt.Sprintf("%s.%s=%v", key, setting, other)
			all := renderRules(t, map[string]any{key: map[string]any{setting: other}})
			i := slices.IndexFunc(all, func(r monitoringv1.Rule) bool { return r.Alert == texts[key].Alert })
			if setting == "enabled" {
				if i >= 0 || len(all) != len(alerts)-1 {
					t.Errorf("%s: %d alerts left, this one's index is %d", at, len(all), i)
				}
				continue
			}
			if i < 0 {
				t.Errorf("%s: no %s", at, texts[key].Alert)
				continue
			}
			got := all[i].Expr.String()
			switch setting {
			case "for":
				got = string(*all[i].For)
			case "severity":
				got = all[i].Labels["severity"]
			}
			if !strings.Contains(got, fmt.Sprint(other)) {
				t.Errorf("%s does not reach the rule: %s", at, got)
			}
		}
	}
}
