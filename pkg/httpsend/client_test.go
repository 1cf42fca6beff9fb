package httpsend

import (
	"bufio"
	"context"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestRefused(t *testing.T) {
	t.Parallel()
	for _, a := range []string{
		"169.254.169.254", "169.254.0.1", "169.254.170.2", "::ffff:169.254.169.254", "::169.254.169.254",
		"64:ff9b::169.254.169.254", "2002:a9fe:a9fe::1", "fe80::1", "fe80::1%eth0", "febf::1", "ff02::1", "224.0.0.1",
		"fd00:ec2::254", "fd00:ec2::23", "fd20:ce::254", "fd00:42::42", "100.100.100.200", "::ffff:100.100.100.200",
		"168.63.129.16", "192.0.0.192",
	} {
		if !refused(netip.MustParseAddr(a)) {
			t.Errorf("%s is allowed", a)
		}
	}
	for _, a := range []string{
		"127.0.0.1", "::1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "100.64.0.1", "fd00::1", "fc00::1", "::ffff:10.0.0.1",
		"169.253.255.255", "169.255.0.0", "2606:4700::1111", "64:ff9b::8.8.8.8", "2002:808:808::1",
	} {
		if refused(netip.MustParseAddr(a)) {
			t.Errorf("%s is refused", a)
		}
	}
}

// errorOf sends to an address through a client and returns the error as a provider would.
func errorOf(t *testing.T, client *http.Client, address string) error {
	t.Helper()
	u, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	return (&sender{Requester: postTo(u), client: client}).Send(t.Context(), &bellhop.Event{})
}

// postTo posts a little JSON.
type requesterFunc func(ctx context.Context, e *bellhop.Event) (*http.Request, error)

func (f requesterFunc) Request(ctx context.Context, e *bellhop.Event) (*http.Request, error) {
	return f(ctx, e)
}

func postTo(u *url.URL) requesterFunc {
	return func(ctx context.Context, _ *bellhop.Event) (*http.Request, error) {
		return PostJSON(ctx, u, map[string]string{"a": "b"})
	}
}

func testClient(t *testing.T, o Options) *http.Client {
	t.Helper()
	client, err := NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}

func TestNothingGoesToMetadata(t *testing.T) {
	t.Parallel()
	proxy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		t.Error("the proxy was asked for a metadata address")
	}))
	t.Cleanup(proxy.Close)
	proxyURL, err := url.Parse(proxy.URL)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []Options{{}, {Proxy: proxyURL}} {
		client := testClient(t, o)
		for _, address := range []string{
			"http://169.254.169.254/latest/meta-data", "https://169.254.169.254/", "http://[::ffff:169.254.169.254]/",
			"http://[fd00:ec2::254]/", "http://100.100.100.200/",
		} {
			err := errorOf(t, client, address)
			if !bellhop.IsPermanent(err) || !strings.Contains(err.Error(), "nothing is sent to") {
				t.Errorf("%s, through a proxy %t: %v", address, o.Proxy != nil, err)
			}
		}
	}
}

func TestProxyMayBeAnywhere(t *testing.T) {
	t.Parallel()
	p := &proxies{of: http.ProxyURL(&url.URL{Scheme: "http", Host: "169.254.1.1:3128"})}
	if err := p.control("169.254.1.1:3128")("tcp", "169.254.1.1:3128", nil); err == nil {
		t.Error("an address that is no proxy's is allowed")
	}
	if _, err := p.choose(httptest.NewRequest(http.MethodPost, "https://example.com/", nil)); err != nil {
		t.Fatal(err)
	}
	if p.control("169.254.1.1:3128") != nil {
		t.Error("the proxy's address is checked")
	}
	if p.control("169.254.1.1:80") == nil {
		t.Error("another port of the proxy's address is not checked")
	}
}

func TestBadEnvironmentProxyIsNotShown(t *testing.T) {
	t.Parallel()
	p := &proxies{of: func(*http.Request) (*url.URL, error) {
		return nil, errors.New(`invalid proxy address "http://user:hunter22@[bad"`)
	}}
	_, err := p.choose(httptest.NewRequest(http.MethodPost, "https://example.com/", nil))
	if err == nil || strings.Contains(err.Error(), "hunter22") {
		t.Errorf("got %v", err)
	}
}

