package queue

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ url, want string }{
		{"", "a scheme is missing"},
		{"/var/lib/bellhop", "a scheme is missing"},
		{"file://", "name a directory"},
		{"file:///", "name a directory"},
		{"file://queue/here", "the directory must be absolute"},
		{"nats://user:hunter2@nats:4222/bellhop", "a path means nothing"},
		{"tls://user:hunter2@nats:0", "is no server"},
		{"redis://user:hunter2@redis", `scheme "redis" is unknown`},
		{"nats://user:hunter2@na ts:4222", "reading the queue's URL"},
		{"\x00", "reading the queue's URL"},
	} {
		_, err := Open(t.Context(), c.url, Options{})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: %v, want an error with %q", c.url, err, c.want)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: the error shows the password: %v", c.url, err)
		}
	}
}

func TestOpenCancelled(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Open(ctx, "file://"+t.TempDir(), Options{}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
}

func TestOpenFile(t *testing.T) {
	t.Parallel()
	q, err := Open(t.Context(), "file://"+filepath.Join(t.TempDir(), "queue"), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if err := q.Healthy(); err != nil {
		t.Error(err)
	}
	if err := q.Close(); err != nil {
		t.Fatal(err)
	}
}
