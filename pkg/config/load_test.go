package config_test

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

var update = flag.Bool("update", false, "rewrite what testdata expects")

// canary is in every Secret of the tests, and in nothing that they print.
const canary = "hush"

// source is a source and a provider that do nothing.
type source struct{}

func (source) Verify(context.Context, *bellhop.Request) error  { return nil }
func (source) Parse(*bellhop.Request) ([]bellhop.Event, error) { return nil, nil }
func (source) Send(context.Context, *bellhop.Event) error      { return nil }

type signerSettings struct {
	AllowSHA1 bool         `yaml:"allowSHA1"`
	Limit     bellhop.Size `yaml:"limit"`
}

type chatSettings struct {
	Channel  string                    `yaml:"channel"`
	Address  string                    `yaml:"address" secret:"address"`
	Username string                    `yaml:"username" secret:"username"`
	Password bellhop.Secret            `secret:"password"`
	Token    bellhop.Secret            `secret:"token"`
	Headers  map[string]bellhop.Secret `secret:"headers"`
}

type fluxSettings struct {
	Address string `yaml:"address" secret:"address"`
}

// catalog has two sources, one that signs and one that cannot, and two providers.
var catalog = bellhop.Catalog{
	Sources: []bellhop.Kind[bellhop.Source]{
		bellhop.Define("github", "signs", signerSettings{Limit: 10}, func(setup bellhop.Setup, s signerSettings) (bellhop.Source, error) {
			if len(setup.Keys) == 0 {
				return nil, errors.New("no keys")
			}
			var ps bellhop.Problems
			if s.Limit == 0 {
				ps = append(ps, bellhop.Wrong("limit", "0 lets nothing in: write a size, such as 10kB"))
			}
			if s.AllowSHA1 {
				ps = append(ps, bellhop.Doubtful("allowSHA1", "SHA-1 is weak"))
			}
			if setup.Lenient {
				ps = append(ps, bellhop.Wrong("", "github is never lenient"))
			}
			if ps != nil {
				return source{}, ps
			}
			return source{}, nil
		}, bellhop.SourceTraits{Verification: bellhop.BySignature, Credentials: []string{"x-hub-signature-256"}}),
		bellhop.Define("dockerhub", "cannot sign", struct{}{}, func(bellhop.Setup, struct{}) (bellhop.Source, error) {
			return source{}, nil
		}, bellhop.SourceTraits{Verification: bellhop.ByPath}, bellhop.Aliases{"docker-hub"}),
		bellhop.Define("bitbucket-cloud", "lenient in flux-recv files", struct{}{}, func(setup bellhop.Setup, _ struct{}) (bellhop.Source, error) {
			if setup.Lenient {
				return source{}, bellhop.Doubtful("source", "lenient")
			}
			return source{}, nil
		}, bellhop.SourceTraits{Verification: bellhop.BySignature, Lenient: true}, bellhop.Aliases{"BitbucketCloud"}),
	},
	Providers: []bellhop.Kind[bellhop.Provider]{
		bellhop.Define("slack", "a chat", chatSettings{}, func(_ bellhop.Setup, s chatSettings) (bellhop.Provider, error) {
			if s.Address == "" {
				return nil, bellhop.Wrong("address", "has no address: put one under the key address of the Secret")
			}
			if _, ok := s.Headers["Bad Name"]; ok {
				return nil, bellhop.Wrong("headers.Bad Name", "is no header's name")
			}
			if s.Channel == "#none" {
				return nil, errors.New("there is no channel none: write another")
			}
			return source{}, nil
		}, bellhop.ProviderTraits{Rate: bellhop.Rate{Events: 1, Per: 1e9}}),
		bellhop.Define("flux", "Flux v1", fluxSettings{}, func(_ bellhop.Setup, s fluxSettings) (bellhop.Provider, error) {
			if !strings.HasPrefix(s.Address, "http") {
				return nil, bellhop.Wrong("address", "%q is no URL: write one such as http://localhost:3030/api/flux", s.Address)
			}
			return source{}, nil
		}),
	},
}

