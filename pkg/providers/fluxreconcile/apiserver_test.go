package fluxreconcile_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/kube"
	"github.com/bellhop-dev/bellhop/pkg/providers/fluxreconcile"
	"github.com/bellhop-dev/bellhop/test/kube/apiserver"
)

const requestedAt = "reconcile.fluxcd.io/requestedAt"

// TestAPIServer runs the provider against a real API server.
func TestAPIServer(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.DefineGitRepository(t)
	const address, other = "https://github.com/o/r.git", "ssh://git@github.com/o/other"

	// setup makes a namespace, and a provider that lives in it.
	setup := func(t *testing.T, name string, granted bool, settings fluxreconcile.Settings) (bellhop.Provider, *kube.Cluster) {
		t.Helper()
		s.CreateNamespace(t, name)
		if granted {
			s.Grant(t, name)
		}
		c := kube.New(kube.Options{Kubeconfig: s.Kubeconfig(t, apiserver.User, name)})
		return newProvider(t, c, settings), c
	}
	send := func(t *testing.T, p bellhop.Provider, at time.Time) {
		t.Helper()
		if err := p.Send(t.Context(), push(at)); err != nil {
			t.Fatal(err)
		}
	}
	expect := func(t *testing.T, path, want string) {
		t.Helper()
		if got := s.Annotations(t, path)[requestedAt]; got != want {
			t.Errorf("%s: requested at %q, want %q", path, got, want)
		}
	}
	stamp := received.Format(time.RFC3339Nano)

	t.Run("by name", func(t *testing.T) {
		t.Parallel()
		p, _ := setup(t, "by-name", true, these("web"))
		web := s.CreateGitRepository(t, "by-name", "web", address, "main", "")
		api := s.CreateGitRepository(t, "by-name", "api", address, "main", "")
		send(t, p, received)
		expect(t, web, stamp)
		expect(t, api, "")
		if owner := annotationOwner(t, s, web); owner != "bellhop" {
			t.Errorf("the annotation belongs to field manager %q, want bellhop", owner)
		}
	})

	t.Run("by labels", func(t *testing.T) {
		t.Parallel()
		settings := these("*")
		settings.Objects[0].Labels = map[string]string{"team": "web"}
		p, _ := setup(t, "by-labels", true, settings)
		web := s.CreateGitRepository(t, "by-labels", "web", address, "main", "team: web, tier: front")
		api := s.CreateGitRepository(t, "by-labels", "api", address, "main", "team: api")
		send(t, p, received)
		expect(t, web, stamp)
		expect(t, api, "")
	})

	t.Run("by address and branch", func(t *testing.T) {
		t.Parallel()
		settings := these("*")
		settings.Match = true
		p, _ := setup(t, "by-address", true, settings)
		web := s.CreateGitRepository(t, "by-address", "web", "ssh://git@github.com/O/r", "main", "")
		release := s.CreateGitRepository(t, "by-address", "release", address, "release", "")
		api := s.CreateGitRepository(t, "by-address", "api", other, "main", "")
		send(t, p, received)
		expect(t, web, stamp)
		expect(t, release, "")
		expect(t, api, "")
	})

	t.Run("by filter", func(t *testing.T) {
		t.Parallel()
		settings := these("*")
		settings.Filter = `object.spec.ref.branch == event.branch && res.metadata.generation == 1`
		p, _ := setup(t, "by-filter", true, settings)
		web := s.CreateGitRepository(t, "by-filter", "web", address, "main", "")
		release := s.CreateGitRepository(t, "by-filter", "release", address, "release", "")
		send(t, p, received)
		expect(t, web, stamp)
		expect(t, release, "")
	})

	t.Run("again", func(t *testing.T) {
		t.Parallel()
		p, _ := setup(t, "again", true, all)
		web := s.CreateGitRepository(t, "again", "web", address, "main", "")
		send(t, p, received)
		version := resourceVersion(t, s, web)
		send(t, p, received)
		send(t, p, received.Add(-time.Second))
		if again := resourceVersion(t, s, web); again != version {
			t.Error("the same event, or an older one, changed the object")
		}
		send(t, p, received.Add(time.Second))
		expect(t, web, received.Add(time.Second).Format(time.RFC3339Nano))
	})

	t.Run("missing", func(t *testing.T) {
		t.Parallel()
		p, _ := setup(t, "missing", true, these("web"))
		err := p.Send(t.Context(), push(received))
		if err == nil || bellhop.IsPermanent(err) || !strings.Contains(err.Error(), `GitRepository web: reading: not found: gitrepositories.source.toolkit.fluxcd.io "web" not found`) {
			t.Errorf("error %v, want a plain one that names the object", err)
		}
		web := s.CreateGitRepository(t, "missing", "web", address, "main", "")
		send(t, p, received)
		expect(t, web, stamp)
	})

	t.Run("denied", func(t *testing.T) {
		t.Parallel()
		p, _ := setup(t, "denied", false, all)
		web := s.CreateGitRepository(t, "denied", "web", address, "main", "")
		err := p.Send(t.Context(), push(received))
		const why = `User "bellhop" cannot list resource "gitrepositories" in API group "source.toolkit.fluxcd.io" in the namespace "denied"`
		if err == nil || bellhop.IsPermanent(err) || !strings.Contains(err.Error(), why) {
			t.Errorf("error %v, want a plain one that says %s", err, why)
		}
		expect(t, web, "")
		s.Grant(t, "denied")
		send(t, p, received)
		expect(t, web, stamp)
	})

	t.Run("changed meanwhile", func(t *testing.T) {
		t.Parallel()
		_, c := setup(t, "changed", true, all)
		web := s.CreateGitRepository(t, "changed", "web", address, "main", "")
		found, err := c.Objects(t.Context(), bellhop.ObjectQuery{APIVersion: "source.toolkit.fluxcd.io/v1", Kind: "GitRepository", Name: "web"})
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		if _, err := s.Do(t.Context(), http.MethodPatch, web+"/status", []byte(`{"status": {"observedGeneration": 1}}`)); err != nil {
			t.Fatal(err)
		}
		ref := found[0].ObjectReference
		if err := c.Annotate(t.Context(), ref, requestedAt, stamp); !errors.Is(err, bellhop.ErrConflict) {
			t.Errorf("annotating what has changed: %v, want a conflict", err)
		}
		expect(t, web, "")
		ref.ResourceVersion = ""
		if err := c.Annotate(t.Context(), ref, requestedAt, stamp); err != nil {
			t.Errorf("annotating whatever it is: %v", err)
		}
		expect(t, web, stamp)
		if err := c.Annotate(t.Context(), ref, "no name", "x"); !bellhop.IsPermanent(err) {
			t.Errorf("an annotation that cannot be: %v, want a permanent error", err)
		}
	})

	t.Run("not served", func(t *testing.T) {
		t.Parallel()
		settings := fluxreconcile.Settings{Objects: []fluxreconcile.Selection{{Kind: "Kustomization", Name: "web"}}}
		p, _ := setup(t, "not-served", true, settings)
		err := p.Send(t.Context(), push(received))
		const why = "the cluster does not serve kustomize.toolkit.fluxcd.io/v1"
		if err == nil || bellhop.IsPermanent(err) || !strings.Contains(err.Error(), why) {
			t.Errorf("error %v, want a plain one that says %s", err, why)
		}
	})

	t.Run("stopping", func(t *testing.T) {
		t.Parallel()
		p, _ := setup(t, "stopping", true, all)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := p.Send(ctx, push(received)); !bellhop.IsStopping(err) {
			t.Errorf("error %v, want one that hands the delivery back", err)
		}
	})
}

// metadata is that of the object at path.
func metadata(t *testing.T, s *apiserver.Server, path string) (m struct {
	ResourceVersion string `json:"resourceVersion"`
	ManagedFields   []struct {
		Manager  string          `json:"manager"`
		FieldsV1 json.RawMessage `json:"fieldsV1"`
	} `json:"managedFields"`
}) {
	t.Helper()
	answer, err := s.Do(t.Context(), http.MethodGet, path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(answer, &struct{ Metadata any }{&m}); err != nil {
		t.Fatal(err)
	}
	return m
}

func resourceVersion(t *testing.T, s *apiserver.Server, path string) string {
	t.Helper()
	return metadata(t, s, path).ResourceVersion
}

func annotationOwner(t *testing.T, s *apiserver.Server, path string) string {
	t.Helper()
	for _, f := range metadata(t, s, path).ManagedFields {
		if strings.Contains(string(f.FieldsV1), requestedAt) {
			return f.Manager
		}
	}
	return ""
}
