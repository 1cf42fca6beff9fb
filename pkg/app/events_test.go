package app

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/admin"
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/kube"
	"github.com/bellhop-dev/bellhop/pkg/notifier"
)

// Problems are told whole or not at all, as many as there is room for, and the rest is counted.
func TestLines(t *testing.T) {
	t.Parallel()
	var problems bellhop.Problems
	for i := range 10 {
		problems = append(problems, bellhop.Problem{File: "c.yaml", Line: i + 1, Message: strings.Repeat("x", 100)})
	}
	all := problems.Error()
	if got := lines(problems, len(all)); got != all {
		t.Errorf("what fits became\n%s", got)
	}
	for limit := 200; limit < len(all); limit++ {
		got := lines(problems, limit)
		if len(got) > limit {
			t.Fatalf("limit %d: %d bytes", limit, len(got))
		}
		told := strings.Split(got, "\n")
		last := len(told) - 1
		if want := fmt.Sprintf("and %d more: see the log", len(problems)-last); told[last] != want {
			t.Fatalf("limit %d: ends with %q, want %q", limit, told[last], want)
		}
		for i, line := range told[:last] {
			if line != problems[i].String() {
				t.Fatalf("limit %d: line %d is %q", limit, i, line)
			}
		}
	}
}

// One that is too long by itself hides neither itself nor that there are others.
func TestLinesTooLong(t *testing.T) {
	t.Parallel()
	problems := bellhop.Problems{{File: "c.yaml", Line: 1, Message: strings.Repeat("é", 600)}, {Message: "two"}, {Message: "three"}}
	for n, last := range map[int]string{1: "…", 3: "…\nand 2 more: see the log"} {
		got := lines(problems[:n], 1024)
		if len(got) > 1024 || !strings.HasPrefix(got, "c.yaml:1:1: éé") || !strings.HasSuffix(got, "é"+last) {
			t.Errorf("%d problems: %d bytes: %s", n, len(got), got)
		}
	}
}

// TestTold is what each turn tells about the ConfigMap.
func TestTold(t *testing.T) {
	t.Parallel()
	got := make(chan string, 10)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet { // the ConfigMap
			http.NotFound(w, r)
			return
		}
		var event struct{ Type, Reason, Note string }
		if err := json.NewDecoder(r.Body).Decode(&event); err != nil {
			t.Error(err)
		}
		got <- event.Type + " " + event.Reason + ": " + event.Note
		_, _ = io.WriteString(w, "{}")
	}))
	t.Cleanup(api.Close)
	file := filepath.Join(t.TempDir(), "kubeconfig")
	text := fmt.Sprintf("{apiVersion: v1, kind: Config, clusters: [{name: x, cluster: {server: %q}}], contexts: [{name: x, context: {cluster: x}}], current-context: x}", api.URL)
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	p := &process{settings: &Settings{ConfigMap: "bellhop"}, logger: slog.New(slog.DiscardHandler)}
	p.tellEvents(kube.New(kube.Options{Kubeconfig: file}))
	t.Cleanup(p.events.Stop)

	at := time.Now()
	good := func(hash string) *admin.ConfigStatus {
		return &admin.ConfigStatus{Hash: hash, Successful: true, Checked: at, Endpoints: 2, Providers: 1}
	}
	broken := func(hash string) *admin.ConfigStatus { return &admin.ConfigStatus{Hash: hash, Checked: at} }
	const reloaded = "Normal ConfigReloaded: configuration %s serves: 2 endpoints, 1 providers"
	for name, turn := range map[string]struct {
		tell func()
		want []string
	}{
		"a start":             {func() { p.tellReloaded(&admin.ConfigStatus{}, good("a")) }, nil},
		"nothing new":         {func() { p.tellReloaded(good("a"), good("a")) }, nil},
		"another":             {func() { p.tellReloaded(good("a"), good("b")) }, []string{fmt.Sprintf(reloaded, "b")}},
		"put back":            {func() { p.tellReloaded(broken("c"), good("c")) }, []string{fmt.Sprintf(reloaded, "c")}},
		"a bad start, mended": {func() { p.tellReloaded(broken(""), good("d")) }, []string{fmt.Sprintf(reloaded, "d")}},
		"broken": {func() {
			p.tellBroken(bellhop.Problems{
				{File: "c.yaml", Line: 1, Message: "wrong"}, {File: "c.yaml", Line: 2, Message: "doubtful", Severity: bellhop.Warning},
				{File: "c.yaml", Line: 3, Message: "no key", MissingKey: "x"}, {File: "c.yaml", Line: 4, Message: "wrong, too"},
			})
		}, []string{"Warning ConfigInvalid: c.yaml:1:1: wrong\nc.yaml:4:1: wrong, too", "Warning KeyMissing: c.yaml:3:1: no key"}},
		"a key is missing": {func() { p.tellBroken(bellhop.Problems{{Message: "no key x", MissingKey: "x"}}) }, []string{"Warning KeyMissing: no key x"}},
		"a provider fails": {func() { p.unready("team", notifier.Condition{Reason: "Paused", Message: "for 1m"}) },
			[]string{"Warning ProviderNotReady: provider team: Paused: for 1m"}},
	} {
		turn.tell()
		p.events.Tell(kube.Event{Reason: "End", Note: name}) // comes after all that the turn told
		for _, want := range append(turn.want, "Normal End: "+name) {
			if told := <-got; told != want {
				t.Fatalf("%s: told\n%s\nwant\n%s", name, told, want)
			}
		}
	}
}
