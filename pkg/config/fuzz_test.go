package config_test

import (
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"

	"github.com/bellhop-dev/bellhop/pkg/config"
)

// FuzzLoad: no configuration, key or Secret makes a load panic, every problem says where it is, and none
// shows a Secret.
func FuzzLoad(f *testing.F) {
	cases, err := filepath.Glob("testdata/check/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range cases {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			if strings.HasSuffix(file.Name, ".yaml") {
				f.Add(file.Data, []byte("hush"))
			}
		}
	}
	f.Add([]byte("fluxRecvVersion: 1\nendpoints: [{source: github, keyPath: app.key}]"), []byte("\n"))
	f.Fuzz(func(t *testing.T, yaml, secret []byte) {
		root := t.TempDir()
		write(t, filepath.Join(root, "bellhop.yaml"), yaml)
		write(t, filepath.Join(root, "secrets", "app.key"), secret)
		for _, key := range []string{"address", "headers", "password", "proxy", "ca.crt", "tls.crt", "tls.key"} {
			write(t, filepath.Join(root, "secrets", "slack", key), append([]byte("a canary of a secret: "), secret...))
		}
		l := config.Loader{Config: filepath.Join(root, "bellhop.yaml"), Secrets: filepath.Join(root, "secrets"), Catalog: catalog}
		s, ps := l.Load()
		if s == nil || s.Hash == "" {
			t.Error("no snapshot")
		}
		for _, p := range ps {
			if p.File == "" || p.Message == "" {
				t.Errorf("a problem without a place or words: %+v", p)
			}
			if strings.Contains(p.Message, "canary") && !strings.Contains(string(yaml), "canary") {
				t.Errorf("a Secret is shown: %v", p)
			}
		}
	})
}
