package httpsend

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Transport is what was settled in a client of NewClient, for providers that do not speak HTTP: they trust the
// same CA, show the same certificate, know the same proxy, refuse the same addresses and class and mask errors
// as those that do.
type Transport struct {
	http *http.Transport // nil: the client is not one of NewClient
	mask mask
}

// errForeign is what a connection fails with whose rules are not known.
var errForeign = errors.New("connecting: the client was not made by httpsend.NewClient")

// TransportOf is the transport of a client that NewClient made. Of any other nothing is known, and nothing can be
// dialled. The secrets are what errors must not show.
func TransportOf(client *http.Client, secrets ...bellhop.Secret) *Transport {
	t := new(Transport)
	for _, s := range secrets {
		if !s.Empty() {
			t.mask.words = append(t.mask.words, s.RevealString())
		}
	}
	if a, ok := client.Transport.(agent); ok {
		t.http = a.Transport
	}
	return t
}

// TLS is a new configuration for a connection to host.
func (t *Transport) TLS(host string) *tls.Config {
	conf := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: host}
	if t.http != nil {
		// HTTP's protocols are none of the caller's.
		conf.RootCAs, conf.Certificates = t.http.TLSClientConfig.RootCAs, t.http.TLSClientConfig.Certificates
	}
	return conf
}

// Proxy is the proxy that a request to u would go through, by the settings or the environment; nil if none would.
func (t *Transport) Proxy(u *url.URL) (*url.URL, error) {
	if t.http == nil {
		return nil, errForeign
	}
	return t.http.Proxy(&http.Request{URL: u})
}

// Dial connects to host:port, past any proxy. Addresses that NewClient refuses are refused.
func (t *Transport) Dial(ctx context.Context, address string) (net.Conn, error) {
	if t.http == nil {
		return nil, errForeign
	}
	return t.http.DialContext(ctx, "tcp", address)
}

// DialTLS is Dial with TLS, the handshake done.
func (t *Transport) DialTLS(ctx context.Context, address string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	conn, err := t.Dial(ctx, address)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, tlsTimeout)
	defer cancel()
	secure := tls.Client(conn, t.TLS(host))
	if err := secure.HandshakeContext(ctx); err != nil {
		_ = conn.Close()
		return nil, err
	}
	return secure, nil
}

// tlsTimeout bounds a handshake, of HTTP as of others.
const tlsTimeout = 10 * time.Second

// Broken is the error of an exchange that got no whole answer, because of err: shown and classed as those of HTTP
// are. It wraps nothing that holds a secret.
func (t *Transport) Broken(ctx context.Context, err error) error { return t.mask.transport(ctx, err) }

// Answered is an error in the vendor's words with what is secret masked, on one line and cut. It keeps err's class
// and wraps nothing else of it.
func (t *Transport) Answered(err error) error { return t.mask.classed(err) }
