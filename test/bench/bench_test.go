package main

import (
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
	"github.com/bellhop-dev/bellhop/test/rig"
)

func TestMedian(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		xs   []float64
		want float64
	}{{nil, 0}, {[]float64{3}, 3}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(tc.xs); got != tc.want {
			t.Errorf("median of %v is %v, want %v", tc.xs, got, tc.want)
		}
	}
}

func TestUnknownPart(t *testing.T) {
	t.Parallel()
	err := (&bench{dir: t.TempDir()}).run(t.Context(), "accept,speed")
	if err == nil || !strings.Contains(err.Error(), "reload") {
		t.Errorf("the message does not list the parts: %v", err)
	}
}

// TestReferenceIsNoStrawMan: the server that Bellhop is held against does the whole work.
func TestReferenceIsNoStrawMan(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "log")
	log, err := queuetest.OpenGroupCommitLog(file)
	if err != nil {
		t.Fatal(err)
	}
	key := []byte("a key")
	server := httptest.NewServer(reference(key, log.Append))
	defer server.Close()

	for _, tc := range []struct {
		key    string
		status int
	}{{"another key", http.StatusUnauthorized}, {"a key", http.StatusAccepted}} {
		hook, err := rig.NewHook(server.URL, []byte(tc.key), pushSize, 2)
		if err != nil {
			t.Fatal(err)
		}
		l := rig.Load{Hooks: []*rig.Hook{hook}, Connections: 4, Count: 100, For: time.Minute}
		result, err := l.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if result.Statuses[tc.status] != 100 {
			t.Errorf("key %q: %v", tc.key, result)
		}
	}
	if err := log.Close(); err != nil {
		t.Error(err)
	}
}
