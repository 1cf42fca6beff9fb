// Package promtool tests the chart's alerts and its Grafana dashboard: with Prometheus's own rule engine on series
// that the tests make up, and against the names and labels of what Bellhop exports. It is a module of its own,
// because Prometheus is large, and neither the program nor the other tests of the chart need it.
//
// testdata holds the cases in the format of `promtool test rules`, less the rule_files: the rules are rendered from
// the chart. Of an alert's annotations only those are compared that a case names.
// https://prometheus.io/docs/prometheus/latest/configuration/unit_testing_rules/
package promtool
