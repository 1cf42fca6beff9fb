package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/flux"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
)

// dialect is one of the languages that a document can be written in. All of them fill the same model.
type dialect struct {
	// opening is how a document of the dialect begins, for those who wrote another one.
	opening string
	// speaks tells a document of the dialect, right version or not.
	speaks func(head header) bool
	// read checks the document and adds what it says to the model.
	read func(l *load, doc place)
}

// dialects are tried in turn. A directory may mix them.
var dialects = []dialect{native, fluxRecv, fluxManifests}

// header is what tells the dialects apart.
type header struct {
	FluxRecvVersion *yaml.Node `yaml:"fluxRecvVersion"`
	APIVersion      string     `yaml:"apiVersion"`
	Kind            string     `yaml:"kind"`
}

func (l *load) readDocument(doc place) {
	var head header
	if ps := strict.DecodeKnown(doc.file, "", doc.node, nil, &head); ps != nil {
		l.report(ps...)
		return
	}
	var openings []string
	for _, d := range dialects {
		if d.speaks(head) {
			d.read(l, doc)
			return
		}
		openings = append(openings, d.opening)
	}
	what := "this document says neither apiVersion nor fluxRecvVersion"
	if head.APIVersion != "" || head.Kind != "" {
		what = fmt.Sprintf("a document of apiVersion %q, kind %q is not understood", head.APIVersion, head.Kind)
	}
	l.report(doc.problem("", "%s: begin it with %s", what, strings.Join(openings, ", or with ")))
}

const (
	apiGroup   = "bellhop.dev/"
	apiVersion = apiGroup + "v1"
	kind       = "Config"
)

// native is Bellhop's own dialect, which says everything.
var native = dialect{
	opening: "apiVersion: " + apiVersion + " and kind: " + kind,
	speaks:  func(h header) bool { return strings.HasPrefix(h.APIVersion, apiGroup) },
	read:    readNative,
}

func readNative(l *load, doc place) {
	var d struct {
		APIVersion string       `yaml:"apiVersion"`
		Kind       string       `yaml:"kind"`
		Endpoints  []*yaml.Node `yaml:"endpoints"`
		Providers  []*yaml.Node `yaml:"providers"`
		Routes     []*yaml.Node `yaml:"routes"`
	}
	l.report(strict.Decode(doc.file, "", doc.node, nil, &d)...)
	if d.APIVersion != apiVersion {
		l.report(doc.problem("apiVersion", "version %q is not known here: write %s", d.APIVersion, apiVersion))
	}
	if d.Kind != kind {
		l.report(doc.problem("kind", "kind %q is not known here: write kind: %s", d.Kind, kind))
	}
	for i, n := range d.Endpoints {
		if n != nil {
			l.model.endpoints = append(l.model.endpoints, readEndpoint(item(doc, "endpoints", i, n)))
		}
	}
	for i, n := range d.Providers {
		if n != nil {
			l.model.providers = append(l.model.providers, readProvider(item(doc, "providers", i, n)))
		}
	}
	for i, n := range d.Routes {
		if n != nil {
			l.model.routes = append(l.model.routes, l.readRoute(item(doc, "routes", i, n)))
		}
	}
}

func item(doc place, list string, i int, n *yaml.Node) place {
	return place{doc.file, fmt.Sprintf("%s[%d]", list, i), n}
}

// fluxRecv is the configuration of flux-recv, the receiver of Flux v1, unchanged
// (https://github.com/fluxcd/flux-recv). Endpoints have no names there: they are called after their source,
// a second one source-2. Each of them notifies the Flux at `api`, a provider of its own, by a route of its
// own. Its endpoints may hold the settings of their source as well.
var fluxRecv = dialect{
	opening: "fluxRecvVersion: 1",
	speaks:  func(h header) bool { return h.FluxRecvVersion != nil },
	read:    readFluxRecv,
}

