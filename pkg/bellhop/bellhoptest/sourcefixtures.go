package bellhoptest

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// fixture is what stands beside a recorded body.
type fixture struct {
	Headers map[string]string `json:"headers"`
	// Extract is what a reader finds in the body.
	Extract map[string]json.RawMessage `json:"extract"`
	// Secret is given with a signature in Headers that it made.
	Secret string `json:"secret"`
}

// RunFixtures holds a source against deliveries recorded from real senders: the files of the folder that
// BELLHOP_FIXTURES names which match pattern, such as "github/*". It skips where the variable is unset.
// A delivery with a signature must verify with the key that came with it; the others are signed as the kind
// does. Of every delivery all that its reader found must be in the event. The settings are YAML.
func RunFixtures(t *testing.T, kind bellhop.Kind[bellhop.Source], pattern, settings string) {
	t.Helper()
	root := os.Getenv("BELLHOP_FIXTURES")
	if root == "" {
		t.Skip("BELLHOP_FIXTURES is not set")
	}
	paths, err := filepath.Glob(filepath.Join(root, filepath.FromSlash(pattern)+".meta.json"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no fixtures match %s: %v", pattern, err)
	}
	table := []string{fmt.Sprintf("%-55s %-13s %s", "fixture", "kind", "title")}
	right := 0
	for _, path := range paths {
		name := strings.TrimSuffix(filepath.Base(path), ".meta.json")
		ok := t.Run(name, func(t *testing.T) {
			e := runFixture(t, kind, path, settings)
			table = append(table, fmt.Sprintf("%-55s %-13s %s", name, e.Kind, e.Title))
		})
		if ok {
			right++
		}
	}
	t.Logf("%s: %d of %d right\n%s", pattern, right, len(paths), strings.Join(table, "\n"))
}

func runFixture(t *testing.T, kind bellhop.Kind[bellhop.Source], path, settings string) bellhop.Event {
	t.Helper()
	meta, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var f fixture
	if err := json.Unmarshal(meta, &f); err != nil {
		t.Fatal(err)
	}
	body, err := os.ReadFile(strings.TrimSuffix(path, ".meta.json") + ".json")
	if err != nil {
		t.Fatal(err)
	}
	r := &bellhop.Request{Header: http.Header{}, Body: body, Remote: testPeer}
	for name, value := range f.Headers {
		r.Header.Set(name, value)
	}
	key := bellhop.NewSecret(otherWhs)
	if f.Secret != "" {
		key = bellhop.NewSecret([]byte(f.Secret))
	} else {
		signRequest(kind, key, r)
	}
	r.Time = requestTime(t, "", r)
	setup := sourceSetup("fixtures", suiteKey(), key.Reveal())
	setup.Decode = decodeSettings([]byte(settings), nil)
	source, err := build(kind, setup)
	if err != nil {
		t.Fatal(err)
	}
	if err := source.Verify(t.Context(), r); err != nil {
		t.Fatal(err)
	}
	events, err := source.Parse(r)
	if err != nil {
		t.Fatal(err)
	}
	if len(events) == 0 {
		t.Fatal("no events")
	}
	wellFormed(t, events)
	e := events[0]
	for _, k := range slices.Sorted(maps.Keys(f.Extract)) {
		if k == "image_tags" {
			continue // the first is image_tag
		}
		var want string
		if err := json.Unmarshal(f.Extract[k], &want); err != nil {
			t.Fatal(err)
		}
		if got := extracted(kind.Name, &e, k); !found(k, want, got) {
			t.Errorf("%s is %q, want %q", k, got, want)
		}
	}
	return e
}

// extracted is what an event holds under a fixture's word for it.
func extracted(source string, e *bellhop.Event, key string) string {
	switch key {
	case "repo_url_ssh":
		return e.Repo.SSHURL
	case "repo_url_http":
		if source == "bitbucket-cloud" { // its payloads hold the web address only
			return e.Repo.WebURL
		}
		return e.Repo.HTTPURL
	case "ref":
		return e.Ref
	case "branch":
		return e.Branch
	case "tag":
		return e.Tag
	case "commit":
		return e.Commit
	case "actor":
		return e.Actor
	case "image", "registry":
		return e.Image.Name
	case "image_tag":
		return e.Image.Tag
	case "digest":
		return e.Image.Digest
	}
	return "no such field: " + key
}

// found reports whether got is what the fixture wants. An image's name may have its registry in front.
func found(key, want, got string) bool {
	switch key {
	case "image":
		return got == want || strings.HasSuffix(got, "/"+want)
	case "registry":
		return strings.HasPrefix(got, want+"/")
	}
	return got == want
}