func TestRedirects(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, from, to string
		method         string
		status         int
		follows        bool
	}{
		{"same host, method kept", "https://a.example/x", "/y", "POST", 307, true},
		{"same host, method kept for good", "https://a.example/x", "https://A.example:443/y", "POST", 308, true},
		{"upgrade to https", "http://a.example/x", "https://a.example/x", "POST", 308, true},
		{"a GET", "https://a.example/x", "/y", "GET", 302, true},
		{"method lost", "https://a.example/x", "/y", "POST", 301, false},
		{"method lost, see other", "https://a.example/x", "/y", "POST", 303, false},
		{"other host", "https://a.example/x", "https://b.example/x", "POST", 307, false},
		{"subdomain", "https://a.example/x", "https://x.a.example/x", "GET", 302, false},
		{"other port", "https://a.example/x", "https://a.example:8443/x", "POST", 307, false},
		{"upgrade from another port", "http://a.example:8080/x", "https://a.example/x", "POST", 307, false},
		{"downgrade", "https://a.example/x", "http://a.example/x", "POST", 307, false},
		{"another scheme", "https://a.example/x", "gopher://a.example/x", "POST", 307, false},
		{"metadata", "http://a.example/x", "http://169.254.169.254/", "GET", 302, false},
	} {
		client := testClient(t, Options{})
		var asked []string
		client.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			body := ""
			if r.Body != nil {
				b, err := io.ReadAll(r.Body)
				if err != nil {
					return nil, err
				}
				body = string(b)
			}
			asked = append(asked, r.Method+" "+r.URL.String()+" "+body)
			resp := &http.Response{StatusCode: http.StatusOK, Header: http.Header{}, Body: http.NoBody, Request: r}
			if len(asked) == 1 {
				resp.StatusCode = tc.status
				resp.Header.Set("Location", tc.to)
			}
			return resp, nil
		})
		req, err := http.NewRequestWithContext(t.Context(), tc.method, tc.from, strings.NewReader("body"))
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		resp.Body.Close()
		if follows := len(asked) == 2; follows != tc.follows {
			t.Errorf("%s: asked %q", tc.name, asked)
		} else if follows && tc.method == "POST" && (!strings.HasPrefix(asked[1], "POST ") || !strings.HasSuffix(asked[1], " body")) {
			t.Errorf("%s: the second request is %q", tc.name, asked[1])
		}
		if !tc.follows && !bellhop.IsPermanent(Status(resp, nil)) {
			t.Errorf("%s: the answer is not permanent", tc.name)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestRedirectsEnd(t *testing.T) {
	t.Parallel()
	var n atomic.Int64
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "/"+strconv.FormatInt(n.Add(1), 10))
		w.WriteHeader(http.StatusTemporaryRedirect)
	}))
	t.Cleanup(fake.Close)
	err := errorOf(t, testClient(t, Options{}), fake.URL)
	if !bellhop.IsPermanent(err) || n.Load() != 1+maxRedirects {
		t.Errorf("%d requests, then %v", n.Load(), err)
	}
}

func TestRedirectToNoURL(t *testing.T) {
	t.Parallel()
	fake := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Location", "http://[token=hunter22")
		w.WriteHeader(http.StatusFound)
	}))
	t.Cleanup(fake.Close)
	err := errorOf(t, testClient(t, Options{}), fake.URL)
	if !bellhop.IsPermanent(err) || strings.Contains(err.Error(), "hunter22") {
		t.Errorf("got %v", err)
	}
}

func TestBadOptions(t *testing.T) {
	t.Parallel()
	key := bellhop.NewSecret([]byte("not a key but hunter22"))
	for _, tc := range []struct {
		o    Options
		path string
	}{
		{Options{CA: []byte("hunter22")}, "ca.crt"},
		{Options{Cert: []byte("x")}, "tls.crt"},
		{Options{Key: key}, "tls.crt"},
		{Options{Cert: []byte("hunter22"), Key: key}, "tls.crt"},
		{Options{Proxy: &url.URL{Scheme: "ftp", User: url.UserPassword("u", "hunter22"), Host: "p"}}, "proxy"},
		{Options{Proxy: &url.URL{Scheme: "http", Path: "/hunter22"}}, "proxy"},
	} {
		_, err := NewClient(tc.o)
		ps := bellhop.AsProblems(err)
		if len(ps) != 1 || ps[0].Path != tc.path || strings.Contains(err.Error(), "hunter22") {
			t.Errorf("%s: got %v", tc.path, err)
		}
	}
	if _, err := NewClient(Options{CA: []byte("x"), Cert: []byte("x")}); len(bellhop.AsProblems(err)) != 2 {
		t.Errorf("not all that is wrong is said: %v", err)
	}
}

