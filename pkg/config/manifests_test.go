package config_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	catalogue "github.com/bellhop-dev/bellhop/pkg/catalog"
	"github.com/bellhop-dev/bellhop/pkg/config"
	"github.com/bellhop-dev/bellhop/pkg/config/flux"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
)

// everything is what the program knows.
var everything = catalogue.All()

func testFiles(t *testing.T, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	return files
}

func caseName(file string) string { return strings.TrimSuffix(filepath.Base(file), ".txtar") }

// TestSeeds: the blocks of the documents that Bellhop was asked for, to the letter, with the Secrets that kubectl
// makes of their commands. They load, or say what has to be filled in.
func TestSeeds(t *testing.T) {
	t.Parallel()
	for _, file := range testFiles(t, "testdata/seeds/*.txtar") {
		if caseName(file) == "generic" {
			continue // TestSeedGeneric
		}
		t.Run(caseName(file), func(t *testing.T) {
			t.Parallel()
			tr := readTree(t, file)
			l := tr.loader()
			l.Catalog = everything
			tr.compare(t, file, tr.report(l.Load()))
		})
	}
}

// TestSeedTypes: the types of providers and the sources that the documents name are there.
func TestSeedTypes(t *testing.T) {
	t.Parallel()
	for name := range strings.FieldsSeq("slack msteams rocket discord googlechat webex sentry azureeventhub github gitlab bitbucket azuredevops generic") {
		if _, ok := everything.Provider(name); !ok {
			t.Errorf("no provider %s", name)
		}
	}
	for name := range strings.FieldsSeq("GitHub GitLab BitbucketCloud DockerHub") {
		if _, ok := everything.Source(name); !ok {
			t.Errorf("no source %s", name)
		}
	}
}

// TestSeedGeneric: a provider of type generic posts what the document shows, when a controller of Flux posts the
// event to an endpoint of source flux.
func TestSeedGeneric(t *testing.T) {
	t.Parallel()
	ar, err := txtar.ParseFile("testdata/seeds/generic.txtar")
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]string{}
	for _, f := range ar.Files {
		files[f.Name] = string(f.Data)
	}
	// As it is printed it is no JSON: commas stand before closing braces.
	printed := regexp.MustCompile(`,(\s*})`).ReplaceAllString(files["body.json"], "$1")

	type request struct {
		method, component, contentType string
		body                           []byte
	}
	got := make(chan request, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		got <- request{r.Method, r.Header.Get("Gotk-Component"), r.Header.Get("Content-Type"), body}
	}))
	defer server.Close()

	root := t.TempDir()
	write(t, filepath.Join(root, "c.yaml"), []byte(`apiVersion: bellhop.dev/v1
kind: Config
endpoints:
- {name: flux, source: flux, keyPath: flux.key}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta1
kind: Provider
metadata: {name: bot, namespace: default}
spec: {type: generic, address: "`+server.URL+`"}
`))
	write(t, filepath.Join(root, "flux.key"), []byte("0123456789abcdef"))
	s, ps := (&config.Loader{Config: filepath.Join(root, "c.yaml"), Catalog: everything}).Load()
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	header := http.Header{"Content-Type": {"application/json"}}
	events, err := s.Endpoints[0].Source.Parse(&bellhop.Request{Header: header, Body: []byte(printed)})
	if err != nil || len(events) != 1 {
		t.Fatalf("%d events, %v", len(events), err)
	}
	events[0].Raw, events[0].Time = []byte(printed), time.Now()
	events[0].Headers = map[string]string{"Content-Type": "application/json"}
	if err := s.Provider("bot").Provider.Send(t.Context(), &events[0]); err != nil {
		t.Fatal(err)
	}
	r := <-got
	for _, line := range []string{r.method + " /", "Content-Type: " + r.contentType, "Gotk-Component: " + r.component} {
		if !strings.Contains(files["request"], line) {
			t.Errorf("%q is not in the request:\n%s", line, files["request"])
		}
	}
	var want, have any
	if err := json.Unmarshal([]byte(printed), &want); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(r.body, &have); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestManifests: each file of testdata/manifests is manifests with their Secrets and what they mean. What
