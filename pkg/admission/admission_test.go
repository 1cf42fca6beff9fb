package admission_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/tools/txtar"

	"github.com/bellhop-dev/bellhop/pkg/admission"
	"github.com/bellhop-dev/bellhop/pkg/catalog"
	"github.com/bellhop-dev/bellhop/pkg/config"
)

var update = flag.Bool("update", false, "rewrite the answers in testdata")

// reviews are a webhook's count, made as the process makes it.
func reviews() *prometheus.CounterVec {
	return prometheus.NewCounterVec(prometheus.CounterOpts{Name: "reviews_total", Help: "Reviews by result."}, []string{"kind", "result"})
}

// write writes the files of a case under prefix below dir.
func write(tb testing.TB, ar *txtar.Archive, dir, prefix string) {
	tb.Helper()
	if err := os.MkdirAll(filepath.Join(dir, prefix), 0o755); err != nil {
		tb.Fatal(err)
	}
	for name, data := range under(ar, prefix) {
		path := filepath.Join(dir, prefix, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			tb.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o600); err != nil {
			tb.Fatal(err)
		}
	}
}

// under are the files of a case below prefix, without it.
func under(ar *txtar.Archive, prefix string) map[string][]byte {
	files := map[string][]byte{}
	for _, f := range ar.Files {
		if name, ok := strings.CutPrefix(f.Name, prefix+"/"); ok {
			files[name] = f.Data
			if prefix == "secrets" {
				files[name] = bytes.TrimSuffix(f.Data, []byte("\n"))
			}
		}
	}
	return files
}

// question is the AdmissionReview of a case: its file "review", in which $object and $old stand for the content of
// the folders object and old, as the kind that the review is of has it.
func question(tb testing.TB, ar *txtar.Archive) []byte {
	tb.Helper()
	var text string
	for _, f := range ar.Files {
		if f.Name == "review" {
			text = string(f.Data)
		}
	}
	data := func(folder string) string {
		values := map[string]any{}
		for name, value := range under(ar, folder) {
			values[name] = string(value)
			if strings.Contains(text, `"kind": "Secret"`) {
				values[name] = bytes.TrimSuffix(value, []byte("\n"))
			}
		}
		b, err := json.Marshal(values)
		if err != nil {
			tb.Fatal(err)
		}
		return string(b)
	}
	return []byte(strings.NewReplacer("$object", data("object"), "$old", data("old")).Replace(text))
}

// cutOff is a warning that was cut, at a place that depends on how long the test's directory is called.
var cutOff = regexp.MustCompile(`(?m)^(warning: .{50}).*…$`)

// Each case of testdata is an AdmissionReview (see question) for a process with the configuration and the secrets of
// the folders config and secrets in the namespace hooks, and the answer, "want". Values of Secrets hold the word hush.
func TestReviews(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	for _, file := range cases {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar"), func(t *testing.T) {
			t.Parallel()
			ar, err := txtar.ParseFile(file)
			if err != nil {
				t.Fatal(err)
			}
			dir := t.TempDir()
			write(t, ar, dir, "config")
			write(t, ar, dir, "secrets")
			var log bytes.Buffer
			h := admission.New(admission.Options{
				Loader: &config.Loader{
					Config: filepath.Join(dir, "config"), Secrets: filepath.Join(dir, "secrets"), Catalog: catalog.All(),
				},
				Namespace: "hooks", Reviews: reviews(), Logger: slog.New(slog.NewTextHandler(&log, nil)),
			})
			got := strings.ReplaceAll(ask(t, h, question(t, ar)), dir, "/etc/bellhop")
			got = cutOff.ReplaceAllString(got, "$1…")
			if strings.Contains(got+log.String(), "hush") {
				t.Errorf("a Secret is shown:\n%s%s", got, &log)
			}
			want := -1
			for i, f := range ar.Files {
				if f.Name == "want" {
					want = i
				}
			}
			switch {
			case *update && want < 0:
				ar.Files = append(ar.Files, txtar.File{Name: "want", Data: []byte(got)})
			case *update:
				ar.Files[want].Data = []byte(got)
			case want < 0 || got != string(ar.Files[want].Data):
				t.Errorf("the answer is\n%s", got)
			}
			if *update {
				if err := os.WriteFile(file, txtar.Format(ar), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		})
	}
}

