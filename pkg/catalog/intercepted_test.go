package catalog_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/catalog"
	"github.com/bellhop-dev/bellhop/pkg/config"
)

// intercepted says how each provider is configured behind a TLS-intercepting proxy, and how its vendor answers.
var intercepted = map[string]struct {
	settings string
	secret   map[string]string
	event    func() *bellhop.Event // fluxEvent if nil
	status   int                   // 200 if zero
	answer   func(body []byte) string
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

// TestBehindAnInterceptingProxy: every provider reaches its vendor through a proxy that ends TLS with
// certificates of a private authority, wants a password and a client certificate; and none does without that
// authority.
func TestBehindAnInterceptingProxy(t *testing.T) {
	t.Parallel()
	authority := newAuthority(t)
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
			if row.status == 0 {
				row.status = http.StatusOK
			}
			if row.answer == nil {
				row.answer = constant("{}")
			}
			if row.event == nil {
				row.event = fluxEvent
			}
			proxy := authority.proxy(t, row.status, row.answer)
			for _, trusted := range []bool{true, false} {
				p := behind(t, kind.Name, row.settings, row.secret, proxy, authority, trusted)
				err := p.Provider.Send(t.Context(), row.event())
				p.Close()
				seen := proxy.take()
				if !trusted {
					if err == nil || len(seen) != 0 || bellhop.IsPermanent(err) {
						t.Errorf("sent without the authority: %v, %q", err, seen)
					}
				} else if err != nil || len(seen) == 0 || seen[len(seen)-1] != row.host {
					t.Errorf("sent: %v, the proxy saw %q", err, seen)
				}
				if err != nil {
					for _, secret := range append([]string{"pr0xy"}, values(row.secret)...) {
						if strings.Contains(err.Error(), secret) {
							t.Errorf("the error shows a secret: %v", err)
						}
					}
				}
			}
		})
	}
}

func values(m map[string]string) (vs []string) {
	for _, v := range m {
		vs = append(vs, v)
	}
	return vs
}

// behind loads a provider as a user configures it behind the proxy.
func behind(t *testing.T, kind, settings string, secret map[string]string, p *proxy, a *authority, trusted bool) *config.Provider {
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
	write("secrets/vendor/proxy", strings.Replace(p.URL, "http://", "http://user:pr0xy@", 1)+"\n")
	for key, value := range secret {
		write("secrets/vendor/"+key, value+"\n") // files often end so
	}
	cert, key := a.issue(t, "bellhop")
	if trusted {
		write("secrets/tls/ca.crt", string(a.pem))
	}
	write("secrets/tls/tls.crt", string(cert))
	write("secrets/tls/tls.key", string(key))
	l := config.Loader{Config: filepath.Join(dir, "config.yaml"), Secrets: filepath.Join(dir, "secrets"), Catalog: catalog.All()}
	s, problems := l.Load()
	if problems.Fatal() != nil {
		t.Fatal(problems)
	}
	return s.Provider("p")
}

// authority signs certificates for anybody.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "private authority"}, NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

func (a *authority) issue(t *testing.T, name string) (cert, key []byte) {
	t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, own.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalECPrivateKey(own)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: keyDER})
}

// proxy takes CONNECT, ends the TLS within it and answers in the vendor's place.
type proxy struct {
	*httptest.Server
	t      *testing.T
	a      *authority
	status int
	answer func(body []byte) string

	mu   sync.Mutex
	seen []string // hosts of the requests
	open sync.WaitGroup
}

func (a *authority) proxy(t *testing.T, status int, answer func([]byte) string) *proxy {
	t.Helper()
	p := &proxy{t: t, a: a, status: status, answer: answer}
	p.Server = httptest.NewServer(p)
	t.Cleanup(func() {
		p.Server.CloseClientConnections()
		p.Server.Close()
		p.open.Wait()
	})
	return p
}

func (p *proxy) take() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen := p.seen
	p.seen = nil
	return seen
}

func (p *proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Header.Get("Proxy-Authorization") != "Basic dXNlcjpwcjB4eQ==" {
		p.t.Errorf("the proxy was asked to %s with the credentials %q", r.Method, r.Header.Get("Proxy-Authorization"))
		w.WriteHeader(http.StatusProxyAuthRequired)
		return
	}
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		p.t.Error(err)
	}
	conn, _, err := w.(http.Hijacker).Hijack()
	if err != nil {
		p.t.Error(err)
		return
	}
	p.open.Go(func() {
		defer conn.Close()
		_ = p.intercept(conn, host) // the client may hang up at any time
	})
}

func (p *proxy) intercept(conn net.Conn, host string) error {
	cert, key := p.a.issue(p.t, host)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AddCert(p.a.cert)
	if _, err := io.WriteString(conn, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return err
	}
	secure := tls.Server(conn, &tls.Config{
		Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: pool, MinVersion: tls.VersionTLS12,
	})
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := secure.HandshakeContext(ctx); err != nil {
		return err
	}
	r := bufio.NewReader(secure)
	for {
		req, err := http.ReadRequest(r)
		if err != nil {
			return err
		}
		body, err := io.ReadAll(req.Body)
		if err != nil {
			return err
		}
		p.mu.Lock()
		p.seen = append(p.seen, req.Host)
		p.mu.Unlock()
		answer := p.answer(body)
		if p.status == http.StatusNoContent {
			answer = ""
		}
		if _, err := fmt.Fprintf(secure, "HTTP/1.1 %d .\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", p.status, len(answer), answer); err != nil {
			return err
		}
	}
}
