package strict_test

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
)

var update = flag.Bool("update", false, "rewrite the expected problems in testdata")

// common and own are what an endpoint or a provider is decoded into: the part that all share, and a kind's.
type common struct {
	Name    string        `yaml:"name"`
	Timeout time.Duration `yaml:"timeout"`
	Rate    bellhop.Rate  `yaml:"rateLimit"`
	Retry   struct {
		MaxAge  *time.Duration `yaml:"maxAge"`
		Retries uint8          `yaml:"retries"`
	} `yaml:"retry"`
	SecretRef struct {
		Name string `yaml:"name"`
	} `yaml:"secretRef"`
}

type embedded struct {
	Channel string `yaml:"channel"`
}

type own struct {
	embedded
	Embedded
	Address string                    `yaml:"address" secret:"address"`
	Token   bellhop.Secret            `secret:"token"`
	Pin     bellhop.Secret            `yaml:"pin"`
	Headers map[string]bellhop.Secret `secret:"headers"`
	Labels  map[string]string         `yaml:"labels"`
	Size    bellhop.Size              `yaml:"size" secret:"size"`
	Wait    time.Duration             `secret:"wait"`
	Events  []string                  `yaml:"events"`
	Parts   []part                    `yaml:"parts"`
	Flag    bool                      `yaml:"flag"`
	Share   float64                   `yaml:"share"`
	Level   int8                      `yaml:"level" secret:"level"`
	CA      string                    `secret:"caFile,ca.crt"`
}

type Embedded struct {
	User string `yaml:"username" secret:"username"`
}

type part struct {
	Name  string `yaml:"name"`
	Value string `yaml:"value"`
}

// TestProblems: a file of testdata is a configuration, the keys of its Secret and all that is wrong with it.
func TestProblems(t *testing.T) {
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
			var data []byte
			var want *txtar.File
			secret := map[string][]byte{}
			for i, f := range ar.Files {
				switch key, isSecret := strings.CutPrefix(f.Name, "secret/"); {
				case isSecret:
					secret[key] = f.Data
				case f.Name == "settings.yaml":
					data = f.Data
				case f.Name == "problems":
					want = &ar.Files[i]
				default:
					t.Fatalf("what is %s?", f.Name)
				}
			}
			docs, ps := strict.Parse("settings.yaml", data)
			for _, doc := range docs {
				ps = append(ps, strict.Decode("settings.yaml", "providers[2]", doc, secret, &common{}, &own{})...)
			}
			got := ""
			if len(ps) > 0 {
				got = ps.Error() + "\n"
			}
			if *update {
				want.Data = []byte(got)
				if err := os.WriteFile(file, txtar.Format(ar), 0o666); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(want.Data), got); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestDecode(t *testing.T) {
	t.Parallel()
	docs, ps := strict.Parse("f.yaml", []byte(`
# The first document is empty.
---
defaults: &defaults {channel: general, flag: true}
---
name: 7              # text, as it is written
timeout: 1m30s
rateLimit: 30/m
retry: {maxAge: 24h, retries: 3}
secretRef: {name: slack}
channel: -1001234
address: https://from-the-file.example
pin: "0042"
labels: {app.kubernetes.io/name: bellhop, "1": one}
size: 25MiB
events: [push, &ping ping, *ping]
parts:
- {name: a, value: 1.0}
- <<: &rest {name: b, value: rest}
  value: own
flag: true
share: 1e-1
level: -3
`))
	if ps != nil || len(docs) != 2 {
		t.Fatalf("%d documents, problems: %v", len(docs), ps)
	}
	var c common
	o := own{Share: 1, CA: "kept"}
	ps = strict.Decode("f.yaml", "providers[0]", docs[1], map[string][]byte{
		"address": []byte(" https://from-the-secret.example\n"),
		"token":   []byte("tok\r\n"),
		"headers": []byte("X-Token: abc\nX-Number: 12\n"),
		"wait":    []byte("15s\n"),
		"level":   []byte("5\n"),
		"size":    []byte("\n"),
		"other":   []byte("not asked for"),
	}, &c, &o)
	if ps != nil {
		t.Fatal(ps)
	}
	maxAge := 24 * time.Hour
	if c.Name != "7" || c.Timeout != 90*time.Second || c.Rate.PerSecond() != 0.5 || *c.Retry.MaxAge != maxAge || c.Retry.Retries != 3 || c.SecretRef.Name != "slack" {
		t.Errorf("common: %+v", c)
	}
	if o.Channel != "-1001234" || o.Address != "https://from-the-secret.example" || string(o.Token.Reveal()) != "tok" || string(o.Pin.Reveal()) != "0042" {
		t.Errorf("own: %+v", o)
	}
	if string(o.Headers["X-Token"].Reveal()) != "abc" || string(o.Headers["X-Number"].Reveal()) != "12" || o.Wait != 15*time.Second || o.Level != 5 || o.Size != 25<<20 || o.CA != "kept" {
		t.Errorf("own: %+v", o)
	}
	if diff := cmp.Diff(map[string]string{"app.kubernetes.io/name": "bellhop", "1": "one"}, o.Labels); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"push", "ping", "ping"}, o.Events); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]part{{"a", "1.0"}, {"b", "own"}}, o.Parts); diff != "" {
		t.Error(diff)
	}
}

