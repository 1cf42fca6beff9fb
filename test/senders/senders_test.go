package senders_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

// The programs under test, built by TestMain.
var bellhop, alertmanager string

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) (code int) {
	dir, err := os.MkdirTemp("", "bellhop-senders-test-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	alertmanager = filepath.Join(dir, "alertmanager")
	if err := build(alertmanager, ".", "github.com/prometheus/alertmanager/cmd/alertmanager"); err != nil {
		fmt.Fprintln(os.Stderr, "building Alertmanager:", err)
		return 1
	}
	if bellhop = os.Getenv("BELLHOP"); bellhop == "" {
		bellhop = filepath.Join(dir, "bellhop")
		if err := build(bellhop, "../..", "./cmd/bellhop"); err != nil {
			fmt.Fprintln(os.Stderr, "building Bellhop:", err)
			return 1
		}
	}
	return m.Run()
}

// build builds as `make build` does, so that the compiler's cache serves both.
func build(program, dir, pkg string) error {
	cmd := exec.Command("go", "build", "-trimpath", "-o", program, pkg)
	cmd.Dir = dir
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	return cmd.Run()
}

// event is what the tests ask of an event's JSON.
type event struct {
	ID                  string            `json:"id"`
	Source              string            `json:"source"`
	Type                string            `json:"type"`
	Kind                string            `json:"kind"`
	Severity            string            `json:"severity"`
	Reason              string            `json:"reason"`
	Title               string            `json:"title"`
	Message             string            `json:"message"`
	Link                string            `json:"link"`
	Branch              string            `json:"branch"`
	Commit              string            `json:"commit"`
	InvolvedObject      map[string]string `json:"involvedObject"`
	Metadata            map[string]string `json:"metadata"`
	ReportingController string            `json:"reportingController"`
	ReportingInstance   string            `json:"reportingInstance"`
}

// patience bounds every wait; nothing takes nearly as long.
const patience = time.Minute

// hook is a running program's endpoint.
type hook struct {
	URL    string
	Key    string
	events chan event
}

// newHook starts the program with one endpoint of a source, and a provider that hands its events to the test. The
// extra lines belong to the endpoint.
func newHook(t *testing.T, source, extra string) *hook {
	t.Helper()
	h := &hook{Key: string(rig.NewKeys(1)[0]), events: make(chan event, 100)}
	sink := &rig.Sink{Received: func(body []byte) {
		var posted struct {
			Data event `json:"data"`
		}
		if err := json.Unmarshal(body, &posted); err != nil {
			t.Errorf("reading what was delivered: %v", err)
			return
		}
		h.events <- posted.Data
	}}
	server := httptest.NewServer(sink)
	t.Cleanup(func() {
		server.Close()
		if err := sink.Err(); err != nil {
			t.Error(err)
		}
	})
	dir := t.TempDir()
	write(t, filepath.Join(dir, "secrets", "sender.key"), h.Key)
	write(t, filepath.Join(dir, "config", "bellhop.yaml"), fmt.Sprintf(`apiVersion: bellhop.dev/v1
kind: Config
endpoints:
- name: sender
  source: %s
  keyPath: sender.key
%sproviders:
- name: test
  type: generic
  address: %s
  format: cloudevents
`, source, extra, server.URL))
	daemon, err := rig.StartDaemon(t.Context(), rig.DaemonOptions{Program: bellhop, Dir: dir, Log: t.Output()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := daemon.Stop(); err != nil {
			t.Error(err)
		}
	})
	h.URL = daemon.HookURL([]byte(h.Key))
	return h
}

// next is the next event that was delivered.
func (h *hook) next(t *testing.T) event {
	t.Helper()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	select {
	case e := <-h.events:
		return e
	case <-timeout.C:
		t.Fatal("no event was delivered")
		return event{}
	}
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}
