package catalog_test

import (
	"bytes"
	"cmp"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/catalog"
	"github.com/bellhop-dev/bellhop/pkg/config"
)

// intercepted says how each provider is configured behind a TLS-intercepting proxy, and how its vendor answers.
var intercepted = map[string]struct {
	settings string
	secret   map[string]string
	event    func() *bellhop.Event    // fluxEvent if nil
	status   int                      // 200 if zero
	answer   func(body []byte) string // nothing if nil
	host     string
}{
	"azuredevops": {
		settings: "address: https://dev.azure.com/org/project/_git/podinfo",
		secret:   map[string]string{"token": "t0ken"}, status: 201, host: "dev.azure.com",
	},
	"bitbucket": {
		settings: "address: https://bitbucket.org/team/podinfo",
		secret:   map[string]string{"token": "user:passw0rd"}, status: 201, host: "api.bitbucket.org",
	},
	"bitbucketserver": {
		settings: "address: https://bitbucket.corp.example/scm/team/podinfo.git",
		secret:   map[string]string{"token": "t0ken"}, status: 204, host: "bitbucket.corp.example",
	},
	"discord": {
		secret: map[string]string{"address": "https://discord.com/api/webhooks/1/t0ken"},
		answer: constant(`{"id":"1"}`), host: "discord.com",
	},
	"flux": {
		settings: "address: https://flux.corp.example/api/flux", event: push, status: 202, host: "flux.corp.example",
	},
	"generic": {
		secret: map[string]string{"address": "https://bot.corp.example/hook"}, host: "bot.corp.example",
	},
	"generic-hmac": {
		settings: "address: https://bot.corp.example/hook", secret: map[string]string{"token": "k3y"}, host: "bot.corp.example",
	},
	"gitea": {
		settings: "address: https://git.corp.example/team/podinfo",
		secret:   map[string]string{"token": "t0ken"}, status: 201, host: "git.corp.example",
	},
	"github": {
		settings: "address: https://github.com/stefanprodan/podinfo",
		secret:   map[string]string{"token": "t0ken"}, status: 201, host: "api.github.com",
	},
	"gitlab": {
		settings: "address: https://gitlab.com/team/podinfo",
		secret:   map[string]string{"token": "t0ken"}, status: 201, host: "gitlab.com",
	},
	"googlechat": {
		secret: map[string]string{"address": "https://chat.googleapis.com/v1/spaces/A/messages?key=k&token=t0ken"}, host: "chat.googleapis.com",
	},
	"msteams": {
		secret: map[string]string{"address": "https://x.westeurope.logic.azure.com/workflows/w?sig=t0ken"}, status: 202, host: "x.westeurope.logic.azure.com",
	},
	"rocket": {
		secret: map[string]string{"address": "https://chat.corp.example/hooks/1/t0ken"},
		answer: constant(`{"success":true}`), host: "chat.corp.example",
	},
	"sentry": {
		secret: map[string]string{"address": "https://public@sentry.corp.example/1"},
		answer: func(body []byte) string {
			first, _, _ := bytes.Cut(body, []byte("\n"))
			var head struct {
				ID string `json:"event_id"`
			}
			_ = json.Unmarshal(first, &head)
			return `{"id":"` + head.ID + `"}`
		},
		host: "sentry.corp.example",
	},
	"slack": {
		secret: map[string]string{"address": "https://hooks.slack.com/services/T/B/t0ken"}, answer: constant("ok"), host: "hooks.slack.com",
	},
	"webex": {
		settings: "channel: room", secret: map[string]string{"token": "t0ken"}, answer: constant(`{"id":"1"}`), host: "webexapis.com",
	},
}

// notIntercepted are the providers that speak no HTTP of their own.
var notIntercepted = map[string]string{
	"azureeventhub":  "AMQP: its own tests go through a proxy, over WebSockets",
	"flux-reconcile": "the Kubernetes API, as its client is configured",
	"log":            "the process's log",
}

func constant(s string) func([]byte) string { return func([]byte) string { return s } }

