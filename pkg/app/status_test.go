package app_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestStatesOutliveTheProcess: what was set at a git host and what was said to a chat is remembered over a restart;
// two installations set statuses side by side.
func TestStatesOutliveTheProcess(t *testing.T) {
	t.Parallel()
	const fluxKey = "0123456789abcdef-flux"
	set := make(chan string, 100)
	host := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		var status struct{ State, Context string }
		if err := json.Unmarshal(b, &status); err != nil {
			t.Errorf("the host was sent %s: %v", b, err)
		}
		set <- status.State + " " + status.Context
		w.WriteHeader(http.StatusCreated)
		_, _ = io.WriteString(w, `{"id":1,"context":"x"}`)
	}))
	t.Cleanup(host.Close)
	chat := newSink(t)
	content := map[string]string{
		"secrets/flux.key": fluxKey, "secrets/host/token": tokenCanary + "\n",
		"config/c.yaml": native("- {name: cluster, source: flux, keyPath: flux.key}\n",
			fmt.Sprintf("- {name: status, type: github, address: %q, secretRef: {name: host}, rateLimit: 1000/s}\n"+
				"- {name: chat, type: generic, address: %q}\n", host.URL+"/o/r", chat.URL)),
	}
	p := start(t, content)
	first := p.flux(fluxKey, "info", "ReconciliationSucceeded", "applied", 10)
	success := <-set
	<-chat.got
	if !strings.HasPrefix(success, "success kustomization/apps/podinfo/") {
		t.Errorf("set %q", success)
	}
	p.settled(first)
	p.end()
	p.run()
	same := p.flux(fluxKey, "info", "ReconciliationSucceeded", "applied", 20)
	older := p.flux(fluxKey, "error", "HealthCheckFailed", "timed out", 5)
	for provider, want := range map[string]string{"status": "had said the same", "chat": "had said the same"} {
		if note := p.settled(same)[provider]; !strings.Contains(note, want) {
			t.Errorf("the same again to %s: note %q", provider, note)
		}
	}
	if notes := p.settled(older); !strings.Contains(notes["status"], "newer event "+same) || notes["chat"] != "" {
		t.Errorf("an older one: notes %q", notes)
	}
	<-chat.got
	if len(set) != 0 {
		t.Errorf("set %q too", <-set)
	}

	other := start(t, content)
	other.flux(fluxKey, "info", "ReconciliationSucceeded", "applied", 10)
	if got := <-set; got == success || !strings.HasPrefix(got, "success kustomization/apps/podinfo/") {
		t.Errorf("two installations set %q and %q", success, got)
	}
	<-chat.got
}

// flux posts an event of Flux about one commit, that many seconds after noon, and returns its id.
func (p *process) flux(key, severity, reason, message string, second int) string {
	p.t.Helper()
	body := fmt.Sprintf(`{"involvedObject":{"apiVersion":"kustomize.toolkit.fluxcd.io/v1","kind":"Kustomization","namespace":"apps","name":"podinfo","uid":"7d0c"},
		"severity":%q,"timestamp":"2026-01-02T12:00:%02dZ","message":%q,"reason":%q,
		"metadata":{"kustomize.toolkit.fluxcd.io/revision":"main@sha1:%s"},"reportingController":"kustomize-controller"}`,
		severity, second, message, reason, strings.Repeat("ab", 20))
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.hooks()+"/hook/"+fingerprint(key), strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	a, err := p.ask(req)
	if err != nil || a.status != http.StatusAccepted {
		p.t.Fatalf("%v %+v", err, a)
	}
	return a.ID
}

// settled waits until all deliveries of an event are accepted, and returns their notes by provider.
func (p *process) settled(event string) map[string]string {
	p.t.Helper()
	for p.t.Context().Err() == nil {
		var list struct {
			Items []struct{ Provider, State, Note, Error string }
		}
		p.get("/api/v1/deliveries?event="+event, &list)
		notes := map[string]string{}
		for _, d := range list.Items {
			if d.State == "delivered" {
				notes[d.Provider] = d.Note
			}
		}
		if len(notes) == len(list.Items) && len(notes) > 0 {
			return notes
		}
	}
	p.t.Fatal("not all was delivered in time")
	return nil
}