// tree is a case of testdata: files under config and secrets, and what is expected of them. Lines of the
// comment that begin with "bare:" name files that end without a line break, with "config:" the configuration
// if it is not the directory.
type tree struct {
	archive *txtar.Archive
	root    string
	config  string
	want    *txtar.File
}

func readTree(tb testing.TB, file string) *tree {
	tb.Helper()
	ar, err := txtar.ParseFile(file)
	if err != nil {
		tb.Fatal(err)
	}
	tr := &tree{archive: ar, root: tb.TempDir(), config: "config"}
	bare := map[string]bool{}
	for line := range strings.Lines(string(ar.Comment)) {
		if names, ok := strings.CutPrefix(line, "bare:"); ok {
			for n := range strings.FieldsSeq(names) {
				bare[n] = true
			}
		}
		if name, ok := strings.CutPrefix(line, "config:"); ok {
			tr.config = strings.TrimSpace(name)
		}
	}
	for i, f := range ar.Files {
		if f.Name == "want" {
			tr.want = &ar.Files[i]
			continue
		}
		data := f.Data
		if bare[f.Name] {
			data = []byte(strings.TrimSuffix(string(data), "\n"))
		}
		write(tb, filepath.Join(tr.root, f.Name), data)
	}
	return tr
}

func write(tb testing.TB, path string, data []byte) {
	tb.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o777); err != nil {
		tb.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o666); err != nil {
		tb.Fatal(err)
	}
}

func (tr *tree) loader() *config.Loader {
	return &config.Loader{Config: filepath.Join(tr.root, tr.config), Secrets: filepath.Join(tr.root, "secrets"), Catalog: catalog}
}

// report is the problems, and of a configuration that can serve what it means.
func (tr *tree) report(s *config.Snapshot, ps bellhop.Problems) string {
	var b strings.Builder
	if len(ps) > 0 {
		fmt.Fprintln(&b, strings.ReplaceAll(ps.Error(), tr.root+"/", ""))
	}
	if ps.Err() != nil {
		return b.String()
	}
	for _, ep := range s.Endpoints {
		fmt.Fprintf(&b, "endpoint %s: %s by %s", ep.Name, ep.Kind.Name, ep.Verification)
		if n := len(ep.Auth); n > 0 {
			fmt.Fprintf(&b, ", %d checks", n)
		}
		if ep.Credentials != nil {
			fmt.Fprintf(&b, ", credentials %v", ep.Credentials)
		}
		if ep.Events != nil {
			fmt.Fprintf(&b, ", events %v", ep.Events)
		}
		if ep.When != nil {
			fmt.Fprintf(&b, ", when %s", ep.When)
		}
		if ep.MaxBody != 0 || ep.RateLimit.Limited() || ep.Window != config.DefaultWindow {
			fmt.Fprintf(&b, ", body %v, rate %v, window %v", ep.MaxBody, ep.RateLimit, ep.Window)
		}
		if ep.Suspend {
			b.WriteString(", suspended")
		}
		b.WriteByte('\n')
		for _, f := range ep.Fingerprints {
			fmt.Fprintf(&b, "  /hook/%s\n", f)
		}
		for _, r := range ep.Plan {
			name := r.Name
			if name == "" {
				name = "(implied)"
			}
			fmt.Fprintf(&b, "  %s -> %s\n", name, strings.Join(r.To, " "))
		}
	}
	for _, p := range s.Providers {
		fmt.Fprintf(&b, "provider %s: %s, timeout %v, concurrency %d, rate %v, retry %v", p.Name, p.Kind.Name, p.Timeout, p.Concurrency, p.Rate, p.Retry)
		if p.Message != nil {
			b.WriteString(", own words")
		}
		if p.Suspend {
			b.WriteString(", suspended")
		}
		b.WriteByte('\n')
	}
	for _, r := range s.Routes {
		fmt.Fprintf(&b, "route %s\n", r.Name)
	}
	return b.String()
}

