package config_test

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/config"
)

// store holds Secrets by NAME/KEY; those whose names begin with "l" are labelled.
type store struct {
	secrets  map[string]string
	unready  error
	revision uint64
	// moving changes the revision with every look.
	moving bool
}

func (s *store) Ready() error { return s.unready }

func (s *store) Revision() uint64 {
	if s.moving {
		s.revision++
	}
	return s.revision
}

func (s *store) Secret(name string) (map[string][]byte, bool) {
	keys := map[string][]byte{}
	for path, value := range s.secrets {
		if of, key, _ := strings.Cut(path, "/"); of == name {
			keys[key] = []byte(value)
		}
	}
	return keys, len(keys) > 0
}

func (s *store) WithKey(key string) []string {
	var names []string
	for _, path := range slices.Sorted(maps.Keys(s.secrets)) {
		if name, of, _ := strings.Cut(path, "/"); of == key && strings.HasPrefix(name, "l") {
			names = append(names, name)
		}
	}
	return names
}

const storedKey = canary + "-0123456789abcdef-0123456789abcdef"

// stored is a loader of one file whose Secrets are not files.
func stored(t *testing.T, s *store, text string) *config.Loader {
	t.Helper()
	file := filepath.Join(t.TempDir(), "c.yaml")
	write(t, file, []byte("apiVersion: bellhop.dev/v1\nkind: Config\n"+text))
	return &config.Loader{Config: file, Store: s, Catalog: catalog}
}

// Each case is an endpoint's keyPath or secretRef, or a provider's secretRef, and the problem with it.
func TestStoreProblems(t *testing.T) {
	t.Parallel()
	s := &store{secrets: map[string]string{
		"la/app.key": storedKey, "la/twice": storedKey + "1", "lb/twice": storedKey + "2", "lb/void": "", "lb/short": canary,
		"other/app.key": storedKey + "3", "other/bare": storedKey + "4", "other/token": storedKey + "5",
	}}
	for _, test := range []struct {
		refers, want string
		missing      bool
	}{
		{"keyPath: app.key", "", false},
		{"keyPath: la/app.key", "", false},
		{"keyPath: other/app.key", "", false},
		{"keyPaths: [app.key, other/bare]", "", false},
		{"secretRef: {name: other}", "", false},
		{"secretRef: {name: other, key: bare}", "", false},
		{"keyPath: bare", `no key "bare": looked for FILE/bare and as a key of the Secrets labelled bellhop.dev/config: "true"; add it to one of them`, true},
		{"keyPath: other/none", `no key "other/none": looked for FILE/other/none and as the key "none" of the Secret "other"; add it to the Secret`, true},
		{"keyPath: a/b/c", `no key "a/b/c": looked for FILE/a/b/c and as the key "b/c" of the Secret "a"; add it to the Secret`, true},
		{"keyPath: twice", `reading the key "twice": it is in the Secrets la and lb: write which one, such as la/twice`, false},
		{"keyPath: void", `the key in the Secret "lb", key "void" is empty: make one with: bellhop keygen`, false},
		{"keyPath: ../la/app.key", `"../la/app.key" leads out of the directory: write a path beside this file or under the secrets`, false},
		{"secretRef: {name: gone}", `no Secret "gone" in the namespace; make it with: kubectl create secret generic gone --from-literal=token=…`, true},
		{"secretRef: {name: la}", `the Secret "la" has no key "token": `, true},
	} {
		t.Run(test.refers, func(t *testing.T) {
			t.Parallel()
			l := stored(t, s, "endpoints:\n- {name: a, source: github, "+test.refers+"}\n")
			snapshot, ps := l.Load()
			if strings.Contains(ps.Error(), canary) {
				t.Errorf("a problem holds a key: %v", ps)
			}
			if test.want == "" {
				if ps.Err() != nil || len(snapshot.Endpoints) != 1 {
					t.Error(ps)
				}
				return
			}
			fatal := ps.Fatal()
			if len(fatal) != 1 {
				t.Fatalf("problems\n%v\nwant one: %s", fatal, test.want)
			}
			got := strings.ReplaceAll(fatal[0].Message, filepath.Dir(l.Config), "FILE")
			if !strings.HasPrefix(got, test.want) || (fatal[0].MissingKey != "") != test.missing {
				t.Errorf("problem (missing %v)\n%s\nwant (missing %v)\n%s", fatal[0].MissingKey, got, test.missing, test.want)
			}
		})
	}
}

