package apiserver

import (
	_ "embed" // the definition below
	"fmt"
	"testing"
)

//go:embed gitrepositories.yaml
var gitRepositories string

// DefineGitRepository makes Flux's GitRepository known to the API.
func (s *Server) DefineGitRepository(t *testing.T) {
	t.Helper()
	s.Define(t, gitRepositories, "/apis/source.toolkit.fluxcd.io/v1/gitrepositories")
}

// CreateNamespace makes a namespace.
func (s *Server) CreateNamespace(t *testing.T, name string) {
	t.Helper()
	s.Create(t, "/api/v1/namespaces", "{apiVersion: v1, kind: Namespace, metadata: {name: "+name+"}}")
}

// CreateGitRepository makes a GitRepository that follows a branch, and returns its path. Labels are YAML.
func (s *Server) CreateGitRepository(t *testing.T, namespace, name, url, branch, labels string) string {
	t.Helper()
	collection := "/apis/source.toolkit.fluxcd.io/v1/namespaces/" + namespace + "/gitrepositories"
	s.Create(t, collection, fmt.Sprintf(`
apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: %q, labels: {%s}}
spec: {interval: 1h, url: %q, ref: {branch: %q}}
`, name, labels, url, branch))
	return collection + "/" + name
}

// Grant lets User do what Bellhop asks for: get, list and patch GitRepositories of a namespace. It returns once
// the API server knows, which takes it a moment.
func (s *Server) Grant(t *testing.T, namespace string) {
	t.Helper()
	s.GrantRules(t, namespace, `
- apiGroups: [source.toolkit.fluxcd.io]
  resources: [gitrepositories]
  verbs: [get, list, patch]
`, Access{Verb: "patch", Group: "source.toolkit.fluxcd.io", Resource: "gitrepositories", Namespace: namespace})
}
