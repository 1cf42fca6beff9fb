package app_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/app"
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest/natstest"
)

// TestProviderIsRemoved: what waits for it is dead after the grace time, says why, and can be retried once it is back.
func TestProviderIsRemoved(t *testing.T) {
	t.Parallel()
	t.Run("file", func(t *testing.T) {
		t.Parallel()
		providerIsRemoved(t, "file://"+t.TempDir())
	})
	t.Run("nats", func(t *testing.T) {
		t.Parallel()
		providerIsRemoved(t, natstest.Serve(t).ClientURL())
	})
}

func providerIsRemoved(t *testing.T, queue string) {
	t.Helper()
	var up atomic.Bool
	got := make(chan struct{}, 10)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !up.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		got <- struct{}{}
	}))
	t.Cleanup(s.Close)
	const other = "- {name: other, type: log}\n"
	sink := strings.Replace(genericProvider(s.URL), "}}", "}, retry: {minBackoff: 10ms, maxBackoff: 10ms}}", 1)
	p := start(t, map[string]string{
		"config/c.yaml": native(githubEndpoint("app"), other+sink), "secrets/app.key": key, "secrets/sink/headers": sinkSecret,
	}, func(s *app.Settings) { s.Queue, s.OrphanGrace = queue, 50*time.Millisecond })
	a := p.push(p.hooks(), key, "1")
	p.log.wait(t, 0, "delivery failed, to be retried")

	files(t, p.dir, map[string]string{"config/c.yaml": native(githubEndpoint("app"), other)})
	p.log.wait(t, 0, "deliveries dead: their provider is not configured")
	var dead struct{ Items []bellhop.Delivery }
	p.get("/api/v1/dead", &dead)
	if len(dead.Items) != 1 || dead.Items[0].Event != a.ID || !strings.Contains(dead.Items[0].Error, "add it again and run bellhop dead retry --provider sink") {
		t.Fatalf("dead: %+v", dead.Items)
	}

	up.Store(true)
	before := p.announced("").ConfigHash
	files(t, p.dir, map[string]string{"config/c.yaml": native(githubEndpoint("app"), other+sink)})
	p.announced(before)
	res, err := p.client.Post("http://"+p.addr["admin"]+"/api/v1/dead/retry", "application/json", strings.NewReader(`{"all":true}`))
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	<-got
}