// A file beside the configuration comes before the Secrets, as it comes before the directory of Secrets.
func TestStoreBesideFile(t *testing.T) {
	t.Parallel()
	s := &store{secrets: map[string]string{"la/app.key": storedKey}}
	l := stored(t, s, "endpoints: [{name: a, source: github, keyPath: app.key}]\n")
	fingerprint := func() string {
		t.Helper()
		snapshot, ps := l.Load()
		if ps.Err() != nil {
			t.Fatal(ps)
		}
		return snapshot.Endpoints[0].Fingerprints[0]
	}
	if got := fingerprint(); got != hexSum(storedKey) {
		t.Errorf("%s is not the Secret's", got)
	}
	file := filepath.Join(filepath.Dir(l.Config), "app.key")
	write(t, file, []byte(storedKey+"-file"))
	if got := fingerprint(); got != hexSum(storedKey+"-file") {
		t.Errorf("%s is not the file's", got)
	}
}

// The hash covers the Secrets that are used, and those only.
func TestStoreHash(t *testing.T) {
	t.Parallel()
	s := &store{secrets: map[string]string{"la/app.key": storedKey, "chat/address": "https://x.example"}}
	l := stored(t, s, "endpoints: [{name: a, source: github, keyPath: app.key}]\nproviders: [{name: p, type: slack, secretRef: {name: chat}}]\n")
	hash := func() string {
		t.Helper()
		snapshot, ps := l.Load()
		if ps.Err() != nil {
			t.Fatal(ps)
		}
		return snapshot.Hash
	}
	before := hash()
	s.secrets["unused/x"] = "y"
	if hash() != before {
		t.Error("a Secret that nothing uses changes the hash")
	}
	for _, path := range []string{"la/app.key", "chat/address"} {
		was := hash()
		s.secrets[path] += "2"
		if hash() == was {
			t.Errorf("the hash does not cover %s", path)
		}
	}
}

// Without Secrets there is one problem, not one for each key, and nothing of it is called missing.
func TestStoreUnready(t *testing.T) {
	t.Parallel()
	s := &store{unready: errors.New("the API is away")}
	l := stored(t, s, "endpoints:\n- {name: a, source: github, keyPath: app.key}\n- {name: b, source: github, secretRef: {name: x}}\n"+
		"providers: [{name: p, type: slack, secretRef: {name: chat}, address: 'https://x.example'}]\n")
	_, ps := l.Load()
	if fatal := ps.Fatal(); len(fatal) != 1 || fatal[0].String() != "the API is away" || fatal[0].MissingKey != "" {
		t.Errorf("problems\n%v\nwant what Ready said", ps)
	}
}

// Secrets that change under every attempt are a problem, not a configuration.
func TestStoreMoving(t *testing.T) {
	t.Parallel()
	s := &store{secrets: map[string]string{"la/app.key": storedKey}, moving: true}
	snapshot, ps := stored(t, s, "endpoints: [{name: a, source: github, keyPath: app.key}]\n").Load()
	if len(snapshot.Endpoints) != 0 || !strings.Contains(ps.Error(), "let them rest") {
		t.Errorf("%d endpoints, problems %v", len(snapshot.Endpoints), ps)
	}
}

// A key and a Secret that are no files yet are marked as missing in a directory, too.
func TestMissingFiles(t *testing.T) {
	t.Parallel()
	l := stored(t, nil, "endpoints:\n- {name: a, source: github, keyPath: app.key}\n- {name: b, source: github, secretRef: {name: x}}\n- {name: c, source: nobody, keyPath: d.key}\n")
	l.Store, l.Secrets = nil, t.TempDir()
	if err := os.WriteFile(filepath.Join(l.Secrets, "d.key"), []byte(storedKey), 0o600); err != nil {
		t.Fatal(err)
	}
	_, ps := l.Load()
	var missing []string
	for _, p := range ps.Fatal() {
		if p.MissingKey != "" {
			missing = append(missing, p.Path)
		}
	}
	if want := []string{"endpoints[0].keyPath", "endpoints[1].secretRef.name"}; !slices.Equal(missing, want) || len(ps.Fatal()) != 3 {
		t.Errorf("missing %q, want %q and one more problem:\n%v", missing, want, ps)
	}
}
