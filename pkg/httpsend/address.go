package httpsend

import (
	"net/netip"
	"net/url"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Address reads the setting at path as the http or https URL that messages go to. The problems say what is
// wrong with it and never show it: the URLs of incoming webhooks are credentials. With a fatal problem the
// URL is nil; plain http to anything but this machine is a warning.
func Address(path string, value bellhop.Secret) (*url.URL, bellhop.Problems) {
	return AddressSuchAs(path, value, "https://example.com/hook")
}

// AddressSuchAs is Address with an example of what to write.
func AddressSuchAs(path string, value bellhop.Secret, example string) (*url.URL, bellhop.Problems) {
	wrong := func(what string) (*url.URL, bellhop.Problems) {
		return nil, bellhop.Problems{bellhop.Wrong(path, "%s: write a URL such as %s", what, example)}
	}
	text := value.RevealString()
	if text == "" {
		return nil, bellhop.Problems{bellhop.Wrong(path, "is missing: write it here, or under the key address of the Secret named by secretRef")}
	}
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return wrong("is not a URL")
	case u.Scheme != "http" && u.Scheme != "https":
		return wrong("is neither http nor https")
	case u.Hostname() == "":
		return wrong("names no host")
	case strings.Contains(u.Host, "%"):
		return wrong("names a network interface")
	}
	u.Fragment, u.RawFragment = "", ""
	ip, err := netip.ParseAddr(u.Hostname())
	if err == nil && refused(ip) {
		return wrong("is a link-local or metadata address, which nothing is sent to")
	}
	local := err == nil && ip.Unmap().IsLoopback() || strings.EqualFold(u.Hostname(), "localhost")
	if u.Scheme == "http" && !local {
		return u, bellhop.Problems{bellhop.Doubtful(path, "is plain http: messages and credentials can be read on the way; write https if the server speaks it")}
	}
	return u, nil
}