// ask posts a body and returns the status and the answer, lines apart.
func ask(tb testing.TB, h http.Handler, body []byte) string {
	tb.Helper()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/validate", bytes.NewReader(body)))
	var v struct {
		APIVersion, Kind string
		Response         struct {
			UID     string
			Allowed bool
			Status  struct {
				Code            int
				Reason, Message string
			}
			Warnings []string
		}
	}
	if w.Code != http.StatusOK {
		return fmt.Sprintf("%d\n%s", w.Code, w.Body)
	}
	dec := json.NewDecoder(w.Body)
	dec.DisallowUnknownFields()
	if err := dec.Decode(&v); err != nil {
		tb.Fatalf("the answer is no AdmissionReview: %v", err)
	}
	if v.APIVersion != "admission.k8s.io/v1" || v.Kind != "AdmissionReview" || w.Header().Get("Content-Type") != "application/json" {
		tb.Errorf("the answer is a %s of %s as %s", v.Kind, v.APIVersion, w.Header().Get("Content-Type"))
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d\nuid: %s\nallowed: %v\n", w.Code, v.Response.UID, v.Response.Allowed)
	for _, line := range v.Response.Warnings {
		if n := len([]rune(line)); n > 256 {
			tb.Errorf("a warning of %d characters", n)
		}
		fmt.Fprintf(&b, "warning: %s\n", line)
	}
	if s := v.Response.Status; s.Code != 0 {
		fmt.Fprintf(&b, "%d %s:\n%s\n", s.Code, s.Reason, s.Message)
	}
	return b.String()
}

// bare is a webhook without a configuration.
func bare(tb testing.TB) http.Handler {
	tb.Helper()
	dir := tb.TempDir()
	return admission.New(admission.Options{
		Loader:  &config.Loader{Config: filepath.Join(dir, "config"), Secrets: filepath.Join(dir, "secrets"), Catalog: catalog.All()},
		Reviews: reviews(),
	})
}

func TestWhatIsNoReview(t *testing.T) {
	t.Parallel()
	h := bare(t)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
	if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != http.MethodPost {
		t.Errorf("GET: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
	const limit = 4 << 20
	good := `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","operation":"DELETE"}}`
	for size, want := range map[int]string{limit - 1: "200\n", limit: "200\n", limit + 1: "413\n", 2 * limit: "413\n"} {
		if got := ask(t, h, []byte(good+strings.Repeat(" ", size-len(good)))); !strings.HasPrefix(got, want) {
			t.Errorf("%d bytes: %s", size, got)
		}
	}
}

// However much is wrong, the answer stays one that a terminal and the API can take.
func TestAnswersAreBounded(t *testing.T) {
	t.Parallel()
	h := bare(t)
	got := ask(t, h, about(t, "ConfigMap", "bellhop", map[string]string{
		"bellhop.yaml": "apiVersion: bellhop.dev/v1\nkind: Config\nendpoints:\n" +
			strings.Repeat("- source: "+strings.Repeat("ü", 5000)+"\n  keyPath: app.key\n", 60),
	}))
	if len(got) > 60<<10 || strings.Count(got, "\n") != 3+16+1+50 || !strings.Contains(got, "more: run bellhop check to see all\n") {
		t.Errorf("%d bytes in %d lines:\n%s", len(got), strings.Count(got, "\n"), got)
	}
}

// store is a SecretStore whose Ready tells of each call and waits for a turn; nil channels: it does neither.
type store struct {
	entered, leave chan struct{}
	secrets        map[string]map[string][]byte
}

func (s store) Ready() error {
	if s.entered != nil {
		s.entered <- struct{}{}
		<-s.leave
	}
	return errors.New("the API is away")
}

func (s store) Revision() uint64 { return 1 }

func (s store) Secret(name string) (map[string][]byte, bool) {
	keys, ok := s.secrets[name]
	return keys, ok
}

func (s store) WithKey(key string) []string {
	var names []string
	for name, keys := range s.secrets {
		if _, ok := keys[key]; ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// about is an AdmissionReview of a new object in the namespace hooks.
func about(tb testing.TB, kind, name string, data any) []byte {
	tb.Helper()
	object, err := json.Marshal(map[string]any{
		"metadata": map[string]any{"labels": map[string]string{"bellhop.dev/config": "true"}}, "data": data,
	})
	if err != nil {
		tb.Fatal(err)
	}
	return fmt.Appendf(nil, `{"apiVersion":"admission.k8s.io/v1","kind":"AdmissionReview","request":{"uid":"1","operation":"CREATE",
		"namespace":"hooks","name":%q,"kind":{"group":"","version":"v1","kind":%q},"object":%s}}`, name, kind, object)
}

const endpoints = "apiVersion: bellhop.dev/v1\nkind: Config\nproviders: [{name: log, type: log}]\nendpoints:\n" +
	"- {name: app, source: github, keyPath: app.key}\n- {name: lib, source: github, secretRef: {name: lib}}\n"

// While others are validated a review waits, but no longer than the one who asked, and what is allowed unread does not.
func TestReviewsTakeTurns(t *testing.T) {
	t.Parallel()
	s := store{entered: make(chan struct{}), leave: make(chan struct{})}
	h := admission.New(admission.Options{Loader: &config.Loader{Config: t.TempDir(), Store: s, Catalog: catalog.All()}})
	configMap := about(t, "ConfigMap", "bellhop", map[string]string{"bellhop.yaml": endpoints})
	var first sync.WaitGroup
	for range 2 {
		first.Go(func() {
			if got := ask(t, h, configMap); !strings.Contains(got, "allowed: true") {
				t.Errorf("the first: %s", got)
			}
		})
		<-s.entered
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader(configMap)))
	if w.Code != http.StatusServiceUnavailable {
		t.Errorf("one too many is answered %d", w.Code)
	}
	if got := ask(t, h, about(t, "Pod", "any", nil)); !strings.Contains(got, "allowed: true") {
		t.Errorf("what is no Bellhop's waits: %s", got)
	}
	close(s.leave)
	first.Wait()
}

// Where Secrets come from the API, the objects are validated against those.
func TestStoredSecrets(t *testing.T) {
	t.Parallel()
	const first, second = "hush-the-first-key-of-32-bytes!!", "hush-the-second-key-of-32-bytes!"
	configured := map[string]string{"bellhop.yaml": endpoints}
	for name, tc := range map[string]struct {
		stored map[string]map[string][]byte
		kind   string
		object string
		data   any
		want   []string
	}{
		"both keys late": {nil, "ConfigMap", "bellhop", configured, []string{
			"allowed: true", `no key "app.key" yet: add it`, `create secret generic lib --from-literal=token="$(bellhop keygen)"`}},
		"both keys there": {map[string]map[string][]byte{"keys": {"app.key": []byte(first)}, "lib": {"token": []byte(second)}},
			"ConfigMap", "bellhop", configured, []string{"200\nuid: 1\nallowed: true\n"}},
		"one key completes": {map[string]map[string][]byte{"keys": {"app.key": []byte(first)}},
			"Secret", "lib", map[string][]byte{"token": []byte(second)}, []string{"200\nuid: 1\nallowed: true\n"}},
		"labelled Secret": {nil, "Secret", "keys", map[string][]byte{"app.key": []byte(first)}, []string{"allowed: true", `no Secret "lib" yet`}},
		"empty key":       {nil, "Secret", "keys", map[string][]byte{"app.key": {}}, []string{"allowed: false", `the Secret "keys", key "app.key" is empty`}},
		"same key": {map[string]map[string][]byte{"keys": {"app.key": []byte(first)}},
			"Secret", "lib", map[string][]byte{"token": []byte(first)}, []string{"allowed: false", "is the same as that of"}},
	} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "bellhop.yaml"), []byte(endpoints), 0o600); err != nil {
			t.Fatal(err)
		}
		h := admission.New(admission.Options{
			Loader: &config.Loader{Config: dir, Store: store{secrets: tc.stored}, Catalog: catalog.All()}, Namespace: "hooks",
		})
		got := ask(t, h, about(t, tc.kind, tc.object, tc.data))
		for _, words := range tc.want {
			if !strings.Contains(got, words) || strings.Contains(got, "hush") {
				t.Errorf("%s: want %q and no secret in\n%s", name, words, got)
			}
		}
	}
}

// FuzzReview: whatever is posted, the answer is one, and shows nothing of a Secret.
func FuzzReview(f *testing.F) {
	cases, err := filepath.Glob("testdata/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range cases {
		ar, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(question(f, ar))
	}
	h := bare(f)
	f.Fuzz(func(t *testing.T, body []byte) {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", bytes.NewReader(body)))
		switch w.Code {
		case http.StatusOK, http.StatusBadRequest:
		default:
			t.Errorf("answered %d", w.Code)
		}
		if w.Code == http.StatusOK && !json.Valid(w.Body.Bytes()) {
			t.Errorf("the answer is no JSON: %s", w.Body)
		}
	})
}