// TestDecodeNothing: no mapping at all is an empty one, and the Secret still counts.
func TestDecodeNothing(t *testing.T) {
	t.Parallel()
	o := own{Level: 3}
	if ps := strict.Decode("f", "", nil, map[string][]byte{"ca.crt": []byte("pem"), "level": []byte("high")}, &o); len(ps) != 1 || o.CA != "pem" || o.Level != 3 {
		t.Errorf("%+v, problems: %v", o, ps)
	}
}

func TestDecodeKnown(t *testing.T) {
	t.Parallel()
	docs, _ := strict.Parse("f", []byte("name: a\nchannel: general\n"))
	var c common
	if ps := strict.DecodeKnown("f", "", docs[0], nil, &c); ps != nil || c.Name != "a" {
		t.Errorf("%+v, problems: %v", c, ps)
	}
}

func TestLocate(t *testing.T) {
	t.Parallel()
	docs, ps := strict.Parse("f", []byte("address: x\nlabels:\n  app.kubernetes.io/name: y\nparts:\n- name: a\n- name: b\n"))
	if ps != nil {
		t.Fatal(ps)
	}
	for path, want := range map[string]string{
		"":                              "f:1:1: providers[0]: m",
		"address":                       "f:1:10: providers[0].address: m",
		"labels.app.kubernetes.io/name": "f:3:27: providers[0].labels.app.kubernetes.io/name: m",
		"labels.gone":                   "f:3:3: providers[0].labels.gone: m",
		"parts[1].name":                 "f:6:9: providers[0].parts[1].name: m",
		"parts[1].value":                "f:6:3: providers[0].parts[1].value: m",
		"parts[7].value":                "f:5:1: providers[0].parts[7].value: m",
		"parts[x":                       "f:5:1: providers[0].parts[x: m",
		"token":                         "f:1:1: providers[0].token: m",
	} {
		got := strict.Locate("f", "providers[0]", docs[0], bellhop.Problems{{Path: path, Message: "m"}})
		if got.Error() != want {
			t.Errorf("%q: got %s, want %s", path, got, want)
		}
	}
	placed := bellhop.Problems{{File: "g", Line: 3, Col: 4, Path: "p", Message: "m"}}
	if diff := cmp.Diff(placed, strict.Locate("f", "providers[0]", docs[0], placed)); diff != "" {
		t.Error(diff)
	}
}

// FuzzDecode: no file and no Secret makes it panic, and no message shows what the Secret holds.
func FuzzDecode(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, file := range files {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(ar.Files[0].Data, []byte("hush"))
	}
	f.Add([]byte("a: &a [*a]"), []byte("a: [hush"))
	f.Fuzz(func(t *testing.T, data, value []byte) {
		docs, ps := strict.Parse("f", data)
		secret := map[string][]byte{"headers": value, "size": value, "wait": value, "level": value, "token": value}
		for _, doc := range docs {
			ps = append(ps, strict.Decode("f", "p", doc, secret, &common{}, &own{})...)
			ps = strict.Locate("f", "p", doc, append(ps, bellhop.Problem{Path: string(value)}))
		}
		for _, p := range ps {
			if p.File != "f" {
				t.Errorf("a problem without a file: %+v", p)
			}
		}
	})
}
