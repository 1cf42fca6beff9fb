package apiserver

import (
	"bytes"
	"context"
	_ "embed" // the definition below
	"fmt"
	"net/http"
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
	rbac := "/apis/rbac.authorization.k8s.io/v1/namespaces/" + namespace
	s.Create(t, rbac+"/roles", `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: bellhop}
rules:
- apiGroups: [source.toolkit.fluxcd.io]
  resources: [gitrepositories]
  verbs: [get, list, patch]
`)
	s.Create(t, rbac+"/rolebindings", `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: bellhop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: bellhop}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: `+User+`}]
`)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	review := fmt.Sprintf(`
apiVersion: authorization.k8s.io/v1
kind: SubjectAccessReview
spec:
  user: %s
  resourceAttributes: {group: source.toolkit.fluxcd.io, resource: gitrepositories, verb: patch, namespace: %s}
`, User, namespace)
	if err := poll(ctx, func() error {
		answer, err := s.Do(ctx, http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", []byte(review))
		if err == nil && !bytes.Contains(answer, []byte(`"allowed":true`)) {
			err = fmt.Errorf("not yet: %s", answer)
		}
		return err
	}); err != nil {
		t.Fatalf("waiting for the grant: %v", err)
	}
}
