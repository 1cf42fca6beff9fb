package verify_test

import (
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

func basic(user, password string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(user+":"+password))
}

func TestCredentials(t *testing.T) {
	t.Parallel()
	keys := secrets("new key\n", "old key")
	const missing, wrong = bellhop.ReasonCredentialsMissing, bellhop.ReasonCredentialsWrong
	for _, c := range []struct {
		name   string
		check  func(*bellhop.Request) error
		header string
		value  string
		reason string
	}{
		{"token", verify.Token("x-gitlab-token", keys), "X-Gitlab-Token", "new key", ""},
		{"token, old key", verify.Token("X-Gitlab-Token", keys), "X-Gitlab-Token", "old key", ""},
		{"token missing", verify.Token("X-Gitlab-Token", keys), "X-Other", "new key", bellhop.ReasonTokenMissing},
		{"token empty", verify.Token("X-Gitlab-Token", keys), "X-Gitlab-Token", "", bellhop.ReasonTokenMissing},
		{"token wrong", verify.Token("X-Gitlab-Token", keys), "X-Gitlab-Token", "new keys", bellhop.ReasonTokenMismatch},
		{"token cut", verify.Token("X-Gitlab-Token", keys), "X-Gitlab-Token", "new ke", bellhop.ReasonTokenMismatch},
		{"token without any key", verify.Token("X-Gitlab-Token", nil), "X-Gitlab-Token", "new key", bellhop.ReasonTokenMismatch},
		{"header", verify.Header("x-key", keys), "X-Key", "new key", ""},
		{"header missing", verify.Header("X-Key", keys), "X-Other", "new key", missing},
		{"header wrong", verify.Header("X-Key", keys), "X-Key", "NEW KEY", wrong},
		{"bearer", verify.Bearer(keys), "Authorization", "Bearer new key", ""},
		{"bearer in lower case", verify.Bearer(keys), "Authorization", "bearer old key", ""},
		{"bearer of another scheme", verify.Bearer(keys), "Authorization", "Basic new key", missing},
		{"bearer without a token", verify.Bearer(keys), "Authorization", "Bearer", missing},
		{"bearer wrong", verify.Bearer(keys), "Authorization", "Bearer no key", wrong},
		{"bearer missing", verify.Bearer(keys), "X-Other", "x", missing},
		{"basic", verify.Basic("hook", keys), "Authorization", basic("hook", "new key"), ""},
		{"basic, any user", verify.Basic("", keys), "Authorization", basic("anybody", "old key"), ""},
		{"basic, other user", verify.Basic("hook", keys), "Authorization", basic("hooks", "new key"), wrong},
		{"basic, no user", verify.Basic("hook", keys), "Authorization", basic("", "new key"), wrong},
		{"basic, wrong password", verify.Basic("hook", keys), "Authorization", basic("hook", "no key"), wrong},
		{"basic, empty password", verify.Basic("hook", keys), "Authorization", basic("hook", ""), wrong},
		{"basic in lower case", verify.Basic("hook", keys), "Authorization", "b" + basic("hook", "new key")[1:], ""},
		{"basic with a colon in the password", verify.Basic("hook", secrets("a:b")), "Authorization", basic("hook", "a:b"), ""},
		{"basic with stray bits", verify.Basic("hook", keys), "Authorization", "Basic " + strings.Replace(base64.StdEncoding.EncodeToString([]byte("hook:old key.")), "Lg==", "Lh==", 1), missing},
		{"basic broken", verify.Basic("hook", keys), "Authorization", "Basic !", missing},
		{"basic missing", verify.Basic("hook", keys), "X-Other", "x", missing},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := &bellhop.Request{Header: http.Header{}}
			r.Header.Set(c.header, c.value)
			wants(t, c.check(r), c.reason, "new key", "old key")
		})
	}
}

func TestCIDR(t *testing.T) {
	t.Parallel()
	prefixes := func(list ...string) (out []netip.Prefix) {
		for _, p := range list {
			out = append(out, netip.MustParsePrefix(p))
		}
		return out
	}
	for _, c := range []struct {
		remote   string
		prefixes []netip.Prefix
		believed bool
	}{
		{"10.1.2.3", prefixes("10.0.0.0/8"), true},
		{"10.1.2.3", prefixes("192.0.2.0/24", "10.1.2.3/32"), true},
		{"10.1.2.3", prefixes("10.9.9.9/8"), true},
		{"::ffff:10.1.2.3", prefixes("10.0.0.0/8"), true},
		{"10.1.2.3", prefixes("::ffff:10.0.0.0/104"), true},
		{"2001:db8::1", prefixes("2001:db8::/32"), true},
		{"fe80::1%eth0", prefixes("fe80::/10"), true},
		{"10.1.2.3", prefixes("0.0.0.0/0"), true},
		{"11.1.2.3", prefixes("10.0.0.0/8"), false},
		{"11.1.2.3", prefixes("::ffff:10.0.0.0/104"), false},
		{"10.1.2.3", prefixes("::/0"), false},
		{"2001:db8::1", prefixes("0.0.0.0/0"), false},
		{"10.1.2.3", nil, false},
	} {
		err := verify.CIDR(c.prefixes)(&bellhop.Request{Remote: netip.MustParseAddr(c.remote)})
		if c.believed {
			wants(t, err, "")
		} else {
			wants(t, err, bellhop.ReasonAddressDenied)
		}
	}
	wants(t, verify.CIDR(prefixes("0.0.0.0/0", "::/0"))(&bellhop.Request{}), bellhop.ReasonAddressDenied)
}

func TestClientCertificate(t *testing.T) {
	t.Parallel()
	cert := &x509.Certificate{
		Subject:        pkix.Name{CommonName: "quay", Organization: []string{"Example"}},
		DNSNames:       []string{"Quay.example", "*.wild.example"},
		EmailAddresses: []string{"hook@quay.example"},
		IPAddresses:    []net.IP{net.ParseIP("192.0.2.7")},
		URIs:           []*url.URL{{Scheme: "spiffe", Host: "cluster", Path: "/quay"}},
	}
	verified := &tls.ConnectionState{PeerCertificates: []*x509.Certificate{cert}, VerifiedChains: [][]*x509.Certificate{{cert}}}
	for name, believed := range map[string]bool{
		"quay": true, "CN=quay,O=Example": true, "quay.example": true, "hook@quay.example": true, "192.0.2.7": true,
		"::ffff:192.0.2.7": true, "spiffe://cluster/quay": true, "*.wild.example": true,
		"a.wild.example": false, "Quay": false, "CN=quay": false, "192.0.2.8": false, "": false,
	} {
		err := verify.ClientCertificate([]string{"nobody", name})(&bellhop.Request{TLS: verified})
		if believed {
			wants(t, err, "")
		} else {
			wants(t, err, bellhop.ReasonCertificateDenied)
		}
	}
	check := verify.ClientCertificate([]string{"quay"})
	for name, state := range map[string]*tls.ConnectionState{
		"plain": nil, "no certificate": {}, "not verified": {PeerCertificates: []*x509.Certificate{cert}}, "empty chain": {VerifiedChains: [][]*x509.Certificate{{}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wants(t, check(&bellhop.Request{TLS: state}), bellhop.ReasonCertificateDenied)
		})
	}
	nameless := &x509.Certificate{}
	wants(t, verify.ClientCertificate([]string{""})(&bellhop.Request{TLS: &tls.ConnectionState{VerifiedChains: [][]*x509.Certificate{{nameless}}}}), bellhop.ReasonCertificateDenied)
}
