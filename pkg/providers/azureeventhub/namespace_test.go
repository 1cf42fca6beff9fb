package azureeventhub_test

import (
	"context"
	"crypto/tls"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/coder/websocket"

	"github.com/bellhop-dev/bellhop/pkg/bellhop/bellhoptest"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

// namespace is a broker on this machine, and the ways to it.
type namespace struct {
	*broker
	// ca signs its certificate.
	ca  *bellhoptest.Authority
	tls *tls.Config // of AMQP
	// address is host:port of its AMQP over TLS.
	address string
	// proxy leads to its AMQP over WebSockets, under whatever name it is asked for.
	proxy *url.URL
	// tunnels counts the connections through the proxy.
	tunnels atomic.Int64
}

const (
	keyName = "send"
	key     = "c2VjcmV0LWtleS1vZi10aGUtcG9saWN5LW9mLXRoZS1odWI="
)

// newNamespace starts a namespace with the event hub "flux". Without a host it is known by its own address.
func newNamespace(t *testing.T, host string) *namespace {
	t.Helper()
	n := &namespace{broker: &broker{t: t, host: host, hub: "flux", scheme: "amqps", keyName: keyName, key: key, maxSize: 1 << 20}}
	n.ca = bellhoptest.NewAuthority(t)
	names := []string{"127.0.0.1"}
	if host != "" {
		names = append(names, host)
	}
	n.tls = &tls.Config{Certificates: []tls.Certificate{n.ca.Issue(t, names...).TLS}}
	web := httptest.NewUnstartedServer(http.HandlerFunc(n.webSocket))
	web.Config.ErrorLog = log.New(io.Discard, "", 0) // handshakes fail on purpose
	web.TLS = n.tls.Clone()
	web.StartTLS()
	t.Cleanup(web.Close)

	n.address = n.listen(t, func(l net.Listener) net.Listener { return tls.NewListener(l, n.tls) })
	if host == "" {
		n.host = n.address
	}
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, password, _ := (&http.Request{Header: http.Header{"Authorization": r.Header["Proxy-Authorization"]}}).BasicAuth()
		if r.Method != http.MethodConnect || user != "u" || password != "p@ss" {
			w.WriteHeader(http.StatusProxyAuthRequired)
			return
		}
		if want := strings.TrimSuffix(n.host, ":443") + ":443"; r.Host != want && r.Host != n.host {
			t.Errorf("the proxy was asked for %s, want %s", r.Host, want)
		}
		n.tunnels.Add(1)
		bellhoptest.Tunnel(w, web.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)
	n.proxy, _ = url.Parse(proxy.URL)
	n.proxy.User = url.UserPassword("u", "p@ss")
	return n
}

// listen serves AMQP at an address of its own until the test ends.
func (n *namespace) listen(t *testing.T, wrap func(net.Listener) net.Listener) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	l = wrap(l)
	var served sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	served.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[conn] = true
			mu.Unlock()
			served.Go(func() { n.serve(conn) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		mu.Lock()
		for conn := range open {
			_ = conn.Close()
		}
		mu.Unlock()
		served.Wait()
	})
	return address
}

// webSocket is the way in on port 443.
// https://docs.oasis-open.org/amqp-bindmap/amqp-wsb/v1.0/amqp-wsb-v1.0.html
func (n *namespace) webSocket(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != "/$servicebus/websocket" {
		n.t.Errorf("a request for %s", r.URL.Path)
	}
	conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"amqp"}})
	if err != nil {
		return
	}
	if conn.Subprotocol() != "amqp" {
		n.t.Error("a WebSocket that is not for AMQP")
	}
	n.serve(websocket.NetConn(context.Background(), conn, websocket.MessageBinary))
}

// newClient is a provider's client as the program makes it.
func newClient(t *testing.T, o httpsend.Options) *http.Client {
	t.Helper()
	client, err := httpsend.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return client
}
