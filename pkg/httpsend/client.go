package httpsend

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Options is what a client is made from. The zero value makes a good one.
type Options struct {
	// Proxy is an http, https, socks5 or socks5h URL, user-info allowed. nil: the environment's
	// HTTPS_PROXY, HTTP_PROXY and NO_PROXY.
	Proxy *url.URL
	// CA is PEM. It replaces the system's roots, as in Flux: who names a CA trusts that one and no other.
	CA []byte
	// Cert and Key are the client certificate, PEM; both or neither.
	Cert []byte
	Key  bellhop.Secret
	// Timeout bounds a whole exchange; 0 leaves that to the context.
	Timeout time.Duration
}

// maxRedirects is how many redirects within one host are followed.
const maxRedirects = 3

// NewClient makes the client of one provider. It keeps connections alive, speaks HTTP/2 where the server
// does, and says "bellhop/<version>" as its User-Agent. CloseIdleConnections frees it.
//
// Redirects are followed within one host only (scheme, name and port; from http to https on the standard
// ports as well), and only where they keep the method, so that no message and no credential goes where nobody
// configured it, and no POST becomes a GET. Other redirects are returned as the answer they are.
//
// Link-local and metadata addresses are refused when a connection is made, on the resolved address, so that
// no name can point there later. Loopback and private addresses are allowed; a proxy may be anywhere. Through
// a proxy only addresses written as such can be seen and refused.
func NewClient(o Options) (*http.Client, error) {
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	var ps bellhop.Problems
	if len(o.CA) > 0 {
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(o.CA) {
			ps = append(ps, bellhop.Wrong("ca.crt", "holds no certificate: write the CA's certificates in PEM"))
		}
	}
	switch hasCert := len(o.Cert) > 0; {
	case hasCert != !o.Key.Empty():
		ps = append(ps, bellhop.Wrong("tls.crt", "a client certificate needs both tls.crt and tls.key"))
	case hasCert:
		pair, err := tls.X509KeyPair(o.Cert, o.Key.Reveal())
		if err != nil {
			ps = append(ps, bellhop.Wrong("tls.crt", "reading the client certificate: %v", err))
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	proxies := &proxies{of: http.ProxyFromEnvironment}
	if o.Proxy != nil {
		if err := checkProxy(o.Proxy); err != nil {
			ps = append(ps, bellhop.Wrong("proxy", "%v", err))
		}
		proxies.of = http.ProxyURL(o.Proxy)
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	t := &http.Transport{
		Proxy:               proxies.choose,
		DialContext:         proxies.dial,
		TLSClientConfig:     conf,
		ForceAttemptHTTP2:   true,
		TLSHandshakeTimeout: tlsTimeout,
		IdleConnTimeout:     90 * time.Second,
		// A provider has one host, so what is idle is its own: enough for any sensible concurrency.
		MaxIdleConns:        64,
		MaxIdleConnsPerHost: 64,
		// One connection carries all of HTTP/2's requests: find out when it is dead.
		HTTP2: &http.HTTP2Config{SendPingTimeout: 15 * time.Second, PingTimeout: 15 * time.Second},
	}
	return &http.Client{Transport: agent{t}, CheckRedirect: checkRedirect, Timeout: o.Timeout}, nil
}

// checkProxy tells what is wrong with a proxy's URL without showing it: it may hold a password.
func checkProxy(u *url.URL) error {
	switch strings.ToLower(u.Scheme) {
	case "http", "https", "socks5", "socks5h":
		if u.Hostname() != "" {
			return nil
		}
	}
	return errors.New("write an address such as http://proxy.example:3128; http, https and socks5 are understood")
}

func checkRedirect(req *http.Request, via []*http.Request) error {
	was, first := via[len(via)-1], via[0]
	if len(via) > maxRedirects || req.Method != first.Method || !sameHost(was.URL, req.URL) {
		return http.ErrUseLastResponse
	}
	return nil
}

func sameHost(from, to *url.URL) bool {
	if !strings.EqualFold(from.Hostname(), to.Hostname()) {
		return false
	}
	upgrade := from.Scheme == "http" && to.Scheme == "https" && port(from) == "80" && port(to) == "443"
	return upgrade || from.Scheme == to.Scheme && port(from) == port(to)
}

func port(u *url.URL) string {
	if p := u.Port(); p != "" {
		return p
	}
	return map[string]string{"http": "80", "https": "443", "socks5": "1080", "socks5h": "1080"}[strings.ToLower(u.Scheme)]
}

// agent adds the User-Agent, and takes from answers what the client would trip over.
type agent struct{ *http.Transport }

func (a agent) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Header.Get("User-Agent") == "" {
		req = req.Clone(req.Context())
		req.Header.Set("User-Agent", userAgent())
	}
	resp, err := a.Transport.RoundTrip(req)
	if err == nil {
		// A redirect to what is no URL is one that is not followed, not a broken exchange.
		if _, bad := url.Parse(resp.Header.Get("Location")); bad != nil {
			resp.Header.Del("Location")
		}
	}
	return resp, err
}

var userAgent = sync.OnceValue(func() string {
	version := "devel"
	if info, ok := debug.ReadBuildInfo(); ok && strings.HasPrefix(info.Main.Version, "v") {
		version = strings.TrimPrefix(info.Main.Version, "v")
	}
	return "bellhop/" + version
})

// proxies chooses the proxy of a request and dials, keeping apart what may be dialled as a proxy.
type proxies struct {
	of    func(*http.Request) (*url.URL, error)
	known sync.Map // host:port of every proxy chosen so far
}

func (p *proxies) choose(req *http.Request) (*url.URL, error) {
	u, err := p.of(req)
	if err != nil {
		// The error quotes the variable, which may hold a password.
		return nil, errors.New("reading HTTP_PROXY or HTTPS_PROXY: not a proxy's address")
	}
	if u == nil {
		return nil, nil
	}
	if addr, err := netip.ParseAddr(req.URL.Hostname()); err == nil && refused(addr) {
		return nil, &refusal{addr}
	}
	p.known.LoadOrStore(net.JoinHostPort(u.Hostname(), port(u)), nil)
	return u, nil
}

func (p *proxies) dial(ctx context.Context, network, address string) (net.Conn, error) {
	d := net.Dialer{Timeout: 10 * time.Second, KeepAlive: 30 * time.Second, Control: p.control(address)}
	return d.DialContext(ctx, network, address)
}

// control checks each address that a host:port resolved to before it is connected to; a proxy's is not checked.
func (p *proxies) control(address string) func(network, resolved string, _ syscall.RawConn) error {
	if _, proxy := p.known.Load(address); proxy {
		return nil
	}
	return func(_, resolved string, _ syscall.RawConn) error {
		ap, err := netip.ParseAddrPort(resolved)
		if err != nil {
			return fmt.Errorf("reading the resolved address: %w", err)
		}
		if refused(ap.Addr()) {
			return &refusal{ap.Addr()}
		}
		return nil
	}
}

// refusal is an address that nothing is ever sent to.
type refusal struct{ addr netip.Addr }

func (r *refusal) Error() string {
	return fmt.Sprintf("%s is a link-local or metadata address, which nothing is sent to", r.addr.WithZone(""))
}

// Where clouds keep instance metadata and credentials outside 169.254.0.0/16 and fe80::/10.
var metadata = []netip.Prefix{
	netip.MustParsePrefix("fd00:ec2::/64"),      // AWS, EKS Pod Identity
	netip.MustParsePrefix("fd20:ce::254/128"),   // Google Cloud
	netip.MustParsePrefix("fd00:42::42/128"),    // Scaleway
	netip.MustParsePrefix("100.100.100.200/32"), // Alibaba Cloud
	netip.MustParsePrefix("168.63.129.16/32"),   // Azure's wire server
	netip.MustParsePrefix("192.0.0.192/32"),     // Oracle Cloud
}

// IPv6 prefixes whose addresses hold an IPv4 address at the given byte: NAT64, 6to4, IPv4-compatible.
var embedding = []struct {
	prefix netip.Prefix
	at     int
}{
	{netip.MustParsePrefix("64:ff9b::/96"), 12},
	{netip.MustParsePrefix("2002::/16"), 2},
	{netip.MustParsePrefix("::/96"), 12},
}

// refused reports whether an address is link-local or a cloud's metadata service, in whatever spelling.
func refused(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	if a.IsLinkLocalUnicast() || a.IsLinkLocalMulticast() {
		return true
	}
	for _, p := range metadata {
		if p.Contains(a) {
			return true
		}
	}
	if a.Is6() {
		b := a.As16()
		for _, e := range embedding {
			if e.prefix.Contains(a) && refused(netip.AddrFrom4([4]byte(b[e.at:e.at+4]))) {
				return true
			}
		}
	}
	return false
}
