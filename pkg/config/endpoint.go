package config

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
	"github.com/bellhop-dev/bellhop/pkg/route"
	"github.com/bellhop-dev/bellhop/pkg/verify"
)

// endpointSettings are the keys that endpoints of all sources have; a source's own are beside them.
type endpointSettings struct {
	Name      string         `yaml:"name" doc:"what the endpoint is called in routes, logs and metrics"`
	Source    string         `yaml:"source" doc:"the kind of sender, such as github"`
	KeyPath   string         `yaml:"keyPath" doc:"the file of the key that is shared with the sender, beside this file or under the secrets"`
	KeyPaths  []string       `yaml:"keyPaths" doc:"several of them while a key is changed: each has its own URL, and any verifies at all of them"`
	SecretRef *secretKeyRef  `yaml:"secretRef" doc:"a Secret that holds the key"`
	Events    []string       `yaml:"events" doc:"the sender's event types or Bellhop's kinds that are relayed; all if left out"`
	When      string         `yaml:"when" doc:"CEL over event, body and headers: what is relayed"`
	Auth      *authSettings  `yaml:"auth" doc:"what a request must carry besides; all parts must hold, the key is their secret"`
	MaxBody   bellhop.Size   `yaml:"maxBody" doc:"the largest body, such as 5MiB"`
	RateLimit bellhop.Rate   `yaml:"rateLimit" doc:"requests beyond are told to come back, such as 10/s"`
	Window    *time.Duration `yaml:"duplicateWindow" doc:"how long a delivery is recognised when it comes again; 24h if left out, 0s for never"`
	Suspend   bool           `yaml:"suspend" doc:"true: all requests are told to come back"`
	Receiver  *fluxReceiver  `yaml:"fluxReceiver" doc:"the Receiver of Flux that the endpoint was: it keeps that one's URL"`
}

// fluxReceiver names a Receiver of Flux. Flux hashed the name with the token, so the endpoint's URL stays what
// the sender knows.
type fluxReceiver struct {
	Name      string `yaml:"name" doc:"the Receiver's name"`
	Namespace string `yaml:"namespace" doc:"its namespace"`
}

type secretKeyRef struct {
	Name string `yaml:"name" doc:"the Secret's name"`
	Key  string `yaml:"key" doc:"the key in it; token if left out"`
}

type authSettings struct {
	Basic       *basicSettings       `yaml:"basic" doc:"HTTP basic authentication with the key as password"`
	Bearer      bool                 `yaml:"bearer" doc:"Authorization: Bearer with the key"`
	Header      string               `yaml:"header" doc:"a header that holds the key"`
	CIDRs       []string             `yaml:"cidrs" doc:"networks that requests may come from, such as 10.0.0.0/8"`
	Certificate *certificateSettings `yaml:"clientCertificate" doc:"a TLS client certificate that the listener verified"`
}

type basicSettings struct {
	Username string `yaml:"username" doc:"the user name"`
}

type certificateSettings struct {
	Names []string `yaml:"names" doc:"common, subject or alternative names, one of which it must carry"`
}

// fluxRecvSettings are the keys of an endpoint of flux-recv.
type fluxRecvSettings struct {
	Source       string `yaml:"source"`
	KeyPath      string `yaml:"keyPath"`
	RegistryHost string `yaml:"registryHost"`
}

// endpointSpec is an endpoint as it is written.
type endpointSpec struct {
	place
	endpointSettings
	// dialect is a fresh struct of the keys that the dialect gives to all endpoints, for strict decoding.
	dialect func() any
	// problems are those of the keys above; decoding them with the source's replaces them.
	problems bellhop.Problems

	// registryHost and flux are flux-recv's: what is hashed with the key, and the provider that is notified.
	registryHost string
	flux         *providerSpec
}

// fingerprint is the last element of the endpoint's path for a key.
func (s *endpointSpec) fingerprint(key bellhop.Secret) string {
	if s.keyless() {
		key = bellhop.Secret{}
	}
	if r := s.Receiver; r != nil {
		return key.Fingerprint(r.Name + r.Namespace)
	}
	return key.Fingerprint(s.registryHost)
}

