package bellhoptest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
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
	"unicode/utf8"

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

// throughProxy sends through a Proxy, and without its authority.
func (s *providerSuite) throughProxy(t *testing.T, c *providerCase) {
	t.Helper()
	proxy := NewProxy(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		_, _ = io.WriteString(w, s.answerTo(body))
	}))
	client := newClient(t, httpsend.Options{Proxy: proxy.URL, CA: proxy.CA, Cert: proxy.Cert, Key: proxy.Key})
	defer client.CloseIdleConnections()
	if err := s.usable(t, c, client).Send(t.Context(), c.event); err != nil {
		t.Fatalf("through a proxy: %v", err)
	}
	hosts := proxy.Hosts()
	if len(hosts) == 0 {
		t.Fatal("the proxy was not asked: send with Setup.Client")
	}
	if want := c.asked.url.Host; !slices.Contains(hosts, want) {
		t.Errorf("the proxy was asked for %v, want %s", hosts, want)
	}

	// Who does not know the CA gets no message, and is told why.
	client = newClient(t, httpsend.Options{Proxy: proxy.URL})
	defer client.CloseIdleConnections()
	if c.asked.url.Scheme == "https" {
		err := s.usable(t, c, client).Send(t.Context(), c.event)
		if got := class(err); got != "retried" || !strings.Contains(err.Error(), "ca.crt") {
			t.Errorf("an unknown CA: %s (%v), want retried, naming ca.crt", got, err)
		}
		c.hides(t, err)
	}
}
