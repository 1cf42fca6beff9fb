package config

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/route"
)

// providerSettings are the keys that providers of all types have; a type's own are beside them.
type providerSettings struct {
	Name        string        `yaml:"name" doc:"what the provider is called in routes, logs and metrics"`
	Type        string        `yaml:"type" doc:"the kind of destination, such as slack"`
	SecretRef   *secretRef    `yaml:"secretRef" doc:"the Secret with the address, token and what else the type takes"`
	CertRef     *secretRef    `yaml:"certSecretRef" doc:"the Secret with ca.crt, tls.crt and tls.key"`
	Proxy       string        `yaml:"proxy" secret:"proxy" doc:"the proxy's address"`
	ProxyRef    *secretRef    `yaml:"proxySecretRef" doc:"the Secret with the proxy's address, username and password; it wins over proxy"`
	Timeout     time.Duration `yaml:"timeout" doc:"of one attempt; 15s if left out"`
	Concurrency int           `yaml:"concurrency" doc:"how many deliveries at a time; 4 if left out"`
	RateLimit   bellhop.Rate  `yaml:"rateLimit" doc:"deliveries beyond wait, such as 1/s; the type's own if left out"`
	Retry       retrySettings `yaml:"retry" doc:"how long a delivery is tried again"`
	Suspend     bool          `yaml:"suspend" doc:"true: nothing is sent to it, and routes pass it by"`
	words       `doc:"in these words, unless a route has others"`
}

// fluxSettings are keys that a Provider of Flux has whatever its type. A type that has no use for one passes it by,
// with a warning: manifests are full of them.
type fluxSettings struct {
	Address  *yaml.Node `yaml:"address"`
	Channel  *yaml.Node `yaml:"channel"`
	Username *yaml.Node `yaml:"username"`
}

type secretRef struct {
	Name string `yaml:"name" doc:"the Secret's name"`
}

type retrySettings struct {
	MaxAge     time.Duration `yaml:"maxAge" doc:"from acceptance to dead; 24h if left out"`
	MinBackoff time.Duration `yaml:"minBackoff" doc:"the first wait; 1s if left out"`
	MaxBackoff time.Duration `yaml:"maxBackoff" doc:"the longest wait; 5m if left out"`
}

// words are templates over the event.
type words struct {
	Title   string  `yaml:"title" doc:"template of the title"`
	Message string  `yaml:"message" doc:"template of the message, CommonMark"`
	Link    string  `yaml:"link" doc:"template of the link"`
	Fields  []field `yaml:"fields" doc:"the facts under the message, each with a name and a template"`
	// Metadata is Flux's eventMetadata.
	Metadata map[string]string `yaml:"metadata" doc:"keys to add to the event's metadata, each with a template"`
}

type field struct {
	Name  string `yaml:"name" doc:"the fact's name"`
	Value string `yaml:"value" doc:"template of its value"`
}

func newProviderSettings() *providerSettings {
	return &providerSettings{Timeout: DefaultTimeout, Concurrency: DefaultConcurrency, Retry: retrySettings(DefaultRetry)}
}

// The keys that change how a provider is used but not how it is built: they are no part of its digest. The
// type counts by its kind's name, however it is spelt.
var usageKeys = []string{"type", "timeout", "concurrency", "rateLimit", "retry", "suspend", "title", "message", "link", "fields", "metadata"}

// Bounds of what a user may ask for.
const (
	maxConcurrency = 1000
	maxTimeout     = 10 * time.Minute
)

// providerSpec is a provider as it is written.
type providerSpec struct {
	place
	*providerSettings
	// problems are those of the keys above; decoding them with the type's replaces them.
	problems bellhop.Problems
	// fluxAPI is set for the provider of a flux-recv file.
	fluxAPI string
}

func readProvider(at place) *providerSpec {
	spec := &providerSpec{place: at, providerSettings: newProviderSettings()}
	spec.problems = strict.DecodeKnown(at.file, at.path, at.node, nil, spec.providerSettings)
	return spec
}

func (l *load) nameProviders() {
	for _, spec := range l.model.providers {
		if spec.fluxAPI == "" {
			l.claimName(l.providers, spec.place, spec.Name, "team")
		}
	}
	for _, spec := range l.model.providers {
		if spec.fluxAPI != "" {
			spec.Name = freeName(l.providers, "flux")
			l.providers[spec.Name] = spec.place
		}
	}
	for _, spec := range l.model.providers {
		if spec.Suspend {
			l.suspended[spec.Name] = true
		}
	}
}