// TestCheck: each file of testdata/check is a configuration with its Secrets and every problem that it has,
// or what it means.
func TestCheck(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/check/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no test data: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			tr := readTree(t, file)
			l := tr.loader()
			got := tr.report(l.Load())
			if again := tr.report(l.Load()); again != got {
				t.Errorf("a second load says otherwise:\n%s", cmp.Diff(got, again))
			}
			if strings.Contains(got, canary) {
				t.Errorf("a Secret is shown:\n%s", got)
			}
			tr.compare(t, file, got)
		})
	}
}

// compare holds what was got against what the file wants.
func (tr *tree) compare(t *testing.T, file, got string) {
	t.Helper()
	if tr.want == nil {
		t.Fatal("the file wants nothing")
	}
	if *update {
		tr.want.Data = []byte(got)
		if err := os.WriteFile(file, txtar.Format(tr.archive), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(tr.want.Data), got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func hexSum(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

// TestSeed: the URLs of flux-recv's own example are the digests that sha256sum prints of its key files.
func TestSeed(t *testing.T) {
	t.Parallel()
	tr := readTree(t, "testdata/check/flux-recv-seed.txtar")
	s, ps := tr.loader().Load()
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	for i, key := range []string{"dockerhub_rsa", "github_rsa"} {
		data, err := os.ReadFile(filepath.Join(tr.root, "config", key))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(data)
		if got := s.Endpoints[i].Fingerprints; len(got) != 1 || got[0] != hex.EncodeToString(sum[:]) {
			t.Errorf("%s: fingerprints %q, want %x", key, got, sum)
		}
		if s.Lookup(hex.EncodeToString(sum[:])) != s.Endpoints[i] {
			t.Errorf("%s is not found by its fingerprint", key)
		}
	}
}

// TestDigest: a provider's digest changes with what it is built from and with nothing else.
func TestDigest(t *testing.T) {
	t.Parallel()
	digest := func(yaml, address string) string {
		root := t.TempDir()
		write(t, filepath.Join(root, "c.yaml"), []byte("apiVersion: bellhop.dev/v1\nkind: Config\nproviders:\n"+yaml))
		write(t, filepath.Join(root, "secrets/slack/address"), []byte(address))
		l := config.Loader{Config: filepath.Join(root, "c.yaml"), Secrets: filepath.Join(root, "secrets"), Catalog: catalog}
		s, ps := l.Load()
		if ps.Err() != nil {
			t.Fatal(ps)
		}
		return s.Providers[0].Digest
	}
	const yaml = "- name: team\n  type: slack\n  channel: general\n  secretRef: {name: slack}\n"
	base := digest(yaml, "https://a.example")
	for name, same := range map[string]string{
		"order and style": "- type: \"slack\" # a comment\n  secretRef:\n    name: slack\n  name: team\n  channel: general\n",
		"usage":           yaml + "  timeout: 1s\n  concurrency: 9\n  rateLimit: 3/m\n  retry: {maxAge: 1h}\n  title: hello\n  metadata: {a: b}\n  suspend: true\n",
		"spelling":        "- name: team\n  type: SLACK\n  channel: general\n  secretRef: {name: slack}\n",
	} {
		if digest(same, "https://a.example") != base {
			t.Errorf("%s makes a difference", name)
		}
	}
	for name, other := range map[string]string{
		"setting": strings.Replace(yaml, "general", "random", 1),
		"name":    strings.Replace(yaml, "team", "crew", 1),
		"proxy":   yaml + "  proxy: http://proxy.example:3128\n",
	} {
		if digest(other, "https://a.example") == base {
			t.Errorf("%s: a change goes unnoticed", name)
		}
	}
	if digest(yaml, "https://b.example") == base {
		t.Error("a change of the Secret goes unnoticed")
	}
}

// TestClient: proxy and certificates reach the client factory, certSecretRef before secretRef.
func TestClient(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	write(t, filepath.Join(root, "c.yaml"), []byte(`apiVersion: bellhop.dev/v1
kind: Config
providers:
- {name: a, type: slack, secretRef: {name: one}}
- {name: b, type: slack, proxy: "http://file.example:1", secretRef: {name: one}, certSecretRef: {name: two}}
- {name: c, type: slack, address: "https://x.example", certSecretRef: {name: three}}
- {name: d, type: slack, proxy: "http://file.example:1", secretRef: {name: one}, proxySecretRef: {name: four}}
`))
	for path, data := range map[string]string{
		"one/address": "https://x.example", "one/proxy": "http://u:p@secret.example:2\n", "one/caFile": "ca one",
		"two/ca.crt": "ca two", "two/tls.crt": "cert two", "two/tls.key": "key two",
		"four/address": "socks5://proxy.example:1080\n", "four/username": "u", "four/password": "p@:\n",
		"three/certFile": "cert three", "three/keyFile": "key three",
	} {
		write(t, filepath.Join(root, "secrets", path), []byte(data))
	}
	var got []string
	l := config.Loader{Config: filepath.Join(root, "c.yaml"), Secrets: filepath.Join(root, "secrets"), Catalog: catalog}
	l.Client = func(o httpsend.Options) (*http.Client, error) {
		got = append(got, fmt.Sprintf("%v|%s|%s|%s", o.Proxy, o.CA, o.Cert, o.Key.Reveal()))
		return &http.Client{}, nil
	}
	if _, ps := l.Load(); ps.Err() != nil {
		t.Fatal(ps)
	}
	want := []string{
		"http://u:p@secret.example:2|ca one||",
		"http://u:p@secret.example:2|ca two|cert two|key two",
		"<nil>||cert three|key three",
		"socks5://u:p%40%3A@proxy.example:1080|ca one||",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestHash: the hash is of the content, wherever it lies, and of all of it.
func TestHash(t *testing.T) {
	t.Parallel()
	hash := func(edit map[string]string) string {
		tr := readTree(t, "testdata/check/full.txtar")
		for path, data := range edit {
			write(t, filepath.Join(tr.root, path), []byte(data))
		}
		s, _ := tr.loader().Load()
		return s.Hash
	}
	base := hash(nil)
	if again := hash(nil); again != base {
		t.Errorf("the same content elsewhere has the hash %s, not %s", again, base)
	}
	if other := hash(map[string]string{"config/readme.txt": "x", "secrets/unused/token": "x"}); other != base {
		t.Error("a file that nothing uses changes the hash")
	}
	for _, path := range []string{"config/new.key", "secrets/hub/token", "secrets/slack/address", "config/more.yaml"} {
		if hash(map[string]string{path: "# " + strings.Repeat("z", 40)}) == base {
			t.Errorf("a change of %s does not change the hash", path)
		}
	}
}

// TestSpecialFile: a pipe in the place of a key is refused and not waited for.
func TestSpecialFile(t *testing.T) {
	t.Parallel()
	tr := readTree(t, "testdata/check/key-missing.txtar")
	if err := os.MkdirAll(filepath.Join(tr.root, "secrets/gone"), 0o777); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Mkfifo(filepath.Join(tr.root, "secrets/gone/app.key"), 0o666); err != nil {
		t.Skip(err)
	}
	if _, ps := tr.loader().Load(); len(ps.Fatal()) != 1 || !strings.Contains(ps.Error(), "is no plain file") {
		t.Errorf("problems: %v", ps)
	}
}

// TestLargeFiles: a file beyond its limit is refused, not read.
func TestLargeFiles(t *testing.T) {
	t.Parallel()
	tr := readTree(t, "testdata/check/no-providers.txtar")
	for path, size := range map[string]int64{"secrets/app.key": 1<<20 + 1, "config/z.yaml": 32<<20 + 1} {
		write(t, filepath.Join(tr.root, path), nil)
		if err := os.Truncate(filepath.Join(tr.root, path), size); err != nil {
			t.Fatal(err)
		}
	}
	_, ps := tr.loader().Load()
	want := "config/bellhop.yaml:6:12: endpoints[0].keyPath: reading the key file secrets/app.key: is larger than 1 MiB\n" +
		"config/z.yaml: reading the configuration: is larger than 32 MiB\n"
	if diff := cmp.Diff(want, tr.report(nil, ps)); diff != "" {
		t.Error(diff)
	}
}

// TestWhole: what is good of a broken configuration can be looked at, and what is broken is not in it.
func TestWhole(t *testing.T) {
	t.Parallel()
	tr := readTree(t, "testdata/check/full.txtar")
	write(t, filepath.Join(tr.root, "config/broken.yaml"), []byte("apiVersion: bellhop.dev/v1\nkind: Config\n"+
		"endpoints:\n- {name: broken, source: github, keyPath: gone.key}\nproviders:\n- {name: mute, type: slack}\n"))
	s, ps := tr.loader().Load()
	if len(ps.Fatal()) != 2 {
		t.Errorf("problems: %v", ps)
	}
	if len(s.Endpoints) != 2 || len(s.Providers) != 2 || s.Provider("mute") != nil || s.Provider("team") == nil {
		t.Errorf("%d endpoints, %d providers", len(s.Endpoints), len(s.Providers))
	}
}

// TestPaths: every place where a file was looked for is to be watched, those where there was none as well.
func TestPaths(t *testing.T) {
	t.Parallel()
	tr := readTree(t, "testdata/check/key-missing.txtar")
	l := tr.loader()
	l.Load()
	got := strings.ReplaceAll(strings.Join(l.Paths(), "\n"), tr.root+"/", "")
	want := "config\nsecrets\nconfig/bellhop.yaml\nconfig/gone/app.key\nsecrets/gone/app.key\nsecrets/slack/address"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestAuth: every part of auth must hold.
func TestAuth(t *testing.T) {
	t.Parallel()
	tr := readTree(t, "testdata/check/full.txtar")
	s, ps := tr.loader().Load()
	if ps.Err() != nil {
		t.Fatal(ps)
	}
	hub := s.Endpoints[1]
	good := &bellhop.Request{Header: http.Header{}, Remote: netip.MustParseAddr("10.1.2.3")}
	key := strings.Repeat("t", 40)
	(&http.Request{Header: good.Header}).SetBasicAuth("bellhop", key)
	good.Header.Set("X-Token", key)
	good.TLS = &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{{DNSNames: []string{"hub.example"}}}}}
	passes := func(r *bellhop.Request) bool {
		for _, check := range hub.Auth {
			if err := check(r); err != nil {
				if _, ok := errors.AsType[*bellhop.Rejection](err); !ok {
					t.Errorf("no rejection: %v", err)
				}
				return false
			}
		}
		return true
	}
	if !passes(good) {
		t.Error("a request that carries everything is refused")
	}
	for name, spoil := range map[string]func(r *bellhop.Request){
		"user":        func(r *bellhop.Request) { (&http.Request{Header: r.Header}).SetBasicAuth("other", key) },
		"password":    func(r *bellhop.Request) { (&http.Request{Header: r.Header}).SetBasicAuth("bellhop", "other") },
		"header":      func(r *bellhop.Request) { r.Header.Del("X-Token") },
		"network":     func(r *bellhop.Request) { r.Remote = netip.MustParseAddr("192.0.2.2") },
		"certificate": func(r *bellhop.Request) { r.TLS = nil },
	} {
		bad := *good
		bad.Header = good.Header.Clone()
		spoil(&bad)
		if passes(&bad) {
			t.Errorf("%s: a request without the right one passes", name)
		}
	}
}
