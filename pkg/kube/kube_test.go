package kube_test

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/kube"
)

// api is a Kubernetes API that keeps what is asked: discovery of Flux's sources, and what a test adds.
type api struct {
	*httptest.Server
	// answer, if set, comes first; false leaves the request to the rest.
	answer func(w http.ResponseWriter, r *http.Request) bool

	mu    sync.Mutex
	asked []string // "GET /apis/…?…"
}

const sources = `{"kind": "APIResourceList", "groupVersion": "source.toolkit.fluxcd.io/v1", "resources": [
	{"name": "gitrepositories/status", "kind": "GitRepository", "namespaced": true},
	{"name": "gitrepositories", "kind": "GitRepository", "namespaced": true},
	{"name": "clustersources", "kind": "ClusterSource", "namespaced": false}]}`

func newAPI(t *testing.T) *api {
	t.Helper()
	a := &api{}
	a.Server = httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.mu.Lock()
		a.asked = append(a.asked, r.Method+" "+r.URL.RequestURI())
		a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		switch {
		case a.answer != nil && a.answer(w, r):
		case r.URL.Path == "/apis/source.toolkit.fluxcd.io/v1":
			_, _ = io.WriteString(w, sources)
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(a.Close)
	return a
}

func (a *api) requests() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.asked)
}

// kubeconfig writes a file that leads to the API.
func (a *api) kubeconfig(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "kubeconfig")
	a.writeKubeconfig(t, path)
	return path
}

func (a *api) writeKubeconfig(t *testing.T, path string) {
	t.Helper()
	text := fmt.Sprintf(`apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %s}}]
users: [{name: u, user: {token: s3cret-token}}]
contexts: [{name: x, context: {cluster: c, user: u, namespace: apps}}]
current-context: x
`, a.URL, base64.StdEncoding.EncodeToString(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})))
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func (a *api) cluster(t *testing.T) *kube.Cluster {
	t.Helper()
	return kube.New(kube.Options{Kubeconfig: a.kubeconfig(t)})
}

// status answers as the API does when something is wrong.
func status(w http.ResponseWriter, code int, message string) {
	w.WriteHeader(code)
	_ = json.NewEncoder(w).Encode(map[string]any{"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": code, "message": message})
}

var repository = bellhop.ObjectQuery{APIVersion: "source.toolkit.fluxcd.io/v1", Kind: "GitRepository"}

func named(name string) bellhop.ObjectQuery {
	q := repository
	q.Name = name
	return q
}

var web = bellhop.ObjectReference{APIVersion: repository.APIVersion, Kind: repository.Kind, Namespace: "apps", Name: "web"}

func TestNoAPI(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, content := range map[string]string{
		"empty": "", "nothing": "apiVersion: v1\nkind: Config\n", "broken": "a: [", "other": "apiVersion: v1\nkind: ConfigMap\n",
		"no-such-context": "apiVersion: v1\nkind: Config\ncurrent-context: gone\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1'}}]\n",
		"no-such-ca":      "apiVersion: v1\nkind: Config\ncurrent-context: x\nclusters: [{name: c, cluster: {server: 'https://127.0.0.1:1', certificate-authority: /no/such}}]\ncontexts: [{name: x, context: {cluster: c}}]\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"", "missing", "empty", "nothing", "broken", "other", "no-such-context", "no-such-ca"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var o kube.Options
			if name == "" {
				if os.Getenv("KUBERNETES_SERVICE_HOST") != "" {
					t.Skip("this runs in a pod")
				}
			} else {
				o.Kubeconfig = filepath.Join(dir, name)
			}
			c := kube.New(o)
			_, err := c.Objects(t.Context(), repository)
			for _, err := range []error{err, c.Annotate(t.Context(), web, "a", "b")} {
				if err == nil || !strings.HasPrefix(err.Error(), "no Kubernetes API: run with a service account or set KUBECONFIG: ") {
					t.Errorf("%v: says not what to supply", err)
				}
				if bellhop.IsPermanent(err) || bellhop.IsStopping(err) {
					t.Errorf("%v: is not retried", err)
				}
			}
		})
	}
}

// A configuration that is not there yet is found when it is.
func TestAPIAppears(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	path := filepath.Join(t.TempDir(), "kubeconfig")
	c := kube.New(kube.Options{Kubeconfig: path})
	if _, err := c.Objects(t.Context(), repository); err == nil {
		t.Fatal("found objects without an API")
	}
	a.writeKubeconfig(t, path)
	a.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/gitrepositories") {
			return false
		}
		_, _ = io.WriteString(w, `{"kind": "GitRepositoryList", "apiVersion": "source.toolkit.fluxcd.io/v1", "items": []}`)
		return true
	}
	if found, err := c.Objects(t.Context(), repository); err != nil || len(found) != 0 {
		t.Errorf("found %v, %v", found, err)
	}
}