// buildProvider makes the provider, nil if something is wrong with it.
func (l *load) buildProvider(spec *providerSpec) *Provider {
	before := len(l.problems)
	var secret, certs, proxy map[string][]byte
	if spec.SecretRef != nil {
		secret, _ = l.secret(spec.place, "secretRef", spec.SecretRef.Name, "address")
		// Once more, with what the Secret says.
		spec.providerSettings = newProviderSettings()
		spec.problems = strict.DecodeKnown(spec.file, spec.path, spec.node, secret, spec.providerSettings)
	}
	if spec.CertRef != nil {
		certs, _ = l.secret(spec.place, "certSecretRef", spec.CertRef.Name, "ca.crt")
	}
	if spec.ProxyRef != nil {
		proxy, _ = l.secret(spec.place, "proxySecretRef", spec.ProxyRef.Name, "address")
	}
	kind, known := l.Catalog.Provider(spec.Type)
	p := &Provider{
		Name: spec.Name, Kind: kind, Timeout: spec.Timeout, Concurrency: spec.Concurrency, Rate: spec.RateLimit,
		Retry: Retry(spec.Retry), Suspend: spec.Suspend, Position: spec.position(), Digest: spec.digest(kind.Name, secret, certs, proxy), Close: func() {},
	}
	if !p.Rate.Limited() {
		p.Rate = kind.Provider.Rate
	}
	client := l.clientOptions(spec, secret, certs, proxy)
	if known {
		l.checkCredential(spec, kind, secret)
		l.buildSender(p, spec, secret, client)
	} else {
		l.report(l.unknownType(spec))
	}
	l.report(spec.problems...)
	p.Message = l.message(spec.place, spec.words, nil)
	switch {
	case spec.Concurrency < 1 || spec.Concurrency > maxConcurrency:
		l.report(spec.problem("concurrency", "%d is out of range: write 1 to %d", spec.Concurrency, maxConcurrency))
	case spec.Timeout <= 0 || spec.Timeout > maxTimeout:
		l.report(spec.problem("timeout", "%v is out of range: write 10m at most, such as 15s", spec.Timeout))
	}
	switch r := spec.Retry; {
	case r.MinBackoff <= 0:
		l.report(spec.problem("retry.minBackoff", "%v would hammer the destination: write a wait, such as 1s", r.MinBackoff))
	case r.MinBackoff > r.MaxBackoff:
		l.report(spec.problem("retry.minBackoff", "%v is longer than maxBackoff, %v: shorten one or raise the other", r.MinBackoff, r.MaxBackoff))
	}
	if len(l.problems[before:].Fatal()) > 0 || spec.Name == "" {
		p.Close()
		return nil
	}
	return p
}

func (l *load) unknownType(spec *providerSpec) bellhop.Problem {
	var names []string
	for _, k := range l.Catalog.Providers {
		names = append(names, k.Name)
	}
	if spec.Type == "" {
		return spec.problem("type", "says no type: write one of %s", strings.Join(names, ", "))
	}
	return spec.problem("type", "unknown type %q: %s", spec.Type, meant(spec.Type, names))
}

// buildSender makes the client and the provider itself.
func (l *load) buildSender(p *Provider, spec *providerSpec, secret map[string][]byte, options httpsend.Options) {
	newClient := l.Client
	if newClient == nil {
		newClient = httpsend.NewClient
	}
	client, err := newClient(options)
	if err != nil {
		l.report(spec.locate(underRef(spec, bellhop.AsProblems(err)))...)
		// The rest is checked all the same.
		if client, err = newClient(httpsend.Options{}); err != nil {
			return
		}
	}
	p.Close = client.CloseIdleConnections
	setup := l.setup(spec.Name)
	setup.Client = client
	if setup.Logger != nil {
		setup.Logger = setup.Logger.With("provider", spec.Name)
	}
	setup.Decode = func(into any) error {
		spec.problems = strict.Decode(spec.file, spec.path, spec.node, secret, newProviderSettings(), into, new(fluxSettings))
		return unsettled(spec.problems, spec.path, into)
	}
	p.Provider, err = p.Kind.Build(setup)
	for _, problem := range bellhop.AsProblems(err) {
		switch {
		case errors.Is(err, errUnsettled):
		case spec.SecretRef != nil && secret == nil && fromSecret(spec, p.Kind.Settings, problem.Path):
			// The Secret is missing, and so is what is in it: one message is enough.
		case spec.fluxAPI != "":
			problem.Path = ""
			fallthrough
		default:
			l.report(spec.locate(bellhop.Problems{problem})...)
		}
	}
	for _, f := range strict.Fields(reflect.TypeFor[fluxSettings]()) {
		if strict.Has(spec.node, f.Name) && !slices.ContainsFunc(strict.Fields(p.Kind.Settings), func(own strict.Field) bool { return own.Name == f.Name }) {
			l.report(spec.warning(f.Name, "is ignored: providers of type %s have none; leave it out", p.Kind.Name))
		}
	}
	if c, ok := p.Provider.(io.Closer); ok {
		p.Close = func() {
			// It is out of use: there is nobody to tell.
			_ = c.Close()
			client.CloseIdleConnections()
		}
	}
}

