// Package bellhoptest holds the conformance suites that every plug-in passes: RunSource and RunProvider.
// They are driven by the plug-in's own testdata/*.txtar and derive the negative cases from them.
package bellhoptest
