package promtool

import (
	"path"
	"slices"
	"testing"

	monitoringv1 "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	"helm.sh/helm/v3/pkg/chart"
	"helm.sh/helm/v3/pkg/chart/loader"
	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/engine"
	"sigs.k8s.io/yaml"
)

const (
	release   = "bellhop"
	namespace = "hooks"
)

func load(t *testing.T) *chart.Chart {
	t.Helper()
	c, err := loader.Load("../../chart")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// file is one of the chart's files/.
func file(t *testing.T, name string) []byte {
	t.Helper()
	for _, f := range load(t).Files {
		if f.Name == path.Join("files", name) {
			return f.Data
		}
	}
	t.Fatalf("the chart has no files/%s", name)
	return nil
}

// renderRules renders the PrometheusRule with these values at monitoring.prometheusRule.alerts.
func renderRules(t *testing.T, alerts map[string]any) []monitoringv1.Rule {
	t.Helper()
	rule := map[string]any{"enabled": true}
	if alerts != nil { // a null would be another value than none
		rule["alerts"] = alerts
	}
	values := map[string]any{"monitoring": map[string]any{"prometheusRule": rule}}
	c := load(t)
	vals, err := chartutil.ToRenderValues(c, values, chartutil.ReleaseOptions{Name: release, Namespace: namespace}, chartutil.DefaultCapabilities)
	if err != nil {
		t.Fatal(err)
	}
	// Only the rules: what else the chart renders is not this package's to judge.
	c.Templates = slices.DeleteFunc(c.Templates, func(f *chart.File) bool {
		return path.Ext(f.Name) != ".tpl" && f.Name != "templates/monitoring-rules.yaml"
	})
	manifests, err := engine.Render(c, vals)
	if err != nil {
		t.Fatal(err)
	}
	var made monitoringv1.PrometheusRule
	if err := yaml.UnmarshalStrict([]byte(manifests["bellhop/templates/monitoring-rules.yaml"]), &made); err != nil {
		t.Fatal(err)
	}
	if len(made.Spec.Groups) != 1 {
		t.Fatalf("%d groups of rules, want 1", len(made.Spec.Groups))
	}
	return made.Spec.Groups[0].Rules
}