func TestNamespace(t *testing.T) {
	t.Parallel()
	for _, test := range []struct{ own, asked, want string }{
		{"", "", "apps"}, {"bellhop", "", "bellhop"}, {"bellhop", "web", "web"},
	} {
		a := newAPI(t)
		c := kube.New(kube.Options{Kubeconfig: a.kubeconfig(t), Namespace: test.own})
		q := named("web")
		q.Namespace = test.asked
		_, err := c.Objects(t.Context(), q)
		if !errors.Is(err, bellhop.ErrNotFound) {
			t.Fatal(err)
		}
		want := "GET /apis/source.toolkit.fluxcd.io/v1/namespaces/" + test.want + "/gitrepositories/web"
		if got := a.requests(); got[len(got)-1] != want {
			t.Errorf("asked %q, want %s last", got, want)
		}
	}
}

func TestOne(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/gitrepositories/web") {
			return false
		}
		if got := r.Header.Get("Authorization"); got != "Bearer s3cret-token" {
			t.Errorf("Authorization: %s", got)
		}
		if got := r.Header.Get("User-Agent"); got != "bellhop" {
			t.Errorf("User-Agent: %s", got)
		}
		_, _ = io.WriteString(w, `{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository",
			"metadata": {"name": "web", "namespace": "apps", "uid": "u-1", "resourceVersion": "17", "generation": 3}, "spec": {"url": "https://x/y", "ratio": 1.5}}`)
		return true
	}
	found, err := a.cluster(t).Objects(t.Context(), named("web"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	want := web
	want.UID, want.ResourceVersion = "u-1", "17"
	if found[0].ObjectReference != want {
		t.Errorf("found %+v, want %+v", found[0].ObjectReference, want)
	}
	spec, _ := found[0].Content["spec"].(map[string]any)
	metadata, _ := found[0].Content["metadata"].(map[string]any)
	if spec["url"] != "https://x/y" || spec["ratio"] != 1.5 || metadata["generation"] != int64(3) {
		t.Errorf("content %v", found[0].Content)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.answer = func(w http.ResponseWriter, r *http.Request) bool {
		q := r.URL.Query()
		if !strings.HasSuffix(r.URL.Path, "/namespaces/apps/gitrepositories") {
			return false
		}
		if q.Get("labelSelector") != "team=web,tier=front" || q.Get("limit") != "500" {
			t.Errorf("asked with %v", q)
		}
		first, next := 0, `"page-2"`
		if q.Get("continue") == "page-2" {
			first, next = 2, `""`
		}
		_, _ = fmt.Fprintf(w, `{"kind": "GitRepositoryList", "apiVersion": "source.toolkit.fluxcd.io/v1", "metadata": {"continue": %s}, "items": [
			{"metadata": {"name": "r-%d", "namespace": "apps", "resourceVersion": "5"}}, {"metadata": {"name": "r-%d", "namespace": "apps"}}]}`, next, first, first+1)
		return true
	}
	q := repository
	q.Labels = map[string]string{"tier": "front", "team": "web"}
	found, err := a.cluster(t).Objects(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, o := range found {
		names = append(names, o.Kind+" "+o.Namespace+"/"+o.Name)
	}
	want := []string{"GitRepository apps/r-0", "GitRepository apps/r-1", "GitRepository apps/r-2", "GitRepository apps/r-3"}
	if !slices.Equal(names, want) {
		t.Errorf("found %v, want %v", names, want)
	}
	q.Labels = map[string]string{"no label": "x"}
	if _, err := a.cluster(t).Objects(t.Context(), q); !bellhop.IsPermanent(err) {
		t.Errorf("labels that cannot be: %v, want a permanent error", err)
	}
}

func TestAnnotate(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var bodies []string
	a.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if r.Method != http.MethodPatch {
			return false
		}
		if ct := r.Header.Get("Content-Type"); ct != "application/merge-patch+json" || r.URL.RawQuery != "fieldManager=bellhop" {
			t.Errorf("patched with %s and %s", ct, r.URL.RawQuery)
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		bodies = append(bodies, r.URL.Path+" "+string(body))
		_, _ = io.WriteString(w, `{"apiVersion": "source.toolkit.fluxcd.io/v1", "kind": "GitRepository", "metadata": {"name": "web"}}`)
		return true
	}
	c := a.cluster(t)
	conditional := web
	conditional.ResourceVersion = "17"
	global := bellhop.ObjectReference{APIVersion: web.APIVersion, Kind: "ClusterSource", Namespace: "ignored", Name: "all"}
	for _, o := range []bellhop.ObjectReference{web, conditional, global} {
		if err := c.Annotate(t.Context(), o, "example.com/a", `b"`); err != nil {
			t.Fatal(err)
		}
	}
	want := []string{
		`/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/web {"metadata":{"annotations":{"example.com/a":"b\""}}}`,
		`/apis/source.toolkit.fluxcd.io/v1/namespaces/apps/gitrepositories/web {"metadata":{"annotations":{"example.com/a":"b\""},"resourceVersion":"17"}}`,
		`/apis/source.toolkit.fluxcd.io/v1/clustersources/all {"metadata":{"annotations":{"example.com/a":"b\""}}}`,
	}
	if !slices.Equal(bodies, want) {
		t.Errorf("patched\n%s\nwant\n%s", strings.Join(bodies, "\n"), strings.Join(want, "\n"))
	}
	if n := len(a.requests()); n != 4+1 {
		t.Errorf("%d requests for three patches of two kinds, want one of discovery for each kind", n)
	}
}

func TestDiscovery(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	c := a.cluster(t)
	for _, test := range []struct{ apiVersion, kind, want string }{
		{"source.toolkit.fluxcd.io/v1", "GitRepositroy", "the cluster has no kind GitRepositroy in source.toolkit.fluxcd.io/v1: did you mean GitRepository?"},
		{"source.toolkit.fluxcd.io/v1", "Deployment", "the cluster has no kind Deployment in source.toolkit.fluxcd.io/v1"},
		{"source.toolkit.fluxcd.io/v9", "GitRepository", "the cluster does not serve source.toolkit.fluxcd.io/v9: install it, or write the apiVersion that it serves"},
	} {
		_, err := c.Objects(t.Context(), bellhop.ObjectQuery{APIVersion: test.apiVersion, Kind: test.kind, Name: "web"})
		if err == nil || err.Error() != test.want || bellhop.IsPermanent(err) {
			t.Errorf("%s %s: %v, want a plain error: %s", test.apiVersion, test.kind, err, test.want)
		}
	}
	for _, apiVersion := range []string{"", "a/b/c", "/"} {
		if _, err := c.Objects(t.Context(), bellhop.ObjectQuery{APIVersion: apiVersion, Kind: "X"}); !bellhop.IsPermanent(err) {
			t.Errorf("apiVersion %q: %v, want a permanent error", apiVersion, err)
		}
	}
	for _, name := range []string{"../x", "a/b", "."} {
		if _, err := c.Objects(t.Context(), named(name)); err == nil {
			t.Errorf("an object called %q was found", name)
		}
	}
	for _, r := range a.requests() {
		if strings.Contains(r, "..") || strings.Contains(r, "a/b") {
			t.Errorf("asked %s", r)
		}
	}
}

// A kind is looked up once, and again after its resource answered 404.
func TestDiscoveryIsKept(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	gone := false
	a.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if gone || r.Method != http.MethodPatch {
			return false
		}
		_, _ = io.WriteString(w, `{"apiVersion": "v1", "kind": "X"}`)
		return true
	}
	c := a.cluster(t)
	for range 3 {
		if err := c.Annotate(t.Context(), web, "a", "b"); err != nil {
			t.Fatal(err)
		}
	}
	gone = true
	for range 2 {
		if err := c.Annotate(t.Context(), web, "a", "b"); !errors.Is(err, bellhop.ErrNotFound) {
			t.Fatal(err)
		}
	}
	lookups := 0
	for _, r := range a.requests() {
		if r == "GET /apis/source.toolkit.fluxcd.io/v1" {
			lookups++
		}
	}
	if lookups != 2 {
		t.Errorf("looked the kind up %d times, want once, and once more after it was gone", lookups)
	}
}

// Where discovery is closed, names are derived; Flux's are what they are.
func TestDiscoveryClosed(t *testing.T) {
	t.Parallel()
	for kind, want := range map[string]string{
		"ArtifactGenerator": "artifactgenerators", "Bucket": "buckets", "GitRepository": "gitrepositories", "HelmChart": "helmcharts",
		"HelmRelease": "helmreleases", "HelmRepository": "helmrepositories", "ImagePolicy": "imagepolicies",
		"ImageRepository": "imagerepositories", "ImageUpdateAutomation": "imageupdateautomations", "Kustomization": "kustomizations",
		"OCIRepository": "ocirepositories",
	} {
		a := newAPI(t)
		a.answer = func(w http.ResponseWriter, r *http.Request) bool {
			if r.URL.Path == "/apis/example.com/v1" {
				status(w, 403, `forbidden: User "x" cannot get path "/apis/example.com/v1"`)
				return true
			}
			return false
		}
		_, err := a.cluster(t).Objects(t.Context(), bellhop.ObjectQuery{APIVersion: "example.com/v1", Kind: kind, Name: "web"})
		if got := a.requests(); !errors.Is(err, bellhop.ErrNotFound) || got[len(got)-1] != "GET /apis/example.com/v1/namespaces/apps/"+want+"/web" {
			t.Errorf("%s: asked %q, %v; want %s", kind, got, err, want)
		}
	}
}

func TestStatuses(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	var code int
	var retryAfter string
	a.answer = func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/web") {
			return false
		}
		if retryAfter != "" {
			w.Header().Set("Retry-After", retryAfter)
		}
		status(w, code, "gitrepositories \"web\" is\nnot to be had\t"+strconv.Itoa(code))
		return true
	}
	for code = 400; code <= 599; code++ {
		c := a.cluster(t) // each with its own pace
		for _, retryAfter = range []string{"", "7"} {
			want := "permanent"
			switch {
			case code == 404:
				want = "not found"
			case code == 409:
				want = "conflict"
			case code == 429, code == 503 && retryAfter != "":
				want = "paused"
			case code == 401, code == 403, code == 408, code == 410, code == 425, code >= 500:
				want = "plain"
			}
			if retryAfter != "" && code >= 500 && code != 503 {
				continue // client-go waits and asks again
			}
			before := len(a.requests())
			_, err := c.Objects(t.Context(), named("web"))
			for _, err := range []error{err, c.Annotate(t.Context(), web, "a", "b")} {
				if got := class(err); got != want {
					t.Errorf("status %d, Retry-After %q: %s (%v), want %s", code, retryAfter, got, err, want)
				}
				if d, ok := bellhop.RetryDelay(err); ok && retryAfter != "" && d != 7*time.Second {
					t.Errorf("status %d: pauses for %v, want 7s", code, d)
				}
				if err != nil && (strings.ContainsAny(err.Error(), "\n\t") || strings.Contains(err.Error(), "s3cret")) {
					t.Errorf("status %d: no clean line of text: %q", code, err)
				}
				if want == "paused" && strings.Contains(err.Error(), a.URL) {
					t.Errorf("status %d: the URL hides what was being done: %v", code, err)
				}
				if err != nil && !strings.Contains(err.Error(), `not to be had`) {
					t.Errorf("status %d: the API's own words are lost: %v", code, err)
				}
			}
			asked := a.requests()[before:]
			if n := len(slices.DeleteFunc(asked, func(r string) bool { return !strings.Contains(r, "/web") })); n != 2 {
				t.Errorf("status %d: asked %d times for one Objects and one Annotate", code, n)
			}
		}
	}
}