// keyless reports whether the endpoint needs no key, as Flux's Receivers of type generic-oidc do: their requests
// prove themselves by an issuer's token, and their URL is made of the names alone.
func (s *endpointSpec) keyless() bool {
	return s.Receiver != nil && s.KeyPath == "" && s.KeyPaths == nil && s.SecretRef == nil && strict.Has(s.node, "oidc")
}

// unknownKey is a key that nobody has.
func unknownKey() bellhop.Secret {
	b := make([]byte, 32)
	rand.Read(b) // never fails
	return bellhop.NewSecret(b)
}

func readEndpoint(at place) *endpointSpec {
	spec := &endpointSpec{place: at, dialect: func() any { return new(endpointSettings) }}
	spec.problems = strict.DecodeKnown(at.file, at.path, at.node, nil, &spec.endpointSettings)
	return spec
}

func readFluxRecvEndpoint(at place) *endpointSpec {
	spec := &endpointSpec{place: at, dialect: func() any { return new(fluxRecvSettings) }}
	var s fluxRecvSettings
	spec.problems = strict.DecodeKnown(at.file, at.path, at.node, nil, &s)
	spec.Source, spec.KeyPath, spec.registryHost = s.Source, s.KeyPath, s.RegistryHost
	return spec
}

// nameEndpoints checks the names that are written and derives those that are not: the names of others
// never change because a flux-recv file comes along.
func (l *load) nameEndpoints() {
	for _, spec := range l.model.endpoints {
		if spec.flux == nil {
			l.claimName(l.endpoints, spec.place, spec.Name, "app-repo")
		}
	}
	for _, spec := range l.model.endpoints {
		if spec.flux != nil && spec.Source != "" {
			base := strings.ToLower(spec.Source)
			if kind, ok := l.Catalog.Source(spec.Source); ok {
				base = kind.Name
			}
			spec.Name = freeName(l.endpoints, base)
			l.endpoints[spec.Name] = spec.place
		}
	}
}

// buildEndpoint makes the endpoint, nil if something is wrong with it.
func (l *load) buildEndpoint(spec *endpointSpec) *Endpoint {
	before := len(l.problems)
	kind, known := l.Catalog.Source(spec.Source)
	keys := l.endpointKeys(spec)
	ep := &Endpoint{
		Name: spec.Name, Kind: kind, Keys: keys, Events: spec.Events, Verification: kind.Source.Verification,
		MaxBody: spec.MaxBody, RateLimit: spec.RateLimit, Window: DefaultWindow, Suspend: spec.Suspend,
		Position: spec.position(),
	}
	if spec.Window != nil {
		ep.Window = *spec.Window
	}
	for _, c := range kind.Source.Credentials {
		ep.Credentials = append(ep.Credentials, http.CanonicalHeaderKey(c))
	}
	for _, k := range keys {
		ep.Fingerprints = append(ep.Fingerprints, spec.fingerprint(k))
	}
	if known {
		l.buildSource(ep, spec, keys)
	} else {
		l.report(l.unknownSource(spec))
	}
	l.report(spec.problems...)
	for i, e := range spec.Events {
		if strings.TrimSpace(e) == "" {
			l.report(spec.problem(fmt.Sprintf("events[%d]", i), "is empty: write an event type, such as push"))
		}
	}
	if r := spec.Receiver; r != nil && (r.Name == "" || r.Namespace == "") && len(spec.problems) == 0 {
		l.report(spec.problem("fluxReceiver", "says not which: write the name and the namespace that the Receiver had, both are in its URL"))
	}
	ep.When = l.condition(spec.place, spec.When)
	if spec.Auth != nil {
		l.buildAuth(ep, spec, keys)
	}
	switch _, warned := ep.Source.(bellhop.Verified); { // such a source knows better what to say
	case !known || warned || ep.Verification != bellhop.ByPath:
	case spec.lenient(kind):
		l.report(spec.warning("source", "as under flux-recv, requests of %s without a signature are believed: once its hook signs, write the endpoint in the form of bellhop.dev/v1 to insist", kind.Name))
	case spec.Auth == nil:
		l.report(spec.warning("source", "%s cannot sign: whoever learns the URL is believed; narrow it with auth, such as auth: {cidrs: [192.0.2.0/24]}", kind.Name))
	}
	if len(l.problems[before:].Fatal()) > 0 || spec.Name == "" {
		return nil
	}
	return ep
}

