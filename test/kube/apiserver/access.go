package apiserver

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

// Access is something to be done to a resource of a namespace; an empty Group is that of Secrets and ConfigMaps. Name
// is that of one object, empty for a permission that no name limits.
type Access struct{ Verb, Group, Resource, Namespace, Name string }

// GrantRules lets User do in a namespace what the rules of a Role say, which are YAML. It returns once the API
// server knows of the last access they give, which takes it a moment.
func (s *Server) GrantRules(t *testing.T, namespace, rules string, last Access) {
	t.Helper()
	rbac := "/apis/rbac.authorization.k8s.io/v1/namespaces/" + namespace
	s.Create(t, rbac+"/roles", `
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: bellhop}
rules:`+rules)
	s.Create(t, rbac+"/rolebindings", `
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: bellhop}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: bellhop}
subjects: [{apiGroup: rbac.authorization.k8s.io, kind: User, name: `+User+`}]
`)
	ctx, cancel := context.WithTimeout(t.Context(), startTimeout)
	defer cancel()
	if err := poll(ctx, func() error {
		allowed, err := s.can(ctx, last)
		if err == nil && !allowed {
			err = fmt.Errorf("not yet: %v", last)
		}
		return err
	}); err != nil {
		t.Fatalf("waiting for the grant: %v", err)
	}
}

// Can reports whether User may do something, as `kubectl auth can-i` does.
func (s *Server) Can(t *testing.T, a Access) bool {
	t.Helper()
	allowed, err := s.can(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	return allowed
}

func (s *Server) can(ctx context.Context, a Access) (bool, error) {
	answer, err := s.Do(ctx, http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", fmt.Appendf(nil, `
apiVersion: authorization.k8s.io/v1
kind: SubjectAccessReview
spec:
  user: %q
  resourceAttributes: {group: %q, resource: %q, verb: %q, namespace: %q, name: %q}
`, User, a.Group, a.Resource, a.Verb, a.Namespace, a.Name))
	if err != nil {
		return false, err
	}
	var review struct {
		Status struct {
			Allowed bool `json:"allowed"`
		} `json:"status"`
	}
	err = json.Unmarshal(answer, &review)
	return review.Status.Allowed, err
}

// Asked is what User asked of the API so far and was answered, each once, in the order of the first time.
func (s *Server) Asked(t *testing.T) []Access {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(s.dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	var asked []Access
	lines := bufio.NewScanner(bytes.NewReader(log))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		// https://kubernetes.io/docs/reference/config-api/apiserver-audit.v1/
		var event struct {
			Verb       string `json:"verb"`
			RequestURI string `json:"requestURI"`
			ObjectRef  *struct {
				APIGroup  string `json:"apiGroup"`
				Resource  string `json:"resource"`
				Namespace string `json:"namespace"`
				Name      string `json:"name"`
			} `json:"objectRef"`
		}
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			t.Fatalf("reading the audit log: %v", err)
		}
		a := Access{Verb: event.Verb, Resource: event.RequestURI} // such as /version
		if o := event.ObjectRef; o != nil {
			a = Access{event.Verb, o.APIGroup, o.Resource, o.Namespace, o.Name}
		}
		if !slices.Contains(asked, a) {
			asked = append(asked, a)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatalf("reading the audit log: %v", err)
	}
	return asked
}
