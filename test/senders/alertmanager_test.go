package senders_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

// TestAlertmanager: an alert fires, is not resolved for so long that a reminder comes, and is resolved. The
// reminder's body is the first one's, and must not be taken for its duplicate.
func TestAlertmanager(t *testing.T) {
	t.Parallel()
	hook := newHook(t, "alertmanager", "  auth: {bearer: true}\n")
	api := startAlertmanager(t, hook)
	alert := map[string]any{
		"labels":       map[string]string{"alertname": "HighLatency", "severity": "critical", "job": "lift"},
		"annotations":  map[string]string{"summary": "The lift is slow"},
		"startsAt":     time.Now().Add(-time.Minute),
		"generatorURL": "http://prometheus.example/graph?g0.expr=slow",
	}
	post(t, api, alert)
	var ids []string
	for _, what := range []string{"the first notification", "the reminder"} {
		e := hook.next(t)
		if e.Source != "alertmanager" || e.Kind != "alert" || e.Type != "firing" || e.Severity != "error" ||
			e.Title != "HighLatency firing: The lift is slow" || e.Link != "http://prometheus.example/graph?g0.expr=slow" || e.Metadata["job"] != "lift" {
			t.Fatalf("%s is %+v", what, e)
		}
		ids = append(ids, e.ID)
	}
	if ids[0] == ids[1] {
		t.Errorf("the reminder is the first notification's delivery again, %s", ids[0])
	}

	alert["endsAt"] = time.Now()
	post(t, api, alert)
	e := hook.next(t)
	for e.Type == "firing" { // more reminders may be on their way
		e = hook.next(t)
	}
	if e.Kind != "alert" || e.Type != "resolved" || e.Severity != "info" || e.Title != "HighLatency resolved: The lift is slow" {
		t.Errorf("the end is %+v", e)
	}
}

// startAlertmanager starts one that notifies the hook at once and reminds it every second or two. It returns the
// base of its API.
func startAlertmanager(t *testing.T, hook *hook) string {
	t.Helper()
	address, err := rig.FreeAddress()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	config := filepath.Join(dir, "alertmanager.yml")
	write(t, filepath.Join(dir, "token"), hook.Key)
	write(t, config, fmt.Sprintf(`route: {receiver: bellhop, group_by: [alertname], group_wait: 0s, group_interval: 1s, repeat_interval: 1s}
receivers:
- name: bellhop
  webhook_configs:
  - url: %s
    send_resolved: true
    http_config:
      authorization: {type: Bearer, credentials_file: token}
`, hook.URL))
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, alertmanager,
		"--config.file="+config, "--storage.path="+filepath.Join(dir, "data"),
		"--web.listen-address="+address, "--cluster.listen-address=", "--log.level=warn")
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = cmd.Wait() // it is killed; that it ended early shows at once in what is asked of it
	}()
	t.Cleanup(func() { cancel(); <-ended })

	ready := time.NewTicker(20 * time.Millisecond)
	defer ready.Stop()
	timeout := time.NewTimer(patience)
	defer timeout.Stop()
	for {
		if status, err := ask(t, http.MethodGet, "http://"+address+"/-/ready", nil); err == nil && status == http.StatusOK {
			return "http://" + address + "/api/v2"
		}
		select {
		case <-ready.C:
		case <-ended:
			t.Fatal("Alertmanager ended before it was ready")
		case <-timeout.C:
			t.Fatal("Alertmanager is not ready")
		}
	}
}

func post(t *testing.T, api string, alerts ...map[string]any) {
	t.Helper()
	body, err := json.Marshal(alerts)
	if err != nil {
		t.Fatal(err)
	}
	if status, err := ask(t, http.MethodPost, api+"/alerts", body); err != nil || status != http.StatusOK {
		t.Fatalf("posting an alert: status %d, %v", status, err)
	}
}

func ask(t *testing.T, method, url string, body []byte) (status int, err error) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	client := http.Client{Timeout: patience}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}
