// Package flux reads the manifests of Flux's notification-controller, as users paste them, and says them in
// Bellhop's own dialect, so that there is one model, and `bellhop import` prints what loading uses.
// https://fluxcd.io/flux/components/notification/
//
// The kinds are Provider, Alert and Receiver of notification.toolkit.fluxcd.io (v1beta1, v1beta2, v1beta3, v1;
// the fields of all versions are understood in each), Secret (v1), and lists of them as `kubectl get -o yaml`
// prints. Of the metadata, name and namespace count; status is ignored.
//
// # Provider
//
// A Provider becomes a provider. What is not carried over: interval, since files are read when they change, and
// serviceAccountName. commitStatusExpr becomes the commitStatus of the routes that lead to the provider, as
// far as a template can say the same (see contextTemplate).
//
// # Alert
//
// An Alert becomes a route from the endpoints whose source is flux, where Flux's controllers post their events
// (--events-addr). Its sources, severity, inclusion and exclusion list become the route's `when`, eventMetadata
// and summary its `metadata`. Events that are mere updates of a commit's status reach git and generic providers
// only, as under Flux. An event that two Alerts bring to one Provider is sent once, in the first one's words.
//
// # Receiver
//
// A Receiver becomes an endpoint with the URL that it had under Flux, /hook/ and the SHA-256 of its token, name
// and namespace, a provider of type flux-reconcile, and a route from one to the other. Under Flux a Receiver
// asks for a reconciliation on any event, even one that says that an image or a branch is gone; flux-reconcile
// does not on those. Flux holds the list of events against the requests of GitHub, GitLab, Bitbucket and
// CDEvents only; for other types it is not carried over.
//
// # Names and namespaces
//
// Providers, endpoints, routes and Secrets have the names of the manifests. Where two namespaces use the same
// name for different things, each of them is called NAMESPACE-NAME. A manifest without a namespace is in
// "default".
package flux

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
)

const (
	group = "notification.toolkit.fluxcd.io/"
	// Opening is how a manifest begins.
	Opening = "apiVersion: " + group + "v1beta3 and kind: Provider, Alert or Receiver"
)

var versions = []string{"v1", "v1beta1", "v1beta2", "v1beta3"}

// kinds are the manifests of Flux; each translates itself.
var kinds = []string{"Provider", "Alert", "Receiver"}

// Speaks tells a document of the dialect by its head.
func Speaks(apiVersion, kind string) bool {
	return strings.HasPrefix(apiVersion, group) || apiVersion == "v1" && (kind == "Secret" || kind == "List")
}

// Set is the manifests of one configuration.
type Set struct {
	providers []*manifest[providerSpec]
	alerts    []*manifest[alertSpec]
	receivers []*manifest[receiverSpec]
	secrets   []*secret
	// known is where each object is.
	known map[object]string
	// written are the Secrets by their names in the translation, once somebody asked.
	written map[string]*secret
}

// object names a manifest.
type object struct{ kind, namespace, name string }

func (o object) String() string { return o.kind + " " + o.namespace + "/" + o.name }

// Empty reports whether no manifest was added.
func (s *Set) Empty() bool { return s.known == nil }

// manifest is one object with its spec.
type manifest[S any] struct {
	object
	file, path string
	// at is the spec, nameNode the name.
	at, nameNode *yaml.Node
	// placed is false if the manifest names no namespace.
	placed bool
	// broken: what is wrong with it was said when it was read, and it is not translated.
	broken bool
	spec   S
}

// Item is an endpoint, a provider or a route in Bellhop's own dialect. Its nodes have the positions of what
// they were made from.
type Item struct {
	File string
	// Path is that of the manifest's spec; see the function Path.
	Path string
	Node *yaml.Node
}

func (m *manifest[S]) item(node *yaml.Node) Item { return Item{m.file, m.specPath(), node} }

func (m *manifest[S]) specPath() string { return strict.Join(m.path, "spec") }

func (m *manifest[S]) problem(at *yaml.Node, path, format string, args ...any) bellhop.Problem {
	if at == nil {
		at = m.at
	}
	return bellhop.Problem{
		File: m.file, Line: at.Line, Col: at.Column, Path: strict.Join(m.specPath(), path), Message: fmt.Sprintf(format, args...),
	}
}

func (m *manifest[S]) warning(at *yaml.Node, path, format string, args ...any) bellhop.Problem {
	p := m.problem(at, path, format, args...)
	p.Severity = bellhop.Warning
	return p
}

// ours are the names in a path that a manifest spells in another way.
var ours = regexp.MustCompile(`^((?:items\[\d+\]\.)*)spec\.(name|source|to\[\d+\]|when|from|objects|filter|metadata|fluxReceiver|gcr|oidc)([.\[]|$)`)

var theirs = map[string]string{
	"name": "metadata.name", "fluxReceiver": "metadata.name", "source": "spec.type", "to": "spec.providerRef.name", "when": "spec",
	"from": "spec", "objects": "spec.resources", "filter": "spec.resourceFilter", "metadata": "spec.eventMetadata",
	"gcr": "spec.secretRef", "oidc": "spec.oidcProviders[0]",
}

// Path is the manifest's path for a path in its translation; any other path stays as it is.
func Path(path string) string {
	m := ours.FindStringSubmatch(path)
	if m == nil {
		return path
	}
	name, _, _ := strings.Cut(m[2], "[")
	rest := m[3] + path[len(m[0]):]
	if name == "oidc" {
		rest = rule.ReplaceAllString(strings.Replace(rest, ".issuer", ".issuerURL", 1), ".validations$1.expression")
	}
	return m[1] + theirs[name] + rest
}

var rule = regexp.MustCompile(`^\.rules(\[\d+\])`)