// `bellhop import` makes of them means the same.
func TestManifests(t *testing.T) {
	t.Parallel()
	for _, file := range testFiles(t, "testdata/manifests/*.txtar") {
		t.Run(caseName(file), func(t *testing.T) {
			t.Parallel()
			tr := readTree(t, file)
			l := tr.loader()
			l.Catalog = everything
			pasted, ps := l.Load()
			tr.compare(t, file, tr.report(pasted, ps))
			if ps.Err() != nil {
				return
			}
			l.Config = filepath.Join(tr.root, "imported.yaml")
			write(t, l.Config, tr.imported(t))
			imported, ps := l.Load()
			if ps.Err() != nil {
				t.Fatalf("what import makes does not load: %v", ps)
			}
			if diff := cmp.Diff(meaning(t, pasted), meaning(t, imported)); diff != "" {
				t.Errorf("-pasted +imported:\n%s", diff)
			}
		})
	}
}

// imported is the manifests of the tree as `bellhop import` prints them. Secrets among them are mounted, as it
// tells people to.
func (tr *tree) imported(t *testing.T) []byte {
	t.Helper()
	var set flux.Set
	for _, f := range tr.archive.Files {
		if !strings.HasPrefix(f.Name, "config/") || strings.HasPrefix(string(f.Data), "apiVersion: bellhop.dev/v1\n") {
			continue
		}
		docs, ps := strict.Parse(f.Name, f.Data)
		for _, doc := range docs {
			ps = append(ps, set.Add(f.Name, "", doc)...)
		}
		if ps != nil {
			t.Fatal(ps)
		}
	}
	for _, name := range set.SecretNames() {
		if _, err := os.Stat(filepath.Join(tr.root, "secrets", name)); err == nil {
			continue // mounted already
		}
		for key, value := range set.Secret(name) {
			write(t, filepath.Join(tr.root, "secrets", name, key), value)
		}
	}
	native, _, ps := set.Import(func(name string) map[string][]byte {
		keys := map[string][]byte{}
		for _, key := range []string{"audience", "email"} {
			if value, err := os.ReadFile(filepath.Join(tr.root, "secrets", name, key)); err == nil {
				keys[key] = value
			}
		}
		return keys
	})
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	out, err := native.YAML()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// meaning is all that a snapshot does, but for where it is written.
func meaning(t *testing.T, s *config.Snapshot) map[string]string {
	t.Helper()
	sample := bellhop.Event{
		Title: "t", Message: "m", Severity: bellhop.Error, Branch: "main",
		InvolvedObject: bellhop.ObjectReference{Kind: "Kustomization", Namespace: "apps", Name: "web"},
	}
	all := map[string]string{}
	for _, ep := range s.Endpoints {
		plan := ""
		for _, r := range ep.Plan {
			said, err := json.Marshal(r.Message.Apply(&sample))
			if err != nil {
				t.Fatal(err)
			}
			when := ""
			if r.When != nil {
				when = r.When.String()
			}
			plan += fmt.Sprintf("\n%s from %v when %s to %v says %s", r.Name, r.From, when, r.To, said)
		}
		all["endpoint "+ep.Name] = fmt.Sprintf("%s %s %v %v %s suspended %v%s",
			ep.Kind.Name, ep.Verification, ep.Fingerprints, ep.Events, ep.Window, ep.Suspend, plan)
	}
	for _, p := range s.Providers {
		all["provider "+p.Name] = fmt.Sprintf("%s %s %v %v %v suspended %v", p.Kind.Name, p.Digest, p.Timeout, p.Rate, p.Retry, p.Suspend)
	}
	for _, r := range s.Routes {
		all["route "+r.Name] = fmt.Sprintf("%v %v", r.From, r.To)
	}
	return all
}

// TestManifestURL: a Receiver's URL is the one that Flux makes: the digest of token, name and namespace.
func TestManifestURL(t *testing.T) {
	t.Parallel()
	tr := readTree(t, "testdata/manifests/receiver.txtar")
	l := tr.loader()
	l.Catalog = everything
	s, ps := l.Load()
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	token, err := os.ReadFile(filepath.Join(tr.root, "secrets/webhook-token/token"))
	if err != nil {
		t.Fatal(err)
	}
	if s.Lookup(hexSum(string(token)+"github-receiver"+"flux-system")) == nil {
		t.Error("the URL that Flux makes leads nowhere")
	}
}

// TestNoCluster: without a Kubernetes API a provider that needs one says so, in words.
func TestNoCluster(t *testing.T) {
	t.Parallel()
	tr := readTree(t, "testdata/manifests/receiver.txtar")
	l := tr.loader()
	l.Catalog = everything
	s, ps := l.Load()
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	err := s.Provider("github-receiver-reconcile").Provider.Send(context.Background(), &bellhop.Event{ID: "1", Kind: bellhop.KindGitPush, Time: time.Now()})
	if err == nil || !strings.Contains(err.Error(), "KUBECONFIG") {
		t.Errorf("got %v", err)
	}
}
