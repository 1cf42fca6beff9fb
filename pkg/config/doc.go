// Package config turns files into a Snapshot: what the user wrote, checked and built as a whole.
//
// Files are read once, strictly and with positions (package strict); each document is in one of the
// dialects (see dialects; package flux reads the manifests of Flux), and all become one model; the model is
// built into endpoints, providers and routes by the kinds of the catalog. Whatever is wrong on the way is
// collected, and nothing has an effect outside: loading is checking. Watch says when it is time to load again.
package config
