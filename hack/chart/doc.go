// Package chart checks the Helm chart with Helm's own packages: lint, schema, templates, the manifests'
// types, and that Bellhop accepts the configuration that the chart renders. It is a module of its own, so
// that the program does not depend on Helm.
package chart
