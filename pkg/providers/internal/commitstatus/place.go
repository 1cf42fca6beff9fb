package commitstatus

import (
	"net/url"
	"slices"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

// Place is a repository at a git host.
type Place struct {
	// Base is the scheme, the host and the path, if any, that the host's software lies under.
	Base *url.URL
	// Repo is the repository as the host's API names it, such as owner/name.
	Repo string
}

// URL is a URL under the base; the elements are not escaped yet.
func (p Place) URL(elements ...string) *url.URL {
	escaped := make([]string, len(elements))
	for i, e := range elements {
		escaped[i] = url.PathEscape(e)
	}
	return p.Base.JoinPath(escaped...)
}

// Finder finds the repository in a clone URL or in a repository's page, whose path's segments are given:
// unescaped, none empty, the last without ".git". It returns how many of them come before the repository, as path
// of the base, and what the API calls it; false if there is no repository.
type Finder func(host string, path []string) (base []string, repo string, ok bool)

// OwnerAndName is the Finder of hosts whose repositories are /owner/name.
func OwnerAndName(_ string, path []string) (base []string, repo string, ok bool) {
	if len(path) != 2 {
		return nil, "", false
	}
	return nil, path[0] + "/" + path[1], true
}

// sshHosts are names that vendors give to their SSH servers where they differ.
var sshHosts = map[string]string{
	"ssh.github.com": "github.com", "altssh.gitlab.com": "gitlab.com", "altssh.bitbucket.org": "bitbucket.org",
	"ssh.dev.azure.com": "dev.azure.com", "vs-ssh.visualstudio.com": "dev.azure.com",
}

// readAddress reads the setting address.
func readAddress(s Spec) (Place, bellhop.Problems) {
	u, problems := httpsend.AddressSuchAs("address", bellhop.NewSecret([]byte(overHTTPS(s.Address.RevealString()))), s.Example)
	if u == nil {
		return Place{}, problems
	}
	at, ok := placeOf(u, s.Find)
	switch {
	case ok:
		return at, problems
	case strings.Trim(u.Path, "/") != "":
		return Place{}, append(problems, bellhop.Wrong("address",
			"names no repository: write a repository's URL such as %s, or the host's alone for the repository of each event", s.Example))
	}
	return Place{Base: root(u)}, problems
}

// place is the repository that the event is about at this provider's host; false if it is not one that the
// provider reports on. Flux's events name none: they are about the one of the address.
func (r Reporter) place(e *bellhop.Event) (Place, bool) {
	var at Place
	known := e.Repo != (bellhop.Repo{}) && e.Kind != bellhop.KindFlux
	for _, text := range []string{e.Repo.HTTPURL, e.Repo.WebURL, e.Repo.SSHURL} {
		if u, err := url.Parse(overHTTPS(strings.TrimSpace(text))); at.Repo == "" && err == nil && u.Host != "" {
			at, _ = placeOf(u, r.find)
		}
	}
	if path := segments(e.Repo.Name); at.Repo == "" && len(path) >= 2 {
		at = Place{r.at.Base, strings.Join(path, "/")}
	}
	switch {
	case r.at.Repo != "" && (!known || number(r.at.Repo) || strings.EqualFold(at.Repo, r.at.Repo)):
		return r.at, true
	case r.at.Repo != "" || !known || at.Repo == "" || !strings.EqualFold(at.Base.Hostname(), r.at.Base.Hostname()):
		return Place{}, false
	}
	// The credentials go to the configured server, whatever the event says of scheme and port.
	base := *at.Base
	base.Scheme, base.Host = r.at.Base.Scheme, r.at.Base.Host
	return Place{&base, at.Repo}, true
}

// placeOf is the repository that a URL names.
func placeOf(u *url.URL, find Finder) (Place, bool) {
	path := segments(u.Path)
	if path == nil {
		return Place{}, false
	}
	at := root(u)
	base, repo, ok := find(at.Hostname(), path)
	if !ok {
		return Place{}, false
	}
	if len(base) > 0 {
		at = Place{Base: at}.URL(base...)
	}
	return Place{at, repo}, true
}

// root is the URL's scheme and host.
func root(u *url.URL) *url.URL {
	at := &url.URL{Scheme: u.Scheme, Host: strings.ToLower(u.Host)}
	if host, ok := sshHosts[at.Host]; ok {
		at.Host = host
	}
	return at
}

// segments are a path's, the last without ".git"; nil if there are none, or one that would lead elsewhere.
func segments(path string) []string {
	path = strings.TrimSuffix(strings.Trim(path, "/"), ".git")
	parts := strings.Split(path, "/")
	if slices.ContainsFunc(parts, func(p string) bool { return p == "" || p == "." || p == ".." || p != httpsend.OneLine(p) }) {
		return nil
	}
	return parts
}

// overHTTPS is the https URL of a repository whose address is that of SSH: ssh://git@host:22/owner/name or
// git@host:owner/name. SSH's port is not that of the API. Other addresses stay as they are.
func overHTTPS(address string) string {
	if u, err := url.Parse(address); err == nil && (u.Scheme == "ssh" || u.Scheme == "git+ssh") && u.Hostname() != "" {
		return (&url.URL{Scheme: "https", Host: strings.TrimSuffix(u.Host, ":"+u.Port()), Path: u.Path}).String()
	}
	before, path, ok := strings.Cut(address, ":")
	if !ok || strings.Contains(before, "/") || strings.HasPrefix(path, "//") {
		return address
	}
	user, host, ok := strings.Cut(before, "@")
	if !ok || user == "" || host == "" {
		return address
	}
	return "https://" + host + "/" + strings.TrimPrefix(path, "/")
}

// number reports whether a repository is named by its number, which no event tells.
func number(repo string) bool { return strings.Trim(repo, "0123456789") == "" }