func TestHTTP2AndUserAgent(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var protos, agents []string
	fake := httptest.NewUnstartedServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		protos, agents = append(protos, r.Proto), append(agents, r.UserAgent())
	}))
	fake.EnableHTTP2 = true
	fake.StartTLS()
	t.Cleanup(fake.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: fake.Certificate().Raw})
	client := testClient(t, Options{CA: ca})
	if err := errorOf(t, client, fake.URL); err != nil {
		t.Fatal(err)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(protos) != 1 || protos[0] != "HTTP/2.0" || !strings.HasPrefix(agents[0], "bellhop/") {
		t.Errorf("asked with %q by %q", protos, agents)
	}
}

func TestUntrustedCertificate(t *testing.T) {
	t.Parallel()
	fake := httptest.NewUnstartedServer(http.NotFoundHandler())
	fake.Config.ErrorLog = discard
	fake.StartTLS()
	t.Cleanup(fake.Close)
	err := errorOf(t, testClient(t, Options{}), fake.URL)
	if err == nil || bellhop.IsPermanent(err) || !strings.Contains(err.Error(), "certSecretRef") {
		t.Errorf("got %v, want an error that is retried and names certSecretRef", err)
	}
}

func TestFewConnections(t *testing.T) {
	t.Parallel()
	const workers = 8
	var conns atomic.Int64
	fake := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		_, _ = io.WriteString(w, strings.Repeat("x", 100_000))
	}))
	fake.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			conns.Add(1)
		}
	}
	fake.Start()
	t.Cleanup(fake.Close)
	client := testClient(t, Options{})
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range 25 {
				if err := errorOf(t, client, fake.URL); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	// One may be dialled while another becomes free, and is then kept for later.
	if n := conns.Load(); n > 2*workers {
		t.Errorf("%d sends at a time made %d connections", workers, n)
	}
}

func TestSOCKS(t *testing.T) {
	t.Parallel()
	fake := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Host != "vendor.example" {
			t.Errorf("asked for %s", r.Host)
		}
	}))
	t.Cleanup(fake.Close)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	done := make(chan error, 1)
	go func() { done <- socksOnce(l, fake.Listener.Addr().String(), "u", "p@ss") }()
	proxy := &url.URL{Scheme: "socks5", User: url.UserPassword("u", "p@ss"), Host: l.Addr().String()}
	client := testClient(t, Options{Proxy: proxy})
	if err := errorOf(t, client, "http://vendor.example/"); err != nil {
		t.Error(err)
	}
	client.CloseIdleConnections()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// socksOnce is a SOCKS 5 server for one connection, which it makes to address whatever is asked for.
// https://www.rfc-editor.org/rfc/rfc1928 https://www.rfc-editor.org/rfc/rfc1929
func socksOnce(l net.Listener, address, user, password string) error {
	down, err := l.Accept()
	if err != nil {
		return err
	}
	defer down.Close()
	r := bufio.NewReader(down)
	field := func() string { // one byte of length, then so much
		n, _ := r.ReadByte()
		b := make([]byte, n)
		_, _ = io.ReadFull(r, b)
		return string(b)
	}
	_, _ = r.ReadByte()             // version
	_ = field()                     // methods
	_, _ = down.Write([]byte{5, 2}) // user and password, please
	_, _ = r.ReadByte()             // version
	if field() != user || field() != password {
		return errors.New("wrong user or password")
	}
	_, _ = down.Write([]byte{1, 0})
	head := make([]byte, 4) // version, connect, reserved, kind of address
	_, _ = io.ReadFull(r, head)
	if head[3] != 3 {
		return errors.New("the proxy is not asked for a name")
	}
	host := field()
	var port [2]byte
	_, _ = io.ReadFull(r, port[:])
	if host != "vendor.example" || binary.BigEndian.Uint16(port[:]) != 80 {
		return errors.New("asked for " + host)
	}
	up, err := net.Dial("tcp", address)
	if err != nil {
		return err
	}
	defer up.Close()
	_, _ = down.Write([]byte{5, 0, 0, 1, 127, 0, 0, 1, 0, 80})
	back := make(chan struct{})
	go func() {
		defer close(back)
		_, _ = io.Copy(down, up)
		_ = down.Close()
	}()
	_, _ = io.Copy(up, r)
	_ = up.Close()
	<-back
	return nil
}

// BenchmarkSend is a delivery to a sink in the same process, over 16 connections kept alive.
func BenchmarkSend(b *testing.B) {
	fake := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	defer fake.Close()
	u, err := url.Parse(fake.URL)
	if err != nil {
		b.Fatal(err)
	}
	client, err := NewClient(Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer client.CloseIdleConnections()
	p := &sender{Requester: postTo(u), client: client}
	b.SetParallelism(8)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			if err := p.Send(b.Context(), &bellhop.Event{}); err != nil {
				b.Error(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "deliveries/s")
}
