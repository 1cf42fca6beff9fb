package verify

import (
	"crypto/x509"
	"encoding/base64"
	"net/http"
	"net/netip"
	"slices"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Token believes a request that carries one of keys as it is in the named header: what senders call a
// secret token. It signs nothing.
func Token(name string, keys []bellhop.Secret) func(*bellhop.Request) error {
	name = http.CanonicalHeaderKey(name)
	keys = carried(keys)
	return func(r *bellhop.Request) error {
		switch got := r.Header.Get(name); {
		case got == "":
			return bellhop.Reject(bellhop.ReasonTokenMissing, "no %s header; set the endpoint's key as the token at the sender", name)
		case !oneOf(keys, got):
			return bellhop.Reject(bellhop.ReasonTokenMismatch, "the token in %s is another one; compare the token at the sender with the endpoint's key", name)
		}
		return nil
	}
}

// Header believes a request that carries one of keys as it is in the named header.
func Header(name string, keys []bellhop.Secret) func(*bellhop.Request) error {
	name = http.CanonicalHeaderKey(name)
	keys = carried(keys)
	return func(r *bellhop.Request) error {
		switch got := r.Header.Get(name); {
		case got == "":
			return bellhop.Reject(bellhop.ReasonCredentialsMissing, "no %s header; let the sender carry the endpoint's key in it", name)
		case !oneOf(keys, got):
			return bellhop.Reject(bellhop.ReasonCredentialsWrong, "the value of %s is not the endpoint's key", name)
		}
		return nil
	}
}

// Basic believes HTTP basic authentication with one of keys as the password. An empty username means any.
func Basic(username string, keys []bellhop.Secret) func(*bellhop.Request) error {
	keys = carried(keys)
	wanted := bellhop.NewSecret([]byte(username))
	return func(r *bellhop.Request) error {
		user, password, ok := basicAuth(r.Header.Get("Authorization"))
		if !ok {
			return bellhop.Reject(bellhop.ReasonCredentialsMissing, "no basic authentication; let the sender use the endpoint's key as the password")
		}
		// Both are looked at, whatever the first says: the time must not tell which one was wrong.
		known := oneOf(keys, password)
		if rightUser := wanted.Empty() || wanted.Equal([]byte(user)); !known || !rightUser {
			return bellhop.Reject(bellhop.ReasonCredentialsWrong, "basic authentication with another user name, or a password that is not the endpoint's key")
		}
		return nil
	}
}

// basicAuth reads what http.Request.BasicAuth does, but of every user name and password one spelling only: the
// decoder of that passes over stray bits.
func basicAuth(authorization string) (user, password string, ok bool) {
	scheme, encoded, _ := strings.Cut(authorization, " ")
	if !strings.EqualFold(scheme, "Basic") {
		return "", "", false
	}
	decoded, err := base64.StdEncoding.Strict().DecodeString(encoded)
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(decoded), ":")
}

// Bearer believes "Authorization: Bearer" with one of keys.
func Bearer(keys []bellhop.Secret) func(*bellhop.Request) error {
	keys = carried(keys)
	return func(r *bellhop.Request) error {
		scheme, token, ok := strings.Cut(r.Header.Get("Authorization"), " ")
		if !ok || !strings.EqualFold(scheme, "Bearer") {
			return bellhop.Reject(bellhop.ReasonCredentialsMissing, "no bearer token; let the sender carry the endpoint's key in Authorization")
		}
		if !oneOf(keys, strings.TrimSpace(token)) {
			return bellhop.Reject(bellhop.ReasonCredentialsWrong, "the bearer token is not the endpoint's key")
		}
		return nil
	}
}

// CIDR believes requests whose peer is in one of prefixes. An IPv4 address counts as such however it and the
// prefix are written; zones are ignored. No prefixes: nobody is believed.
func CIDR(prefixes []netip.Prefix) func(*bellhop.Request) error {
	unmapped := make([]netip.Prefix, 0, len(prefixes))
	for _, p := range prefixes {
		if p.Addr().Is4In6() && p.Bits() >= 96 {
			p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
		}
		unmapped = append(unmapped, p.Masked())
	}
	return func(r *bellhop.Request) error {
		addr := r.Remote.WithZone("").Unmap()
		for _, p := range unmapped {
			if p.Contains(addr) {
				return nil
			}
		}
		return bellhop.Reject(bellhop.ReasonAddressDenied, "the peer %s is in none of the listed networks", addr)
	}
}

// ClientCertificate believes requests whose TLS client certificate was verified against the listener's
// authorities and carries one of names: its common name, its whole subject (RFC 2253, "CN=quay,O=Example"),
// or one of its alternative names (DNS, mail, IP, URI). DNS names compare without regard to case; a wildcard
// in a certificate stands for nobody.
func ClientCertificate(names []string) func(*bellhop.Request) error {
	names = slices.DeleteFunc(slices.Clone(names), func(n string) bool { return n == "" })
	return func(r *bellhop.Request) error {
		if r.TLS == nil || len(r.TLS.VerifiedChains) == 0 || len(r.TLS.VerifiedChains[0]) == 0 {
			return bellhop.Reject(bellhop.ReasonCertificateDenied, "no client certificate of a trusted authority")
		}
		if !carriesName(r.TLS.VerifiedChains[0][0], names) {
			return bellhop.Reject(bellhop.ReasonCertificateDenied, "the client certificate carries none of the listed names")
		}
		return nil
	}
}

func carriesName(c *x509.Certificate, names []string) bool {
	for _, n := range names {
		switch {
		case n == c.Subject.CommonName, n == c.Subject.String(), slices.Contains(c.EmailAddresses, n):
			return true
		case slices.ContainsFunc(c.DNSNames, func(d string) bool { return strings.EqualFold(n, d) }):
			return true
		}
		if addr, err := netip.ParseAddr(n); err == nil {
			for _, ip := range c.IPAddresses {
				if a, ok := netip.AddrFromSlice(ip); ok && a.Unmap() == addr.Unmap() {
					return true
				}
			}
		}
		for _, u := range c.URIs {
			if n == u.String() {
				return true
			}
		}
	}
	return false
}