// defaultFluxAPI is where flux-recv found Flux unless told otherwise: it ran beside it in the pod.
const defaultFluxAPI = "http://localhost:3030/api/flux"

func readFluxRecv(l *load, doc place) {
	var d struct {
		Version   int          `yaml:"fluxRecvVersion"`
		API       string       `yaml:"api"`
		Endpoints []*yaml.Node `yaml:"endpoints"`
	}
	ps := strict.Decode(doc.file, "", doc.node, nil, &d)
	l.report(ps...)
	if d.Version != 1 && len(ps) == 0 {
		l.report(doc.problem("fluxRecvVersion", "version %d is not known here: write 1", d.Version))
	}
	if d.API == "" {
		d.API = defaultFluxAPI
	}
	notified := l.fluxProvider(doc, strings.TrimRight(d.API, "/"))
	for i, n := range d.Endpoints {
		if n != nil {
			spec := readFluxRecvEndpoint(item(doc, "endpoints", i, n))
			spec.flux = notified
			l.model.endpoints = append(l.model.endpoints, spec)
		}
	}
}

// fluxProvider finds or adds the provider of a Flux API. It is written as a user would write it, at the
// place of `api`.
func (l *load) fluxProvider(doc place, api string) *providerSpec {
	for _, p := range l.model.providers {
		if p.fluxAPI == api {
			return p
		}
	}
	at := doc.locate(bellhop.Problems{{Path: "api"}})[0]
	scalar := func(v string) *yaml.Node {
		return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: v, Line: at.Line, Column: at.Col}
	}
	node := &yaml.Node{Kind: yaml.MappingNode, Line: at.Line, Column: at.Col, Content: []*yaml.Node{
		scalar("type"), scalar("flux"), scalar("address"), scalar(api),
	}}
	spec := readProvider(place{doc.file, "api", node})
	spec.fluxAPI = api
	l.model.providers = append(l.model.providers, spec)
	return spec
}

// fluxManifests are the manifests of Flux's notification-controller, and Secrets beside them. They refer to each
// other, so that they are collected first; package flux says them in the native dialect.
var fluxManifests = dialect{
	opening: flux.Opening,
	speaks:  func(h header) bool { return flux.Speaks(h.APIVersion, h.Kind) },
	read: func(l *load, doc place) {
		l.problems = append(l.problems, l.manifests.Add(doc.file, doc.path, doc.node)...)
	},
}

// readManifests adds what the manifests say to the model, once all documents are read.
func (l *load) readManifests() {
	if l.manifests.Empty() {
		return
	}
	around := flux.Surroundings{Providers: map[string]string{}, Secret: l.secretKeys}
	for _, ep := range l.model.endpoints {
		if kind, ok := l.Catalog.Source(ep.Source); ok && kind.Name == "flux" {
			around.Endpoints = append(around.Endpoints, ep.Name)
		}
	}
	for _, p := range l.model.providers {
		around.Providers[p.Name] = p.Type
	}
	said, ps := l.manifests.Translate(around)
	l.problems = append(l.problems, ps...)
	for _, it := range said.Endpoints {
		l.model.endpoints = append(l.model.endpoints, readEndpoint(place{it.File, it.Path, it.Node}))
	}
	for _, it := range said.Providers {
		l.model.providers = append(l.model.providers, readProvider(place{it.File, it.Path, it.Node}))
	}
	for _, it := range said.Routes {
		l.model.routes = append(l.model.routes, l.readRoute(place{it.File, it.Path, it.Node}))
	}
	for _, it := range said.Secrets {
		l.report(place{it.File, it.Path, it.Node}.warning("kind", "who may read this file may read the Secret: mount it as a directory "+
			"under the secrets instead, which wins over this"))
	}
}

// secretKeys are a Secret's keys; nil if there is none or it cannot be read, which is said where it is used.
func (l *load) secretKeys(name string) map[string][]byte {
	if !validName(name) {
		return nil
	}
	keys, err := l.readSecret(name)
	if err != nil {
		return nil
	}
	return keys
}