// fromSecret reports whether the setting at path could come from the Secret and is not in the file.
func fromSecret(spec *providerSpec, settings reflect.Type, path string) bool {
	if settings == nil || settings.Kind() != reflect.Struct {
		return false
	}
	return slices.ContainsFunc(strict.Fields(settings), func(f strict.Field) bool {
		return f.Secrets != nil && (f.Name == path || slices.Contains(f.Secrets, path)) && !strict.Has(spec.node, path)
	})
}

// underRef places problems with certificates at the Secret that they come from.
func underRef(spec *providerSpec, ps bellhop.Problems) bellhop.Problems {
	ref := "secretRef"
	if spec.CertRef != nil {
		ref = "certSecretRef"
	}
	for i, p := range ps {
		switch {
		case p.Path != "proxy":
			ps[i].Path = strict.Join(ref, p.Path)
		case spec.ProxyRef != nil:
			ps[i].Path = "proxySecretRef.address"
		case !strict.Has(spec.node, "proxy"):
			ps[i].Path = "secretRef.proxy"
		}
	}
	return ps
}

// clientOptions are what the provider's client is made from. certSecretRef wins over secretRef as in Flux.
func (l *load) clientOptions(spec *providerSpec, secret, certs, proxy map[string][]byte) httpsend.Options {
	o := httpsend.Options{Proxy: l.proxy(spec, proxy)}
	ref := "certSecretRef"
	if spec.CertRef == nil {
		ref, certs = "secretRef", secret
	}
	one := func(keys ...string) []byte {
		for _, k := range keys {
			if len(bytes.TrimSpace(certs[k])) > 0 {
				return certs[k]
			}
		}
		return nil
	}
	o.CA = one("ca.crt", "caFile")
	o.Cert = one("tls.crt", "certFile")
	key := one("tls.key", "keyFile")
	switch {
	case o.Cert != nil && key == nil:
		l.report(spec.problem(ref, "the Secret has a client certificate without its key: add tls.key"))
		o.Cert = nil
	case o.Cert == nil && key != nil:
		l.report(spec.problem(ref, "the Secret has a key without its client certificate: add tls.crt"))
	case key != nil:
		o.Key = bellhop.NewSecret(key)
	case o.CA == nil && spec.CertRef != nil && certs != nil:
		l.report(spec.problem(ref, "the Secret %q has no certificates: add ca.crt, or tls.crt and tls.key", spec.CertRef.Name))
	}
	return o
}

// proxy is the provider's proxy, nil if none is set. The Secret of proxySecretRef wins over proxy, as in Flux.
func (l *load) proxy(spec *providerSpec, secret map[string][]byte) *url.URL {
	at, address := "proxy", spec.Proxy
	if spec.ProxyRef != nil {
		at, address = "proxySecretRef", text(secret["address"])
		if address == "" && secret != nil {
			l.report(spec.problem(at, "the Secret %q has no key \"address\": add the proxy's, such as http://proxy.example:3128", spec.ProxyRef.Name))
		}
	}
	if address == "" {
		return nil
	}
	u, err := url.Parse(address)
	if err != nil {
		// The error would show the address, which may hold a password.
		l.report(spec.problem(at, "is no URL: write an address such as http://proxy.example:3128"))
		return nil
	}
	user, password := text(secret["username"]), text(secret["password"])
	switch {
	case user == "" && password != "":
		l.report(spec.problem(at, "half a login: add the key \"username\" to the Secret %q", spec.ProxyRef.Name))
	case user != "":
		u.User = url.UserPassword(user, password)
	}
	return u
}

// text is a Secret's value without the white space that editors leave around it.
func text(value []byte) string { return string(bytes.TrimSpace(value)) }

