// Package kube_test runs the whole program against a real Kubernetes API.
package kube_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/kube/apiserver"
	"github.com/bellhop-dev/bellhop/test/rig"
)

const requestedAt = "reconcile.fluxcd.io/requestedAt"

// patience bounds every wait; what is waited for takes a fraction of a second.
const patience = time.Minute

// TestPush sends a signed GitHub push to `bellhop serve`, which annotates what follows the repository and the
// branch, and nothing else. What it may not do it tells, and does once it may.
func TestPush(t *testing.T) {
	t.Parallel()
	s := apiserver.Start(t)
	s.DefineGitRepository(t)
	s.CreateNamespace(t, "apps")
	s.CreateNamespace(t, "later")
	s.Grant(t, "apps")
	// The pushes are those of package rig: to main of grand-hotel/frontdesk.
	web := s.CreateGitRepository(t, "apps", "web", "ssh://git@github.com/grand-hotel/frontdesk", "main", "")
	release := s.CreateGitRepository(t, "apps", "release", "https://github.com/grand-hotel/frontdesk", "release", "")
	kitchen := s.CreateGitRepository(t, "apps", "kitchen", "https://github.com/grand-hotel/kitchen.git", "main", "")
	later := s.CreateGitRepository(t, "later", "web", "https://github.com/grand-hotel/frontdesk.git", "main", "")

	dir := t.TempDir()
	key := rig.NewKeys(1)[0]
	write(t, filepath.Join(dir, "secrets", "app.key"), key)
	write(t, filepath.Join(dir, "config", "bellhop.yaml"), []byte(`
apiVersion: bellhop.dev/v1
kind: Config
endpoints:
- {name: app, source: github, keyPath: app.key}
providers:
- name: sources
  type: flux-reconcile
  match: true
  objects: [{kind: GitRepository, name: "*"}]
- name: later
  type: flux-reconcile
  objects: [{kind: GitRepository, namespace: later, name: web}]
  retry: {minBackoff: 50ms, maxBackoff: 100ms}
`))
	d, err := rig.StartDaemon(t.Context(), rig.DaemonOptions{
		Program: build(t), Dir: dir, Env: []string{"KUBECONFIG=" + s.Kubeconfig(t, apiserver.User, "apps")}, Log: t.Output(),
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Stop(); err != nil {
			t.Error(err)
		}
	})
	hook, err := rig.NewHook(d.HookURL(key), key, 8<<10, 1)
	if err != nil {
		t.Fatal(err)
	}
	load := rig.Load{Hooks: []*rig.Hook{hook}, Connections: 1, Count: 1, For: patience}
	before := time.Now()
	result, err := load.Run(t.Context())
	if err != nil || result.Acknowledged != 1 {
		t.Fatal(result, err)
	}
	after := time.Now()

	await(t, "the object that follows the branch to be annotated", func() bool { return s.Annotations(t, web)[requestedAt] != "" })
	at, err := time.Parse(time.RFC3339Nano, s.Annotations(t, web)[requestedAt])
	// The event's time may be a millisecond coarser than the test's.
	if err != nil || at.Before(before.Add(-time.Millisecond)) || at.After(after) {
		t.Errorf("requested at %v (%v), want when the push was received, from %v to %v", at, err, before, after)
	}

	const denied = `User "bellhop" cannot get resource "gitrepositories" in API group "source.toolkit.fluxcd.io" in the namespace "later"`
	await(t, "the missing permission to be told", func() bool { return strings.Contains(deliveryError(t, d, "later"), denied) })
	if got := s.Annotations(t, later)[requestedAt]; got != "" {
		t.Errorf("annotated without permission: %s", got)
	}
	s.Grant(t, "later")
	await(t, "the delivery that is permitted now", func() bool { return s.Annotations(t, later)[requestedAt] != "" })
	if first, second := s.Annotations(t, web)[requestedAt], s.Annotations(t, later)[requestedAt]; first != second {
		t.Errorf("one event requested at %s and at %s", first, second)
	}
	for _, path := range []string{release, kitchen} {
		if got := s.Annotations(t, path)[requestedAt]; got != "" {
			t.Errorf("%s was annotated: %s", path, got)
		}
	}
}

// deliveryError is the last error of a provider's delivery, as the admin API tells it.
func deliveryError(t *testing.T, d *rig.Daemon, provider string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+d.Admin+"/api/v1/deliveries", nil)
	if err != nil {
		t.Fatal(err)
	}
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var list struct {
		Items []struct {
			Provider string `json:"provider"`
			Error    string `json:"error"`
		} `json:"items"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&list); err != nil {
		t.Fatal(err)
	}
	for _, item := range list.Items {
		if item.Provider == provider {
			return item.Error
		}
	}
	return ""
}

func await(t *testing.T, what string, done func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for !done() {
		select {
		case <-ctx.Done():
			t.Fatalf("waiting for %s: it did not come", what)
		case <-ticker.C:
		}
	}
}

// write makes or replaces a file in one piece, so that a reload never sees it empty.
func write(t *testing.T, path string, content []byte) {
	t.Helper()
	draft := filepath.Join(t.TempDir(), "draft")
	if err := os.WriteFile(draft, content, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(draft, path); err != nil {
		t.Fatal(err)
	}
}

// build makes the program as `make build` does, so that the compiler's cache serves both.
func build(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "bellhop")
	cmd := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-o", program, "../../cmd/bellhop")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatal(fmt.Errorf("building the program: %w\n%s", err, out))
	}
	return program
}