func class(err error) string {
	_, paused := bellhop.RetryDelay(err)
	switch {
	case err == nil:
		return "accepted"
	case bellhop.IsStopping(err):
		return "stopping"
	case bellhop.IsPermanent(err):
		return "permanent"
	case paused:
		return "paused"
	case errors.Is(err, bellhop.ErrNotFound):
		return "not found"
	case errors.Is(err, bellhop.ErrConflict):
		return "conflict"
	}
	return "plain"
}

func TestUnreachable(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	c := a.cluster(t)
	a.Close()
	_, err := c.Objects(t.Context(), named("web"))
	if got := class(err); got != "plain" {
		t.Errorf("%s (%v), want a plain error", got, err)
	}
}

func TestStopping(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	stopped := make(chan struct{})
	a.answer = func(_ http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/web") {
			cancel()
			<-stopped // no answer comes first
			return true
		}
		return false
	}
	c := a.cluster(t)
	_, err := c.Objects(ctx, named("web"))
	close(stopped)
	if class(err) != "stopping" {
		t.Errorf("stopped while reading: %v", err)
	}
	if err := c.Annotate(ctx, web, "a", "b"); class(err) != "stopping" {
		t.Errorf("stopped before annotating: %v", err)
	}
}

// What the API warns of is for the operator's log, once.
func TestWarnings(t *testing.T) {
	t.Parallel()
	a := newAPI(t)
	a.answer = func(w http.ResponseWriter, r *http.Request) bool {
		w.Header().Add("Warning", `299 - "source.toolkit.fluxcd.io/v1 GitRepository is deprecated"`)
		w.Header().Add("Warning", `199 - "miscellaneous"`)
		return false
	}
	var log bytes.Buffer
	c := kube.New(kube.Options{Kubeconfig: a.kubeconfig(t), Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 {
		_ = c.Annotate(t.Context(), web, "a", "b")
	}
	if got := log.String(); strings.Count(got, "is deprecated") != 1 || strings.Contains(got, "miscellaneous") {
		t.Errorf("logged %q, want one warning", got)
	}
}