// lenient reports whether the endpoint accepts unsigned requests because flux-recv did.
func (s *endpointSpec) lenient(kind bellhop.Kind[bellhop.Source]) bool {
	return s.flux != nil && kind.Source.Lenient
}

// buildSource makes the source of ep. A missing key is stood in for, so that the rest is checked all the same.
func (l *load) buildSource(ep *Endpoint, spec *endpointSpec, keys []bellhop.Secret) {
	setup := l.setup(spec.Name)
	setup.Keys, setup.Lenient = keys, spec.lenient(ep.Kind)
	if len(keys) == 0 {
		setup.Keys = []bellhop.Secret{bellhop.NewSecret(bytes.Repeat([]byte("0"), 64))}
	}
	setup.Decode = func(into any) error {
		spec.problems = strict.Decode(spec.file, spec.path, spec.node, nil, spec.dialect(), into)
		return unsettled(spec.problems, spec.path, into)
	}
	source, err := ep.Kind.Build(setup)
	ep.Source = source
	switch v, ok := source.(bellhop.Verified); {
	case ok:
		ep.Verification = v.Verification()
	case setup.Lenient:
		ep.Verification = bellhop.ByPath // who signs nothing is believed all the same
	}
	if !errors.Is(err, errUnsettled) {
		l.report(spec.locate(bellhop.AsProblems(err))...)
	}
}

func (l *load) unknownSource(spec *endpointSpec) bellhop.Problem {
	var names []string
	for _, k := range l.Catalog.Sources {
		names = append(names, k.Name)
	}
	if spec.Source == "" {
		return spec.problem("source", "says no source: write one of %s", strings.Join(names, ", "))
	}
	return spec.problem("source", "unknown source %q: %s", spec.Source, meant(spec.Source, names))
}

// weakKey is the length in bytes under which a key is easily guessed. The URL holds its digest, so that
// whoever sees the URL can try keys at leisure.
const weakKey = 16

// endpointKeys reads the endpoint's keys and checks that each is good and used once.
func (l *load) endpointKeys(spec *endpointSpec) []bellhop.Secret {
	given := 0
	for _, g := range []bool{spec.KeyPath != "", spec.KeyPaths != nil, spec.SecretRef != nil} {
		if g {
			given++
		}
	}
	switch {
	case given > 1:
		l.report(spec.problem("", "the key is named twice: keep one of keyPath, keyPaths and secretRef"))
		return nil
	case spec.SecretRef != nil:
		return l.checkedKeys(spec, []keyFile{l.secretKey(spec)})
	case spec.KeyPaths != nil:
		if len(spec.KeyPaths) == 0 {
			l.report(spec.problem("keyPaths", "the list is empty: name at least one key file"))
		}
		var keys []keyFile
		for i, p := range spec.KeyPaths {
			keys = append(keys, l.keyFile(spec, fmt.Sprintf("keyPaths[%d]", i), p))
		}
		return l.checkedKeys(spec, keys)
	case spec.KeyPath != "":
		return l.checkedKeys(spec, []keyFile{l.keyFile(spec, "keyPath", spec.KeyPath)})
	case spec.keyless():
		at := place{spec.file, strict.Join(spec.path, "fluxReceiver"), strict.Find(spec.node, "fluxReceiver")}
		if l.claimFingerprint(at, spec.fingerprint(bellhop.Secret{})) {
			return []bellhop.Secret{unknownKey()}
		}
		return nil
	}
	if len(spec.problems) == 0 {
		l.report(spec.problem("keyPath", `names no key: make one with "bellhop keygen" and write keyPath: FILE`))
	}
	return nil
}