// checkCredential refuses half a login where the kind takes one.
func (l *load) checkCredential(spec *providerSpec, kind bellhop.Kind[bellhop.Provider], secret map[string][]byte) {
	if kind.Settings == nil || kind.Settings.Kind() != reflect.Struct || secret == nil {
		return
	}
	given := func(key string) (set, takes bool) {
		for _, f := range strict.Fields(kind.Settings) {
			if slices.Contains(f.Secrets, key) {
				takes = true
				set = set || f.Name != "" && strict.Has(spec.node, f.Name)
			}
		}
		return set || len(bytes.TrimSpace(secret[key])) > 0, takes
	}
	user, takesUser := given("username")
	password, takesPassword := given("password")
	if takesUser && takesPassword && user != password {
		missing := "password"
		if password {
			missing = "username"
		}
		l.report(spec.problem("secretRef", "half a login: add the key %q to the Secret %q", missing, spec.SecretRef.Name))
	}
}

// message compiles the words at a place; nil if there are none.
func (l *load) message(at place, w words, status *commitStatusSettings) *route.Message {
	if w.Title == "" && w.Message == "" && w.Link == "" && w.Fields == nil && w.Metadata == nil && status == nil {
		return nil
	}
	spec := route.MessageSpec{Title: w.Title, Message: w.Message, Link: w.Link, Metadata: w.Metadata}
	if status != nil {
		spec.CommitStatus = &route.CommitStatusSpec{State: status.State, Context: status.Context, Description: status.Description}
	}
	for _, f := range w.Fields {
		spec.Fields = append(spec.Fields, bellhop.Field(f))
	}
	m, err := route.CompileMessage(spec)
	l.report(at.locate(bellhop.AsProblems(err))...)
	return m
}

// secret reads the Secret called name, which path refers to; example is a key that one would put into it.
func (l *load) secret(at place, path, name, example string) (map[string][]byte, bool) {
	at = place{at.file, strict.Join(at.path, path), strict.Find(at.node, path)}
	switch {
	case name == "" && (at.node.Kind == yaml.ScalarNode || misread(at.node, "name")):
		return nil, false
	case name == "":
		l.report(at.problem("name", "has no name: write the name of a Secret"))
		return nil, false
	case l.Secrets == "" && l.stored == nil && l.manifests.Secret(name) == nil:
		l.report(at.problem("", "no directory of Secrets is set: name it with --secrets or BELLHOP_SECRETS"))
		return nil, false
	case !filepath.IsLocal(name) || strings.ContainsAny(name, `/\`) || strings.HasPrefix(name, "."):
		l.report(at.problem("name", "%q is no Secret's name: write one directory's name under the secrets", name))
		return nil, false
	}
	keys, err := l.readSecret(name)
	dir := filepath.Join(l.Secrets, name)
	if l.stored != nil {
		dir = "the namespace"
	}
	switch {
	case errors.Is(err, errUnready):
	case errors.Is(err, fs.ErrNotExist) && l.stored != nil:
		l.reportMissing(name+"/"+example, at.problem("name", "no Secret %q in the namespace; make it with: kubectl create secret generic %s --from-literal=%s=…",
			name, name, example))
	case errors.Is(err, fs.ErrNotExist):
		l.reportMissing(name+"/"+example, at.problem("name", "no Secret %q: looked for the directory %s; make the Secret with: kubectl create secret generic %s --from-literal=%s=…, and mount it there",
			name, dir, name, example))
	case err != nil:
		l.report(at.problem("name", "reading the Secret %q in %s: %v", name, dir, err))
	case l.secrets[name].written && l.manifests.Broken(name):
		// What is wrong with it is said already.
	case len(keys) == 0:
		l.report(at.problem("name", "the Secret %q in %s is empty: add a key, such as %s", name, dir, example))
	default:
		return keys, true
	}
	return nil, false
}

// readSecret is the Secret that is mounted under the name, else the one that is written among the manifests.
func (l *load) readSecret(name string) (map[string][]byte, error) {
	s, ok := l.secrets[name]
	if !ok {
		s.err = fs.ErrNotExist
		switch {
		case l.stored != nil:
			s.keys, s.err = l.stored.secret(name)
		case l.Secrets != "":
			s.keys, s.err = l.files.secret(name)
		}
		if written := l.manifests.Secret(name); written != nil && errors.Is(s.err, fs.ErrNotExist) {
			s = mounted{keys: written, written: true}
		}
		l.secrets[name] = s
	}
	return s.keys, s.err
}

// digest covers all that the provider is built from.
func (s *providerSpec) digest(kind string, secrets ...map[string][]byte) string {
	b := fmt.Appendf(nil, "%q %q ", s.Name, kind)
	b = strict.AppendCanonical(b, s.node, usageKeys...)
	for _, secret := range secrets {
		for _, k := range sortedKeys(secret) {
			b = fmt.Appendf(b, " %q %d ", k, len(secret[k]))
			b = append(b, secret[k]...)
		}
		b = append(b, ';')
	}
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func sortedKeys[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