func fluxEvent() *bellhop.Event {
	return &bellhop.Event{
		ID: "01J0000000000000000000000A", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Endpoint: "cluster", Source: "flux",
		Kind: bellhop.KindFlux, Severity: bellhop.Error, Reason: "HealthCheckFailed", Title: "Kustomization apps/podinfo: health check failed",
		Message: "timeout waiting for: [Deployment/apps/podinfo status: 'InProgress']",
		InvolvedObject: bellhop.ObjectReference{
			APIVersion: "kustomize.toolkit.fluxcd.io/v1", Kind: "Kustomization", Namespace: "apps", Name: "podinfo", UID: "7d0c",
		},
		Metadata:            map[string]string{"kustomize.toolkit.fluxcd.io/revision": "main@sha1:" + strings.Repeat("ab", 20)},
		ReportingController: "kustomize-controller",
	}
}

func push() *bellhop.Event {
	return &bellhop.Event{
		ID: "01J0000000000000000000000B", Time: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Endpoint: "app", Source: "github",
		Kind: bellhop.KindGitPush, Severity: bellhop.Info, Title: "alice pushed to main", Branch: "main", Ref: "refs/heads/main",
		Repo: bellhop.Repo{Name: "stefanprodan/podinfo", SSHURL: "git@github.com:stefanprodan/podinfo.git"},
	}
}

// TestBehindAnInterceptingProxy: every provider, configured as a user does it, reaches its vendor through a proxy
// that ends TLS with certificates of a private authority, wants a password and a client certificate; and none does
// without that authority.
func TestBehindAnInterceptingProxy(t *testing.T) {
	t.Parallel()
	for _, kind := range catalog.Providers {
		row, ok := intercepted[kind.Name]
		if !ok {
			if notIntercepted[kind.Name] == "" {
				t.Errorf("%s: not in the table", kind.Name)
			}
			continue
		}
		t.Run(kind.Name, func(t *testing.T) {
			t.Parallel()
			if row.event == nil {
				row.event = fluxEvent
			}
			proxy := bellhoptest.NewProxy(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				body, err := io.ReadAll(r.Body)
				if err != nil {
					t.Error(err)
				}
				w.WriteHeader(cmp.Or(row.status, http.StatusOK))
				if row.answer != nil {
					_, _ = io.WriteString(w, row.answer(body))
				}
			}))
			for _, trusted := range []bool{true, false} {
				p := behind(t, kind.Name, row.settings, row.secret, proxy, trusted)
				err := p.Provider.Send(t.Context(), row.event())
				p.Close()
				hosts := proxy.Hosts()
				switch {
				case !trusted && (err == nil || len(hosts) != 0 || bellhop.IsPermanent(err)):
					t.Errorf("sent without the authority: %v, the proxy saw %q", err, hosts)
				case trusted && (err != nil || len(hosts) == 0 || hosts[len(hosts)-1] != row.host):
					t.Errorf("sent: %v, the proxy saw %q", err, hosts)
				case err != nil:
					for _, secret := range append(slices.Collect(maps.Values(row.secret)), "p@ss") {
						if strings.Contains(err.Error(), secret) {
							t.Errorf("the error shows a secret: %v", err)
						}
					}
				}
			}
		})
	}
}

// behind loads a provider as a user configures it behind the proxy.
func behind(t *testing.T, kind, settings string, secret map[string]string, p *bellhoptest.Proxy, trusted bool) *config.Provider {
	t.Helper()
	dir := t.TempDir()
	write := func(path, content string) {
		path = filepath.Join(dir, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	file := "apiVersion: bellhop.dev/v1\nkind: Config\nproviders:\n- name: p\n  type: " + kind + "\n  secretRef: {name: vendor}\n  certSecretRef: {name: tls}\n"
	if settings != "" {
		file += "  " + settings + "\n"
	}
	write("config.yaml", file)
	write("secrets/vendor/proxy", p.URL.String()+"\n")
	for key, value := range secret {
		write("secrets/vendor/"+key, value+"\n") // files often end so
	}
	if trusted {
		write("secrets/tls/ca.crt", string(p.CA))
	}
	write("secrets/tls/tls.crt", string(p.Cert))
	write("secrets/tls/tls.key", p.Key.RevealString())
	l := config.Loader{Config: filepath.Join(dir, "config.yaml"), Secrets: filepath.Join(dir, "secrets"), Catalog: catalog.All()}
	s, problems := l.Load()
	if problems.Fatal() != nil {
		t.Fatal(problems)
	}
	return s.Provider("p")
}