// Add reads a document. path is empty, or that of the item in a list.
func (s *Set) Add(file, path string, doc *yaml.Node) bellhop.Problems {
	if s.known == nil {
		s.known = map[object]string{}
	}
	s.written = nil
	var head struct {
		APIVersion string `yaml:"apiVersion"`
		Kind       string `yaml:"kind"`
	}
	if ps := strict.DecodeKnown(file, path, doc, nil, &head); ps != nil {
		return ps
	}
	at := func(key, format string, args ...any) bellhop.Problems {
		return strict.Locate(file, path, doc, bellhop.Problems{bellhop.Wrong(key, format, args...)})
	}
	version, ours := strings.CutPrefix(head.APIVersion, group)
	switch {
	case (ours || head.APIVersion == "v1") && strings.HasSuffix(head.Kind, "List"):
		return s.addList(file, path, doc)
	case head.APIVersion == "v1" && head.Kind == "Secret":
		return s.addSecret(file, path, doc)
	case !ours:
		return at("", "a document of apiVersion %q, kind %q is none of the manifests that are understood: %s of %sv1beta3, and Secret of v1",
			head.APIVersion, head.Kind, strings.Join(kinds, ", "), group)
	case !slices.Contains(versions, version):
		return at("apiVersion", "version %q is not known here: write one of %s%s", head.APIVersion, group, strings.Join(versions, ", "))
	}
	switch head.Kind {
	case "Provider":
		return add(s, &s.providers, head.Kind, file, path, doc)
	case "Alert":
		return add(s, &s.alerts, head.Kind, file, path, doc)
	case "Receiver":
		return add(s, &s.receivers, head.Kind, file, path, doc)
	}
	return at("kind", "kind %q is not known here: write one of %s", head.Kind, strings.Join(kinds, ", "))
}

func (s *Set) addList(file, path string, doc *yaml.Node) (ps bellhop.Problems) {
	var list struct {
		APIVersion string       `yaml:"apiVersion"`
		Kind       string       `yaml:"kind"`
		Metadata   *yaml.Node   `yaml:"metadata"`
		Items      []*yaml.Node `yaml:"items"`
	}
	ps = strict.Decode(file, path, doc, nil, &list)
	for i, item := range list.Items {
		if item != nil {
			ps = append(ps, s.Add(file, strict.Join(path, fmt.Sprintf("items[%d]", i)), item)...)
		}
	}
	return ps
}

// objectMeta is what counts of an object's metadata.
type objectMeta struct {
	Name      string `yaml:"name"`
	Namespace string `yaml:"namespace"`
}

// unplaced is the namespace of manifests that name none; kubectl would take it, too.
const unplaced = "default"

// https://kubernetes.io/docs/concepts/overview/working-with-objects/names/#dns-subdomain-names
var objectName = regexp.MustCompile(`^[a-z0-9]([-.a-z0-9]{0,251}[a-z0-9])?$`)

// claim notes an object, and says what is wrong with its name.
func (s *Set) claim(kind, file, path string, doc, metadata *yaml.Node) (o object, placed bool, ps bellhop.Problems) {
	var meta objectMeta
	where := strict.Join(path, "metadata")
	if ps = strict.DecodeKnown(file, where, metadata, nil, &meta); ps != nil {
		return o, false, ps
	}
	o = object{kind, meta.Namespace, meta.Name}
	if meta.Namespace == "" {
		o.namespace = unplaced
	}
	p := strict.Locate(file, path, doc, bellhop.Problems{bellhop.Wrong("metadata.name", "")})
	first, twice := s.known[o]
	switch {
	case meta.Name == "":
		p[0].Message = "has no name: write the " + kind + "'s"
		return o, false, p
	case !objectName.MatchString(o.name) || !objectName.MatchString(o.namespace):
		p[0].Message = fmt.Sprintf("%q in the namespace %q is no name of Kubernetes: write small letters, digits, dots and dashes, a letter or digit first and last", o.name, o.namespace)
		return o, false, p
	case twice:
		p[0].Message = fmt.Sprintf("the %v is there already, in %s: keep one of them", o, first)
		return o, false, p
	}
	s.known[o] = fmt.Sprintf("%s:%d", file, p[0].Line)
	return o, meta.Namespace != "", nil
}

// add reads a manifest of Flux. One whose name is unusable is left out.
func add[S any](s *Set, to *[]*manifest[S], kind, file, path string, doc *yaml.Node) bellhop.Problems {
	var d struct {
		APIVersion string     `yaml:"apiVersion"`
		Kind       string     `yaml:"kind"`
		Metadata   *yaml.Node `yaml:"metadata"`
		Spec       *yaml.Node `yaml:"spec"`
		Status     *yaml.Node `yaml:"status"`
	}
	ps := strict.Decode(file, path, doc, nil, &d)
	o, placed, wrong := s.claim(kind, file, path, doc, d.Metadata)
	ps = append(ps, wrong...)
	m := &manifest[S]{object: o, file: file, path: path, at: d.Spec, placed: placed}
	if d.Spec == nil {
		return append(ps, strict.Locate(file, path, doc, bellhop.Problems{bellhop.Wrong("spec", "has no spec: write one")})...)
	}
	ps = append(ps, strict.Decode(file, m.specPath(), d.Spec, nil, &m.spec)...)
	if wrong == nil {
		m.nameNode, m.broken = strict.Find(d.Metadata, "name"), len(ps) > 0
		*to = append(*to, m)
	}
	return ps
}

// ref is a reference to an object of the same namespace.
type ref struct {
	Name *yaml.Node `yaml:"name"`
}

func (r *ref) String() string {
	if r == nil {
		return ""
	}
	return valueOf(r.Name)
}

// valueOf is a scalar's text, empty for nil and for what is no scalar.
func valueOf(n *yaml.Node) string {
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}