// keyFile is a key as it was found; data is nil if it was not.
type keyFile struct {
	path string // in the endpoint
	file string
	data []byte
	// stored: file is NAME/KEY of a Secret.
	stored bool
}

// String is what a message calls it.
func (f keyFile) String() string {
	if f.stored {
		name, key, _ := strings.Cut(f.file, "/")
		return fmt.Sprintf("the Secret %q, key %q", name, key)
	}
	return f.file
}

// command makes such a key.
func (f keyFile) command() string {
	if f.stored {
		return "bellhop keygen"
	}
	return "bellhop keygen > " + f.file
}

func (l *load) keyFile(spec *endpointSpec, path, name string) keyFile {
	if !filepath.IsLocal(name) {
		l.report(spec.problem(path, "%q leads out of the directory: write a path beside this file or under the secrets", name))
		return keyFile{}
	}
	data, looked, err := l.files.key(spec.file, name)
	if l.stored != nil && errors.Is(err, fs.ErrNotExist) {
		return l.storedKey(spec, path, name, looked[0])
	}
	switch {
	case errors.Is(err, fs.ErrNotExist):
		l.reportMissing(name, spec.problem(path, "no key file %q: looked for %s; make one with: bellhop keygen > %s",
			name, strings.Join(looked, " and "), looked[len(looked)-1]))
	case err != nil:
		l.report(spec.problem(path, "reading the key file %s: %v", looked[0], err))
	default:
		return keyFile{path: path, file: looked[0], data: data}
	}
	return keyFile{}
}

// storedKey is the key of a keyPath that is not the file that was looked for.
func (l *load) storedKey(spec *endpointSpec, path, name, file string) keyFile {
	data, place, err := l.stored.key(name)
	switch {
	case errors.Is(err, errUnready):
	case errors.Is(err, fs.ErrNotExist):
		l.reportMissing(name, spec.problem(path, "no key %q: looked for %s and %s", name, file, missingKey(name)))
	case err != nil:
		l.report(spec.problem(path, "reading the key %q: %v", name, err))
	default:
		return keyFile{path: path, file: place, data: data, stored: true}
	}
	return keyFile{}
}

func (l *load) secretKey(spec *endpointSpec) keyFile {
	keys, ok := l.secret(spec.place, "secretRef", spec.SecretRef.Name, "token")
	if !ok {
		return keyFile{}
	}
	name := spec.SecretRef.Key
	if name == "" {
		name = "token"
	}
	data, ok := keys[name]
	if !ok {
		l.reportMissing(spec.SecretRef.Name+"/"+name, spec.problem("secretRef.key", "the Secret %q has no key %q: %s", spec.SecretRef.Name, name, meant(name, sortedKeys(keys))))
		return keyFile{}
	}
	if l.stored != nil {
		return keyFile{path: "secretRef", file: spec.SecretRef.Name + "/" + name, data: data, stored: true}
	}
	return keyFile{path: "secretRef", file: filepath.Join(l.Secrets, spec.SecretRef.Name, name), data: data}
}

func (l *load) checkedKeys(spec *endpointSpec, files []keyFile) []bellhop.Secret {
	var keys []bellhop.Secret
	for _, f := range files {
		trimmed := len(bytes.TrimSpace(f.data))
		switch {
		case f.path == "":
			continue
		case len(f.data) == 0:
			l.report(spec.problem(f.path, "the key in %s is empty: make one with: %s", f, f.command()))
			continue
		case trimmed == 0:
			l.report(spec.problem(f.path, "the key in %s is nothing but white space: make one with: %s", f, f.command()))
			continue
		case trimmed < weakKey:
			l.report(spec.warning(f.path, "the key in %s is shorter than %d bytes and could be guessed: make a better one with: %s", f, weakKey, f.command()))
		}
		key := bellhop.NewSecret(f.data)
		if l.claimFingerprint(place{spec.file, strict.Join(spec.path, f.path), strict.Find(spec.node, f.path)}, spec.fingerprint(key)) {
			keys = append(keys, key)
		}
	}
	return keys
}

