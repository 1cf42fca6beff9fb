package httpsend

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func TestTransportTrustsTheSameCA(t *testing.T) {
	t.Parallel()
	fake := httptest.NewUnstartedServer(http.NotFoundHandler())
	fake.Config.ErrorLog = discard
	fake.StartTLS()
	t.Cleanup(fake.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: fake.Certificate().Raw})
	address := fake.Listener.Addr().String()

	conn, err := TransportOf(testClient(t, Options{CA: ca})).DialTLS(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if p := conn.(*tls.Conn).ConnectionState().NegotiatedProtocol; p != "" {
		t.Errorf("negotiated %q, want none of HTTP's protocols", p)
	}
	// The caller's own protocol goes over it.
	if _, err := io.WriteString(conn, "GET / HTTP/1.0\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	if line, _ := bufio.NewReader(conn).ReadString('\n'); !strings.Contains(line, "404") {
		t.Errorf("answered %q", line)
	}

	tr := TransportOf(testClient(t, Options{}))
	_, err = tr.DialTLS(t.Context(), address)
	if err = tr.Broken(t.Context(), err); bellhop.IsPermanent(err) || !strings.Contains(err.Error(), "certSecretRef") {
		t.Errorf("got %v, want an error that is retried and names certSecretRef", err)
	}
}

func TestTransportRefusesMetadata(t *testing.T) {
	t.Parallel()
	tr := TransportOf(testClient(t, Options{}))
	for _, address := range []string{"169.254.169.254:80", "[fe80::1]:80", "[fd00:ec2::254]:443"} {
		for name, dial := range map[string]func(context.Context, string) (net.Conn, error){"plain": tr.Dial, "TLS": tr.DialTLS} {
			_, err := dial(t.Context(), address)
			if err == nil {
				t.Fatalf("%s: connected to %s", name, address)
			}
			if err = tr.Broken(t.Context(), err); !bellhop.IsPermanent(err) {
				t.Errorf("%s to %s: %v, want permanent", name, address, err)
			}
		}
	}
}

func TestTransportProxy(t *testing.T) {
	t.Parallel()
	proxy := &url.URL{Scheme: "http", Host: "proxy.example:3128"}
	u := &url.URL{Scheme: "https", Host: "example.com"}
	if got, err := TransportOf(testClient(t, Options{Proxy: proxy})).Proxy(u); err != nil || got.String() != proxy.String() {
		t.Errorf("got %v, %v, want %v", got, err, proxy)
	}
	metadata := &url.URL{Scheme: "https", Host: "169.254.169.254"}
	if got, err := TransportOf(testClient(t, Options{Proxy: proxy})).Proxy(metadata); err == nil {
		t.Errorf("got %v, want metadata refused through a proxy as well", got)
	}
}

// A client of unknown making is never gone around.
func TestTransportOfAForeignClient(t *testing.T) {
	t.Parallel()
	tr := TransportOf(&http.Client{Transport: roundTrip(nil)})
	_, dialErr := tr.Dial(t.Context(), "127.0.0.1:1")
	_, tlsErr := tr.DialTLS(t.Context(), "127.0.0.1:1")
	_, proxyErr := tr.Proxy(&url.URL{Scheme: "https", Host: "example.com"})
	for _, err := range []error{dialErr, tlsErr, proxyErr} {
		if !errors.Is(err, errForeign) {
			t.Errorf("got %v, want %v", err, errForeign)
		}
	}
	if conf := tr.TLS("example.com"); conf.ServerName != "example.com" || conf.MinVersion != tls.VersionTLS12 {
		t.Errorf("got %+v", conf)
	}
}

func TestTransportMasks(t *testing.T) {
	t.Parallel()
	tr := TransportOf(testClient(t, Options{}), bellhop.NewSecret([]byte("hunter2hunter2\n")), bellhop.Secret{})
	said := fmt.Errorf("no access\r\nfor hunter2hunter2 %w", errors.New("or for hunter2hunter2"))
	for want, err := range map[string]error{
		"plain":     tr.Answered(said),
		"permanent": tr.Answered(bellhop.Permanent(said)),
		"paused":    tr.Answered(bellhop.RetryAfter(7, said)),
		"broken":    tr.Broken(t.Context(), said),
	} {
		for e := err; e != nil; e = errors.Unwrap(e) {
			if strings.Contains(fmt.Sprintf("%v %+v %#v", e, e, e), "hunter2") || !strings.Contains(e.Error(), "no access for <secret>") {
				t.Errorf("%s: %q", want, e)
			}
		}
		_, paused := bellhop.RetryDelay(err)
		if bellhop.IsPermanent(err) != (want == "permanent") || paused != (want == "paused") {
			t.Errorf("%s: %v has another class", want, err)
		}
	}
}
