package bellhoptest

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"sync"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Proxy is a proxy that ends TLS with certificates of a private authority and answers in every vendor's place. It
// wants credentials of its own and, in the vendors' name, a client certificate.
type Proxy struct {
	// URL is the proxy's, with the credentials.
	URL *url.URL
	// CA is the authority's certificate, Cert and Key are a client's of that authority; PEM.
	CA, Cert []byte
	Key      bellhop.Secret

	mu    sync.Mutex
	hosts []string
}

// NewProxy starts a proxy; vendor answers.
func NewProxy(t *testing.T, vendor http.Handler) *Proxy {
	t.Helper()
	ca := NewAuthority(t)
	client := ca.Issue(t)
	p := &Proxy{CA: ca.PEM, Cert: client.Cert, Key: bellhop.NewSecret(client.Key)}
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		p.mu.Lock()
		p.hosts = append(p.hosts, r.Host)
		p.mu.Unlock()
		vendor.ServeHTTP(w, r)
	})
	secure := httptest.NewUnstartedServer(answer)
	secure.TLS = &tls.Config{
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
			server, err := ca.issue(h.ServerName)
			return &server.TLS, err
		},
		ClientAuth: tls.RequireAndVerifyClientCert,
		ClientCAs:  ca.Pool,
	}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail on purpose
	secure.StartTLS()
	t.Cleanup(secure.Close)
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := basicAuth(r.Header.Get("Proxy-Authorization")); !ok || user != "u" || password != "p@ss" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if r.Method != http.MethodConnect {
			answer(w, r)
			return
		}
		Tunnel(w, secure.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)
	var err error
	if p.URL, err = url.Parse(proxy.URL); err != nil {
		t.Fatal(err)
	}
	p.URL.User = url.UserPassword("u", "p@ss")
	return p
}

// Hosts are the vendors that were asked since the last call.
func (p *Proxy) Hosts() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	hosts := slices.Clone(p.hosts)
	p.hosts = nil
	return hosts
}

func basicAuth(header string) (user, password string, ok bool) {
	return (&http.Request{Header: http.Header{"Authorization": {header}}}).BasicAuth()
}

// Tunnel connects the client of a CONNECT to address until either end closes.
func Tunnel(w http.ResponseWriter, address string) {
	var d net.Dialer
	up, err := d.DialContext(context.Background(), "tcp", address)
	if err != nil {
		w.WriteHeader(http.StatusBadGateway)
		return
	}
	defer up.Close()
	down, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer down.Close()
	_, _ = io.WriteString(down, "HTTP/1.1 200 Connection established\r\n\r\n")
	done := make(chan struct{})
	go func() {
		defer close(done)
		_, _ = io.Copy(up, buffered)
		_ = up.Close()
	}()
	_, _ = io.Copy(down, up)
	_ = down.Close()
	<-done
}