// claimFingerprint notes that a URL is the endpoint's, unless it is another one's.
func (l *load) claimFingerprint(at place, fingerprint string) bool {
	if first, ok := l.fingerprint[fingerprint]; ok {
		l.report(at.problem("", "the key is the same as that of %s, and so would be the URL: give each endpoint its own key", first))
		return false
	}
	l.fingerprint[fingerprint] = at
	return true
}

// condition compiles the `when` at a place; nil for an empty one.
func (l *load) condition(at place, expr string) *route.Condition {
	if expr == "" {
		return nil
	}
	c, err := route.CompileCondition(expr)
	for _, p := range bellhop.AsProblems(err) {
		p.Path = strict.Join("when", p.Path)
		l.report(at.locate(bellhop.Problems{p})...)
	}
	return c
}

// buildAuth adds the checks of `auth:`.
func (l *load) buildAuth(ep *Endpoint, spec *endpointSpec, keys []bellhop.Secret) {
	a := spec.Auth
	if a.Basic == nil && !a.Bearer && a.Header == "" && a.CIDRs == nil && a.Certificate == nil && len(spec.problems) == 0 {
		l.report(spec.problem("auth", "asks for nothing: write one or more of basic, bearer, header, cidrs, clientCertificate"))
	}
	proves := false
	if spec.keyless() && (a.Basic != nil || a.Bearer || a.Header != "") {
		l.report(spec.problem("auth", "the endpoint has no key that basic, bearer or header could ask for: name one with keyPath"))
	}
	if a.Basic != nil {
		if a.Basic.Username == "" {
			l.report(spec.problem("auth.basic.username", "has no user name: write the one that the sender uses; the password is the endpoint's key"))
		}
		ep.Auth, proves = append(ep.Auth, verify.Basic(a.Basic.Username, keys)), true
	}
	if a.Bearer {
		if a.Basic != nil {
			l.report(spec.problem("auth.bearer", "a request has one Authorization header: keep either basic or bearer"))
		}
		ep.Auth, proves = append(ep.Auth, verify.Bearer(keys)), true
	}
	if a.Header != "" {
		if !validHeader(a.Header) {
			l.report(spec.problem("auth.header", "%q is no header's name: write one, such as X-Token", a.Header))
		}
		ep.Auth, proves = append(ep.Auth, verify.Header(a.Header, keys)), true
		ep.Credentials = append(ep.Credentials, http.CanonicalHeaderKey(a.Header))
	}
	if a.CIDRs != nil {
		var nets []netip.Prefix
		for i, c := range a.CIDRs {
			n, err := parseNetwork(c)
			if err != nil {
				l.report(spec.problem(fmt.Sprintf("auth.cidrs[%d]", i), "%q is no network: write an address and its length, such as 10.0.0.0/8", c))
			}
			nets = append(nets, n)
		}
		if len(nets) == 0 {
			l.report(spec.problem("auth.cidrs", "the list is empty and lets nobody in: write networks, such as [10.0.0.0/8]"))
		}
		ep.Auth = append(ep.Auth, verify.CIDR(nets))
	}
	if a.Certificate != nil {
		if len(a.Certificate.Names) == 0 {
			l.report(spec.problem("auth.clientCertificate.names", "lists no names: write those that the sender's certificate may carry"))
		}
		ep.Auth, proves = append(ep.Auth, verify.ClientCertificate(a.Certificate.Names)), true
	}
	if proves && ep.Verification == bellhop.ByPath {
		ep.Verification = bellhop.ByToken
	}
}

// parseNetwork reads a network, or an address for the network of itself.
func parseNetwork(s string) (netip.Prefix, error) {
	if addr, err := netip.ParseAddr(s); err == nil && addr.Zone() == "" {
		return netip.PrefixFrom(addr, addr.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	return p.Masked(), err
}

// validHeader reports whether s is a token of RFC 9110, section 5.6.2.
func validHeader(s string) bool {
	for i := range len(s) {
		c := s[i]
		if (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') && (c < '0' || c > '9') && !strings.ContainsRune("!#$%&'*+-.^_`|~", rune(c)) {
			return false
		}
	}
	return s != ""
}
