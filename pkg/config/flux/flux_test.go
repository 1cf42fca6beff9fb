package flux_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/flux"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
)

var update = flag.Bool("update", false, "rewrite what testdata expects")

// read adds the files of an archive but the last, `want`, as a directory of files would be.
func read(ar *txtar.Archive) (*flux.Set, bellhop.Problems) {
	var (
		set flux.Set
		ps  bellhop.Problems
	)
	for _, f := range ar.Files {
		if f.Name == "want" {
			continue
		}
		docs, bad := strict.Parse(f.Name, f.Data)
		ps = append(ps, bad...)
		for _, doc := range docs {
			ps = append(ps, set.Add(f.Name, "", doc)...)
		}
	}
	return &set, ps
}

func notMounted(string) map[string][]byte { return nil }

// around is what the tests' configurations have beside the manifests. The first line of a case's comment may
// say `flux:` and the endpoints of Flux's events.
func around(ar *txtar.Archive, set *flux.Set) flux.Surroundings {
	s := flux.Surroundings{Secret: set.Secret, Providers: map[string]string{"native-chat": "slack", "native-status": "github"}}
	for line := range strings.Lines(string(ar.Comment)) {
		if names, ok := strings.CutPrefix(line, "flux:"); ok {
			s.Endpoints = strings.Fields(names)
		}
	}
	return s
}

// TestTranslate: a file of testdata is manifests, what they are in Bellhop's own dialect, and all that is wrong
// with them.
func TestTranslate(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			set, ps := read(ar)
			native, more := set.Translate(around(ar, set))
			var lines []string
			for _, p := range append(ps, more...) {
				lines = append(lines, p.String())
			}
			got, err := native.YAML(lines...)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(got), "hush") {
				t.Errorf("a Secret is shown:\n%s", got)
			}
			want := &ar.Files[len(ar.Files)-1]
			if want.Name != "want" {
				t.Fatal("the file wants nothing")
			}
			if *update {
				want.Data = got
				if err := os.WriteFile(file, txtar.Format(ar), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want.Data), string(got)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestPath: problems with a translation are told by the manifest's own paths.
func TestPath(t *testing.T) {
	t.Parallel()
	for ours, theirs := range map[string]string{
		"spec.channel":                "spec.channel",
		"spec.name":                   "metadata.name",
		"spec.source":                 "spec.type",
		"spec.sourceless":             "spec.sourceless",
		"spec.to[0]":                  "spec.providerRef.name",
		"spec.objects[2].kind":        "spec.resources[2].kind",
		"spec.filter":                 "spec.resourceFilter",
		"spec.oidc.issuer":            "spec.oidcProviders[0].issuerURL",
		"spec.oidc.rules[3]":          "spec.oidcProviders[0].validations[3].expression",
		"items[3].items[0].spec.name": "items[3].items[0].metadata.name",
		"endpoints[0].name":           "endpoints[0].name",
		"providers[0].spec.name":      "providers[0].spec.name",
		"":                            "",
	} {
		if got := flux.Path(ours); got != theirs {
			t.Errorf("%q: got %q, want %q", ours, got, theirs)
		}
	}
}

// TestImport: there is an endpoint for the Alerts, whose name is free, and steps that make all secrets.
func TestImport(t *testing.T) {
	t.Parallel()
	ar := &txtar.Archive{Files: []txtar.File{{Name: "f", Data: []byte(`apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Provider
metadata: {name: chat, namespace: a}
spec: {type: slack, secretRef: {name: "it's $(id)"}, certSecretRef: {name: tls}}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Alert
metadata: {name: all, namespace: a}
spec: {providerRef: {name: chat}, eventSources: [{kind: Kustomization, name: x}]}
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Receiver
metadata: {name: flux, namespace: b}
spec: {type: github, secretRef: {name: tls}, resources: [{kind: GitRepository, name: x}]}
`)}}}
	set, ps := read(ar)
	native, steps, more := set.Import(notMounted)
	if ps != nil || more != nil {
		t.Fatal(ps, more)
	}
	var own []string
	for _, s := range steps {
		if strings.HasPrefix(s, "copy ") || strings.HasPrefix(s, "bellhop ") {
			own = append(own, s)
		}
	}
	want := []string{"bellhop keygen > secrets/flux-2.key", `copy a 'it'\''s $(id)' 'it'\''s $(id)'`, "copy a tls a-tls", "copy b tls b-tls"}
	if diff := cmp.Diff(want, own); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	var names []string
	for _, item := range native.Endpoints {
		names = append(names, strict.Find(item.Node, "name").Value)
	}
	if diff := cmp.Diff([]string{"flux", "flux-2"}, names); diff != "" {
		t.Errorf("endpoints (-want +got):\n%s", diff)
	}
}

// FuzzTranslate: whatever is pasted, nothing panics, and what comes out can be read again.
func FuzzTranslate(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[0].Data)
		for doc := range strings.SplitSeq(string(ar.Files[0].Data), "---\n") {
			f.Add([]byte(doc)) // small ones are mutated faster
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		ar := &txtar.Archive{Comment: []byte("flux: flux\n"), Files: []txtar.File{{Name: "f", Data: data}}}
		set, _ := read(ar)
		native, _, _ := set.Import(notMounted)
		out, err := native.YAML()
		if err != nil {
			t.Fatal(err)
		}
		if docs, ps := strict.Parse("out", out); ps != nil || len(docs) != 1 {
			t.Errorf("%d documents, problems %v:\n%s", len(docs), ps, out)
		}
	})
}
