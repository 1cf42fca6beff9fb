package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/config"
)

// What an overlay says is read in place of the disk, and nothing else is.
func TestOver(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	first, second := []byte("the first key, of 32 characters!"), []byte("another key, of 32 characters!!!")
	write(t, filepath.Join(root, "config", "bellhop.yaml"), []byte(overConfig("disk", "on.key")))
	write(t, filepath.Join(root, "secrets", "on.key"), first)
	write(t, filepath.Join(root, "secrets", "deep", "on.key"), first)
	write(t, filepath.Join(root, "secrets", "mounted", "token"), first)
	l := &config.Loader{Config: filepath.Join(root, "config"), Secrets: filepath.Join(root, "secrets"), Catalog: catalog}
	files := func(keyPath string) map[string][]byte {
		return map[string][]byte{"b.yaml": []byte(overConfig("over", keyPath)), "beside.key": second, "not.txt": []byte("a: [")}
	}
	for name, tc := range map[string]struct {
		overlay  config.Overlay
		endpoint string
		problem  string // empty: none
		missing  string
	}{
		"nothing":                        {config.Overlay{}, "disk", "", ""},
		"configuration":                  {config.Overlay{Config: files("on.key")}, "over", "", ""},
		"key beside it":                  {config.Overlay{Config: files("beside.key")}, "over", "", ""},
		"key of the working directory":   {config.Overlay{Config: files("overlay_test.go")}, "over", "b.yaml:4:", "overlay_test.go"},
		"directory of secrets on disk":   {config.Overlay{Config: files("deep/on.key")}, "over", "", ""},
		"Secret in place of the mounted": {config.Overlay{Config: files("mounted/token"), Secrets: map[string]map[string][]byte{"mounted": {"other": first}}}, "over", "b.yaml:4:", "mounted/token"},
		"Secret that goes away":          {config.Overlay{Config: files("mounted/token"), Secrets: map[string]map[string][]byte{"mounted": nil}}, "over", "b.yaml:4:", "mounted/token"},
		"Secret that comes":              {config.Overlay{Config: files("new/token"), Secrets: map[string]map[string][]byte{"new": {"token": second}}}, "over", "", ""},
		"key that goes away":             {config.Overlay{Secrets: map[string]map[string][]byte{"": {"on.key": nil}}}, "disk", "config/bellhop.yaml:4:", "on.key"},
		"key that is empty":              {config.Overlay{Secrets: map[string]map[string][]byte{"": {"on.key": {}}}}, "disk", "is empty", ""},
		"key that comes":                 {config.Overlay{Config: files("new.key"), Secrets: map[string]map[string][]byte{"": {"new.key": second}}}, "over", "", ""},
		"key beside others":              {config.Overlay{Secrets: map[string]map[string][]byte{"": {"new.key": second}}}, "disk", "", ""},
		"a directory where a key was":    {config.Overlay{Config: files("new"), Secrets: map[string]map[string][]byte{"new": {"token": second}}}, "over", "is a directory", ""},
	} {
		over := l.Over(tc.overlay)
		s, ps := over.Load()
		fatal := ps.Fatal()
		switch {
		case tc.problem == "" && (len(fatal) > 0 || len(s.Endpoints) != 1 || s.Endpoints[0].Name != tc.endpoint):
			t.Errorf("%s: %d endpoints, %v", name, len(s.Endpoints), ps)
		case tc.problem != "" && (len(fatal) != 1 || !strings.Contains(fatal[0].String(), tc.problem)):
			t.Errorf("%s: want one problem with %q, got %v", name, tc.problem, ps)
		case tc.problem != "" && (fatal[0].MissingKey != tc.missing):
			t.Errorf("%s: missing is %q, want %q", name, fatal[0].MissingKey, tc.missing)
		}
	}
	if s, ps := l.Load(); len(ps.Fatal()) > 0 || len(s.Endpoints) != 1 || s.Endpoints[0].Name != "disk" {
		t.Errorf("the Loader itself changed: %v", ps)
	}
}

func overConfig(name, keyPath string) string {
	return "apiVersion: bellhop.dev/v1\nkind: Config\nendpoints:\n- {name: " + name + ", source: github, keyPath: " + keyPath + "}\n"
}
