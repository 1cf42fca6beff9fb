package bellhoptest

import (
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
	"log"
	"maps"
	"math/big"
	"mime"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

// asked is one request as a provider made it, vendor's URL included.
type asked struct {
	method string
	url    *url.URL
	header http.Header
	body   []byte
}

func newAsked(r *http.Request) (asked, error) {
	a := asked{method: r.Method, url: r.URL, header: r.Header.Clone()}
	if r.Host != "" && r.Host != r.URL.Host {
		a.header.Set("Host", r.Host)
	}
	if r.Body != nil {
		defer r.Body.Close()
		var err error
		if a.body, err = io.ReadAll(r.Body); err != nil {
			return a, err
		}
	}
	return a, nil
}

func (a asked) isJSON() bool {
	mt, _, _ := mime.ParseMediaType(a.header.Get("Content-Type"))
	return mt == "application/json" || strings.HasSuffix(mt, "+json")
}

// raw is the request as it goes out, golden the same with its JSON indented.
func (a asked) raw() []byte { return a.format(a.body) }

func (a asked) golden() []byte {
	var indented bytes.Buffer
	if a.isJSON() && json.Indent(&indented, a.body, "", "  ") == nil {
		return a.format(indented.Bytes())
	}
	return a.format(a.body)
}

func (a asked) format(body []byte) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%s %s\n", a.method, a.url)
	for _, name := range slices.Sorted(maps.Keys(a.header)) {
		for _, v := range a.header[name] {
			fmt.Fprintf(&b, "%s: %s\n", name, v)
		}
	}
	b.WriteByte('\n')
	b.Write(body)
	return b.Bytes()
}

// check holds a body to its content type.
func (a asked) check(t *testing.T) {
	t.Helper()
	if a.isJSON() && !json.Valid(a.body) {
		t.Errorf("broken JSON: %.200q", a.body)
	}
	if a.isJSON() && !utf8.Valid(a.body) {
		t.Errorf("JSON that is not UTF-8: %.200q", a.body)
	}
}

// recorder is a vendor without a network: it keeps what is asked and answers.
type recorder struct {
	answer func(asked) *http.Response

	mu   sync.Mutex
	seen []asked
}

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	a, err := newAsked(req)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	r.seen = append(r.seen, a)
	r.mu.Unlock()
	resp := r.answer(a)
	resp.Request = req
	return resp, nil
}

func (r *recorder) all() []asked {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

func (r *recorder) forget() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seen = nil
}

// client is a provider's client as the program makes it, but for the network.
func (r *recorder) client(t *testing.T) *http.Client {
	t.Helper()
	client := newClient(t, httpsend.Options{})
	client.Transport = r
	return client
}

func newClient(t *testing.T, o httpsend.Options) *http.Client {
	t.Helper()
	client, err := httpsend.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func answered(status int, header http.Header, body string) *http.Response {
	if header == nil {
		header = http.Header{}
	}
	return &http.Response{
		StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: header.Clone(),
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}

// redirectTo is a provider's client as the program makes it that talks to fake whatever it is asked for.
func redirectTo(t *testing.T, fake *httptest.Server) *http.Client {
	t.Helper()
	to, err := url.Parse(fake.URL)
	if err != nil {
		t.Fatal(err)
	}
	client := newClient(t, httpsend.Options{})
	inner := client.Transport
	client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		r = r.Clone(r.Context())
		r.URL.Scheme, r.URL.Host, r.Host = to.Scheme, to.Host, r.URL.Host
		return inner.RoundTrip(r)
	})
	t.Cleanup(inner.(interface{ CloseIdleConnections() }).CloseIdleConnections)
	return client
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func countNew(n *atomic.Int64) func(net.Conn, http.ConnState) {
	return func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			n.Add(1)
		}
	}
}

// throughProxy sends through a proxy that intercepts TLS with a private CA and wants credentials, to a vendor
// that wants a client certificate.
func (s *providerSuite) throughProxy(t *testing.T, c *providerCase) {
	t.Helper()
	ca := newAuthority(t)
	var mu sync.Mutex
	var hosts []string
	var certificates int
	vendor := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		hosts = append(hosts, r.Host)
		if r.TLS != nil && len(r.TLS.PeerCertificates) == 1 {
			certificates++
		}
		mu.Unlock()
		_, _ = io.WriteString(w, s.answerTo(body))
	})
	secure := httptest.NewUnstartedServer(vendor)
	secure.TLS = &tls.Config{
		GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return ca.issue(h.ServerName) },
		ClientAuth:     tls.RequireAndVerifyClientCert,
		ClientCAs:      ca.pool,
	}
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail on purpose
	secure.StartTLS()
	defer secure.Close()
	var proxied atomic.Int64
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if user, password, ok := basicAuth(r.Header.Get("Proxy-Authorization")); !ok || user != "u" || password != "p@ss" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		proxied.Add(1)
		if r.Method != http.MethodConnect {
			vendor(w, r)
			return
		}
		Tunnel(w, secure.Listener.Addr().String())
	}))
	defer proxy.Close()

	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	proxyURL.User = url.UserPassword("u", "p@ss")
	cert, key := ca.client(t)
	client := newClient(t, httpsend.Options{Proxy: proxyURL, CA: ca.pem, Cert: cert, Key: key})
	defer client.CloseIdleConnections()
	if err := s.usable(t, c, client).Send(t.Context(), c.event); err != nil {
		t.Fatalf("through a proxy: %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if proxied.Load() == 0 || len(hosts) == 0 {
		t.Fatal("the proxy was not asked: send with Setup.Client")
	}
	if want := c.asked.url.Host; !slices.Contains(hosts, want) {
		t.Errorf("the proxy was asked for %v, want %s", hosts, want)
	}
	if c.asked.url.Scheme == "https" && certificates == 0 {
		t.Error("the client certificate was not used")
	}

	// Who does not know the CA gets no message, and is told why.
	client = newClient(t, httpsend.Options{Proxy: proxyURL})
	defer client.CloseIdleConnections()
	if c.asked.url.Scheme == "https" {
		err := s.usable(t, c, client).Send(t.Context(), c.event)
		if got := class(err); got != "retried" || !strings.Contains(err.Error(), "ca.crt") {
			t.Errorf("an unknown CA: %s (%v), want retried, naming ca.crt", got, err)
		}
		c.hides(t, err)
	}
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

// authority is a private CA.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	pem  []byte
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "bellhoptest"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &authority{cert, key, pool, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}
}

// issue makes a certificate that serves host, or, with no host, that a client shows.
func (a *authority) issue(host string) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	if host != "" {
		template.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, &key.PublicKey, a.key)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, nil
}

func (a *authority) client(t *testing.T) (cert []byte, key bellhop.Secret) {
	t.Helper()
	pair, err := a.issue("")
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]}),
		bellhop.NewSecret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}
