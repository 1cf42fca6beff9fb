package flux

import (
	"fmt"
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Surroundings are what a Set does not know of itself.
type Surroundings struct {
	// Endpoints are the names of the endpoints that Flux's events come in at.
	Endpoints []string
	// Providers are the types of the providers that are configured beside the manifests, by name.
	Providers map[string]string
	// Secret finds a Secret by the name that it has in the translation, wherever it is; nil if there is none.
	Secret func(name string) map[string][]byte
}

// Native is a Set in Bellhop's own dialect.
type Native struct {
	Endpoints, Providers, Routes []Item
	// Alerts is how many of the routes are Alerts; they come first.
	Alerts int
	// Secrets are those that are written in the files, which have no translation: they are to be mounted.
	Secrets []Item
}

// translation is one Translate under way.
type translation struct {
	*Set
	Surroundings
	native                          Native
	problems                        bellhop.Problems
	provider, alert, receiver, refs names
	// objects are the Providers by what they are called in the cluster.
	objects map[object]*manifest[providerSpec]
	// takenProviders and takenRoutes are names that a Receiver's parts cannot have.
	takenProviders, takenRoutes map[string]bool
}

// Translate says the manifests in Bellhop's own dialect, and what of them it cannot say. What is fatally wrong
// with a manifest keeps that one out of the result.
func (s *Set) Translate(around Surroundings) (Native, bellhop.Problems) {
	t := &translation{
		Set: s, Surroundings: around, takenProviders: map[string]bool{}, takenRoutes: map[string]bool{},
		objects:  map[object]*manifest[providerSpec]{},
		provider: namesOf(s.providers), alert: namesOf(s.alerts), receiver: namesOf(s.receivers), refs: s.secretNames(),
	}
	for name := range around.Providers {
		t.takenProviders[name] = true
	}
	for _, p := range s.providers {
		t.objects[p.object] = p
		t.takenProviders[t.provider.of(p.namespace, p.name)] = true
		if !p.broken {
			t.translateProvider(p)
		}
	}
	for _, a := range s.alerts {
		if !a.broken {
			t.translateAlert(a)
		}
	}
	if len(s.alerts) > 0 && len(t.Endpoints) == 0 {
		a := s.alerts[0]
		t.report(a.warning(a.at, "eventSources", "no endpoint takes Flux's events, so that no Alert sees any: add one such as "+
			"{name: flux, source: flux, keyPath: flux.key}, and start Flux's controllers with --events-addr=URL, its hook URL"))
	}
	for _, r := range s.receivers {
		if !r.broken {
			t.translateReceiver(r)
		}
	}
	for _, secret := range s.secrets {
		t.native.Secrets = append(t.native.Secrets, secret.item)
	}
	return t.native, t.problems
}

func (t *translation) report(ps ...bellhop.Problem) { t.problems = append(t.problems, ps...) }

// A Provider.
// https://github.com/fluxcd/notification-controller/blob/main/docs/spec/v1beta3/providers.md
type providerSpec struct {
	Type               *yaml.Node `yaml:"type"`
	Interval           *yaml.Node `yaml:"interval"`
	Channel            *yaml.Node `yaml:"channel"`
	Username           *yaml.Node `yaml:"username"`
	Address            *yaml.Node `yaml:"address"`
	Timeout            *yaml.Node `yaml:"timeout"`
	Proxy              *yaml.Node `yaml:"proxy"`
	ProxySecretRef     *ref       `yaml:"proxySecretRef"`
	SecretRef          *ref       `yaml:"secretRef"`
	ServiceAccountName *yaml.Node `yaml:"serviceAccountName"`
	CertSecretRef      *ref       `yaml:"certSecretRef"`
	Suspend            *yaml.Node `yaml:"suspend"`
	CommitStatusExpr   *yaml.Node `yaml:"commitStatusExpr"`
}

// providerTypes are Flux's types that have another name here.
var providerTypes = map[string]string{"incident.io": "incidentio"}

func (t *translation) translateProvider(p *manifest[providerSpec]) {
	m := newMapping(p.at)
	m.setText("name", p.nameNode, t.provider.of(p.namespace, p.name))
	if ours, ok := providerTypes[valueOf(p.spec.Type)]; ok {
		m.setText("type", p.spec.Type, ours)
	} else {
		m.set("type", p.spec.Type)
	}
	m.set("channel", p.spec.Channel)
	m.set("username", p.spec.Username)
	m.set("address", p.spec.Address)
	t.setSecret(m, "secretRef", p.namespace, p.spec.SecretRef)
	t.setSecret(m, "certSecretRef", p.namespace, p.spec.CertSecretRef)
	m.set("proxy", p.spec.Proxy)
	t.setSecret(m, "proxySecretRef", p.namespace, p.spec.ProxySecretRef)
	m.set("timeout", p.spec.Timeout)
	m.set("suspend", p.spec.Suspend)
	if n := p.spec.ServiceAccountName; n != nil {
		t.report(p.warning(n, "serviceAccountName", "is not carried over: there is no workload identity here; give the provider its credentials in secretRef"))
	}
	t.native.Providers = append(t.native.Providers, p.item(m.Node))
}

// setSecret adds a reference to a Secret of the namespace.
func (t *translation) setSecret(m mapping, key, namespace string, r *ref) {
	if r == nil {
		return
	}
	at := r.Name
	if at == nil {
		at = m.Node
	}
	inner := newMapping(at)
	if name := r.String(); name != "" {
		inner.setText("name", at, t.refs.of(namespace, name))
	}
	m.set(key, short(inner.Node))
}

// An Alert.
// https://github.com/fluxcd/notification-controller/blob/main/docs/spec/v1beta3/alerts.md
type alertSpec struct {
	ProviderRef   *ref                  `yaml:"providerRef"`
	EventSeverity *yaml.Node            `yaml:"eventSeverity"`
	EventSources  []objectRef           `yaml:"eventSources"`
	InclusionList []*yaml.Node          `yaml:"inclusionList"`
	ExclusionList []*yaml.Node          `yaml:"exclusionList"`
	EventMetadata map[string]*yaml.Node `yaml:"eventMetadata"`
	Summary       *yaml.Node            `yaml:"summary"`
	Suspend       *yaml.Node            `yaml:"suspend"`
}

// objectRef names objects of the cluster.
type objectRef struct {
	APIVersion  *yaml.Node `yaml:"apiVersion"`
	Kind        *yaml.Node `yaml:"kind"`
	Name        *yaml.Node `yaml:"name"`
	Namespace   *yaml.Node `yaml:"namespace"`
	MatchLabels *yaml.Node `yaml:"matchLabels"`
}

func (t *translation) translateAlert(a *manifest[alertSpec]) {
	name, provider, ok := t.providerOf(a)
	when, whole := t.alertCondition(a, t.typeOf(name, provider))
	if !ok || !whole {
		return
	}
	m := newMapping(a.at)
	m.setText("name", a.nameNode, t.alert.of(a.namespace, a.name))
	t.takenRoutes[t.alert.of(a.namespace, a.name)] = true
	if len(t.Endpoints) > 0 {
		from := list(a.at)
		for _, e := range t.Endpoints {
			from.Content = append(from.Content, scalar(a.at, e))
		}
		m.set("from", short(from))
	}
	m.setText("when", a.at, when)
	m.set("to", short(list(a.spec.ProviderRef.Name, scalar(a.spec.ProviderRef.Name, name))))
	metadata := newMapping(a.at)
	for _, key := range sortedKeys(a.spec.EventMetadata) {
		if n := a.spec.EventMetadata[key]; n != nil && (key != "summary" || a.spec.Summary == nil) {
			metadata.set(key, literal(n))
		}
	}
	if a.spec.Summary != nil {
		metadata.set("summary", literal(a.spec.Summary))
	}
	if len(metadata.Content) > 0 {
		m.set("metadata", metadata.Node)
	}
	t.setStatus(m, a, provider)
	m.set("suspend", a.spec.Suspend)
	t.native.Routes = append(t.native.Routes, a.item(m.Node))
	t.native.Alerts++
}

// literal is a text that a template shows as it is.
func literal(n *yaml.Node) *yaml.Node {
	c := copyOf(n)
	if c.Kind == yaml.ScalarNode {
		c.Value = escape(c.Value)
	}
	return c
}

// providerOf finds the provider that an Alert notifies: the Provider of its namespace, else one that is
// configured beside the manifests, with a nil manifest.
func (t *translation) providerOf(a *manifest[alertSpec]) (name string, p *manifest[providerSpec], ok bool) {
	name = a.spec.ProviderRef.String()
	if name == "" {
		t.report(a.problem(nil, "providerRef", "names no provider: write the name of a Provider of the namespace %q", a.namespace))
		return "", nil, false
	}
	if p = t.objects[object{"Provider", a.namespace, name}]; p != nil {
		return t.provider.of(a.namespace, name), p, !p.broken
	}
	if _, ok = t.Providers[name]; !ok {
		t.report(a.problem(a.spec.ProviderRef.Name, "providerRef.name", "there is no Provider %q in the namespace %q: add it, or correct the name", name, a.namespace))
	}
	return name, nil, ok
}

func (t *translation) typeOf(name string, p *manifest[providerSpec]) string {
	if p == nil {
		return t.Providers[name]
	}
	return valueOf(p.spec.Type)
}

// setStatus asks for a commit's status in the words of the Provider's commitStatusExpr.
func (t *translation) setStatus(m mapping, a *manifest[alertSpec], p *manifest[providerSpec]) {
	if p == nil || p.spec.CommitStatusExpr == nil {
		return
	}
	known := map[string]string{
		"provider.metadata.name": p.name, "provider.metadata.namespace": p.namespace, "provider.spec.type": valueOf(p.spec.Type),
		"alert.metadata.name": a.name, "alert.metadata.namespace": a.namespace,
	}
	for key, n := range a.spec.EventMetadata {
		known["event.metadata."+key] = valueOf(n)
	}
	if a.spec.Summary != nil {
		known["event.metadata.summary"] = valueOf(a.spec.Summary)
	}
	at := p.spec.CommitStatusExpr
	template, ok := contextTemplate(valueOf(at), known)
	if !ok {
		t.report(p.warning(at, "commitStatusExpr", "is not carried over for the Alert %s/%s, which leaves the status its usual context: say the same with "+
			"commitStatus: {context: TEMPLATE} in a route of bellhop.dev/v1", a.namespace, a.name))
		return
	}
	status := newMapping(at)
	status.setText("context", at, template)
	m.set("commitStatus", short(status.Node))
}

// relays are the types of providers that take events which merely update a commit's status.
var relays = regexp.MustCompile(`^(github|gitlab|gitea|bitbucket|bitbucketserver|azuredevops|generic|generic-hmac)$`)

// noUpdate leaves out such events. The key is prefixed with the API group of the object.
const noUpdate = `!event.metadata.exists(k, k.endsWith("/commit_status") && event.metadata[k] == "update")`

// alertCondition is what an Alert selects, as CEL. It is false if that cannot be said.
func (t *translation) alertCondition(a *manifest[alertSpec], providerType string) (string, bool) {
	before := len(t.problems)
	var sources []string
	for i, s := range a.spec.EventSources {
		if c, ok := t.sourceCondition(a, fmt.Sprintf("eventSources[%d]", i), s); ok {
			sources = append(sources, c)
		}
	}
	if len(a.spec.EventSources) == 0 {
		t.report(a.problem(nil, "eventSources", "lists no sources, so that no event is meant: write one such as {kind: Kustomization, name: '*'}"))
	}
	clauses := []string{anyOf(sources)}
	switch s := valueOf(a.spec.EventSeverity); s {
	case "", "info":
	case "error":
		clauses = append(clauses, `event.severity == "error"`)
	default:
		t.report(a.problem(a.spec.EventSeverity, "eventSeverity", "%q is no severity: write info for all events, or error", s))
	}
	if included := t.patterns(a, "inclusionList", a.spec.InclusionList); included != nil {
		clauses = append(clauses, anyOf(included))
	}
	for _, c := range t.patterns(a, "exclusionList", a.spec.ExclusionList) {
		clauses = append(clauses, "!"+c)
	}
	if !relays.MatchString(providerType) {
		clauses = append(clauses, noUpdate)
	}
	return strings.Join(clauses, "\n&& "), len(t.problems[before:].Fatal()) == 0
}

// anyOf holds if one of the conditions does.
func anyOf(conditions []string) string {
	switch len(conditions) {
	case 0:
		return "false"
	case 1:
		return conditions[0]
	}
	for i, c := range conditions {
		if strings.Contains(c, "&&") {
			conditions[i] = "(" + c + ")"
		}
	}
	return "(" + strings.Join(conditions, "\n || ") + ")"
}

func (t *translation) sourceCondition(a *manifest[alertSpec], path string, s objectRef) (string, bool) {
	kind, name, namespace := valueOf(s.Kind), valueOf(s.Name), valueOf(s.Namespace)
	switch {
	case kind == "":
		t.report(a.problem(s.Name, path+".kind", "has no kind: write one, such as Kustomization"))
		return "", false
	case name == "":
		t.report(a.problem(s.Kind, path+".name", "has no name: write the object's, or '*' for all of them"))
		return "", false
	case s.MatchLabels != nil:
		t.report(a.problem(s.MatchLabels, path+".matchLabels", "an event does not tell the labels of its object: list the objects by name, or put "+
			"the annotation event.toolkit.fluxcd.io/KEY on them and write a route of bellhop.dev/v1 over event.metadata"))
		return "", false
	case namespace == "":
		namespace = a.namespace
	}
	c := "event.involvedObject.kind == " + quote(kind) + " && event.involvedObject.namespace == " + quote(namespace)
	if name != "*" {
		c += " && event.involvedObject.name == " + quote(name)
	}
	return c, true
}

// patterns are the conditions that the message matches each regular expression, nil without any. A malformed
// one is never passed over: an exclusion would let through what it was to keep out.
func (t *translation) patterns(a *manifest[alertSpec], key string, items []*yaml.Node) []string {
	var conditions []string
	for i, n := range items {
		if n == nil {
			continue // said when it was decoded
		}
		path := fmt.Sprintf("%s[%d]", key, i)
		if n.Kind != yaml.ScalarNode {
			t.report(a.problem(n, path, "is no text: write a regular expression"))
			continue
		}
		if _, err := regexp.Compile(n.Value); err != nil {
			t.report(a.problem(n, path, "%v: see https://github.com/google/re2/wiki/Syntax", err))
			continue
		}
		conditions = append(conditions, "event.message.matches("+quote(n.Value)+")")
	}
	return conditions
}
