package flux

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"

	"go.yaml.in/yaml/v3"

	"github.com/bellhop-dev/bellhop/pkg/config/strict"
)

// A Receiver.
// https://github.com/fluxcd/notification-controller/blob/main/docs/spec/v1/receivers.md
type receiverSpec struct {
	Type           *yaml.Node     `yaml:"type"`
	Interval       *yaml.Node     `yaml:"interval"`
	Events         *yaml.Node     `yaml:"events"`
	Resources      []resource     `yaml:"resources"`
	ResourceFilter *yaml.Node     `yaml:"resourceFilter"`
	SecretRef      *ref           `yaml:"secretRef"`
	OIDCProviders  []oidcProvider `yaml:"oidcProviders"`
	Suspend        *yaml.Node     `yaml:"suspend"`
}

// resource is what is to be reconciled.
type resource struct {
	objectRef
	Filter *yaml.Node `yaml:"filter"`
}

type oidcProvider struct {
	IssuerURL   *yaml.Node       `yaml:"issuerURL"`
	Audience    *yaml.Node       `yaml:"audience"`
	Variables   []oidcVariable   `yaml:"variables"`
	Validations []oidcValidation `yaml:"validations"`
}

type oidcVariable struct {
	Name       *yaml.Node `yaml:"name"`
	Expression *yaml.Node `yaml:"expression"`
}

type oidcValidation struct {
	Expression *yaml.Node `yaml:"expression"`
	Message    *yaml.Node `yaml:"message"`
}

// sources are Flux's types that have another name here.
var sources = map[string]string{"bitbucket": "bitbucket-server"}

// filtering are the types whose list of events Flux heeds; for others it was required in v1beta1, and did
// nothing.
var filtering = regexp.MustCompile(`^(github|gitlab|bitbucket|cdevents)$`)

func (t *translation) translateReceiver(r *manifest[receiverSpec]) {
	endpoint, ok := t.receiverEndpoint(r)
	providers, all := t.reconcilers(r)
	if !ok || !all {
		return
	}
	name := t.receiver.of(r.namespace, r.name)
	t.native.Endpoints = append(t.native.Endpoints, r.item(endpoint.Node))
	to := list(r.at)
	for _, p := range providers {
		called := free(t.takenProviders, name+"-reconcile")
		t.native.Providers = append(t.native.Providers, r.item(p.provider(r, called)))
		to.Content = append(to.Content, scalar(r.at, called))
	}
	route := newMapping(r.at)
	route.setText("name", r.nameNode, free(t.takenRoutes, name))
	route.set("from", short(list(r.at, scalar(r.nameNode, name))))
	route.set("to", short(to))
	t.native.Routes = append(t.native.Routes, r.item(route.Node))
}

// free is the name, or the name with the first number that makes it free; it is taken then.
func free(taken map[string]bool, name string) string {
	called := name
	for i := 2; taken[called]; i++ {
		called = name + "-" + strconv.Itoa(i)
	}
	taken[called] = true
	return called
}

func (t *translation) receiverEndpoint(r *manifest[receiverSpec]) (mapping, bool) {
	before := len(t.problems)
	kind := valueOf(r.spec.Type)
	m := newMapping(r.at)
	m.setText("name", r.nameNode, t.receiver.of(r.namespace, r.name))
	if ours, ok := sources[kind]; ok {
		m.setText("source", r.spec.Type, ours)
	} else {
		m.set("source", r.spec.Type)
	}
	switch {
	case kind == "generic-oidc":
		t.setIssuer(m, r)
	case r.spec.SecretRef.String() == "":
		t.report(r.problem(nil, "secretRef", "names no Secret: write the name of the one whose key token the sender shares"))
	default:
		t.setSecret(m, "secretRef", r.namespace, r.spec.SecretRef)
		if kind == "gcr" {
			t.setPushIdentity(m, r)
		}
	}
	was := newMapping(r.nameNode)
	was.setText("name", r.nameNode, r.name)
	was.setText("namespace", r.nameNode, r.namespace)
	m.set("fluxReceiver", short(was.Node))
	if !r.placed {
		p := r.warning(r.nameNode, "", "names no namespace, which is a part of the URL: it is taken to be %q", r.namespace)
		p.Path = strict.Join(r.path, "metadata")
		t.report(p)
	}
	switch {
	case r.spec.Events == nil || len(r.spec.Events.Content) == 0:
	case filtering.MatchString(kind):
		m.set("events", short(copyOf(r.spec.Events)))
	default:
		t.report(r.warning(r.spec.Events, "events", "are not carried over: Flux heeds none for the type %s", kind))
	}
	m.set("suspend", r.spec.Suspend)
	return m, len(t.problems[before:].Fatal()) == 0
}

// setPushIdentity adds who Google's push requests must come from. Under Flux that lies in the Secret.
func (t *translation) setPushIdentity(m mapping, r *manifest[receiverSpec]) {
	name := t.refs.of(r.namespace, r.spec.SecretRef.String())
	at := r.spec.SecretRef.Name
	keys := t.Surroundings.Secret(name)
	if keys == nil {
		t.report(r.warning(at, "secretRef", "the Secret %q cannot be read here: write what its keys audience and email hold as gcr: {audience: …, email: …}", name))
	}
	push := newMapping(at)
	for _, key := range []string{"audience", "email"} {
		push.setText(key, at, string(bytes.TrimSpace(keys[key])))
	}
	m.set("gcr", push.Node)
}

// defaultAudience is what Flux wants tokens to be issued for unless told otherwise.
const defaultAudience = "notification-controller"

// setIssuer adds whose tokens are believed.
func (t *translation) setIssuer(m mapping, r *manifest[receiverSpec]) {
	if len(r.spec.OIDCProviders) == 0 {
		t.report(r.problem(nil, "oidcProviders", "names no issuer: write one with issuerURL, audience and validations"))
		return
	}
	p := r.spec.OIDCProviders[0]
	at := p.IssuerURL
	if at == nil {
		at = r.at
	}
	oidc := newMapping(at)
	oidc.set("issuer", p.IssuerURL)
	if p.Audience != nil {
		oidc.set("audience", p.Audience)
	} else {
		oidc.setText("audience", at, defaultAudience)
	}
	oidc.set("rules", t.rules(r, p))
	m.set("oidc", oidc.Node)
	if len(r.spec.OIDCProviders) > 1 {
		t.report(r.warning(r.spec.OIDCProviders[1].IssuerURL, "oidcProviders[1]", "is not carried over, nor what follows: an endpoint has one issuer, and only tokens of the first are believed"))
	}
}

// rules are the validations, what their variables stand for written out.
func (t *translation) rules(r *manifest[receiverSpec], p oidcProvider) *yaml.Node {
	rules := list(r.at)
	vars := variables{}
	for i, v := range p.Variables {
		tree, err := vars.inline(valueOf(v.Expression))
		if err != nil {
			t.report(r.problem(v.Expression, fmt.Sprintf("oidcProviders[0].variables[%d].expression", i), "%v", err))
			continue
		}
		vars[valueOf(v.Name)] = tree.Expr()
	}
	for i, v := range p.Validations {
		path := fmt.Sprintf("oidcProviders[0].validations[%d].expression", i)
		if valueOf(v.Expression) == "" {
			t.report(r.problem(v.Message, path, "is missing: write CEL over claims"))
			continue
		}
		rule, err := vars.rule(valueOf(v.Expression))
		if err != nil {
			t.report(r.problem(v.Expression, path, "%v", err))
			continue
		}
		rules.Content = append(rules.Content, scalar(v.Expression, rule))
	}
	return rules
}

// What a filter mentions that is not there, or not the same, when Bellhop reconciles.
var (
	claims  = regexp.MustCompile(`(^|[^\w."'])claims\s*[.\[]`)
	request = regexp.MustCompile(`(^|[^\w."'])req\s*[.\[]`)
)

// reconciler is the resources that one filter chooses from, a provider of their own.
type reconciler struct {
	filter  string
	at      *yaml.Node // of the filter
	objects []*yaml.Node
}

func (c *reconciler) provider(r *manifest[receiverSpec], name string) *yaml.Node {
	m := newMapping(r.at)
	m.setText("name", r.nameNode, name)
	m.setText("type", r.at, "flux-reconcile")
	m.set("objects", list(r.at, c.objects...))
	if c.filter != "" {
		m.setText("filter", c.at, c.filter)
	}
	return m.Node
}

// reconcilers are what reconciles the Receiver's resources. It is false if something is wrong with them.
func (t *translation) reconcilers(r *manifest[receiverSpec]) (all []*reconciler, ok bool) {
	before := len(t.problems)
	if len(r.spec.Resources) == 0 {
		t.report(r.problem(nil, "resources", "lists nothing to reconcile: write at least one, such as {kind: GitRepository, name: app}"))
	}
	t.checkFilter(r, "resourceFilter", r.spec.ResourceFilter)
	for i, res := range r.spec.Resources {
		t.checkFilter(r, fmt.Sprintf("resources[%d].filter", i), res.Filter)
		filter := both(r.spec.ResourceFilter, res.Filter)
		at := slices.IndexFunc(all, func(c *reconciler) bool { return c.filter == filter })
		if at < 0 {
			at = len(all)
			all = append(all, &reconciler{filter: filter, at: cmp.Or(r.spec.ResourceFilter, res.Filter)})
		}
		all[at].objects = append(all[at].objects, r.selection(res))
	}
	return all, len(t.problems[before:].Fatal()) == 0
}

// both is the conjunction of two filters, either of which may be missing.
func both(a, b *yaml.Node) string {
	switch {
	case valueOf(a) == "":
		return valueOf(b)
	case valueOf(b) == "":
		return valueOf(a)
	}
	return "(" + valueOf(a) + ") && (" + valueOf(b) + ")"
}

// selection is a resource as flux-reconcile takes it.
func (m *manifest[S]) selection(res resource) *yaml.Node {
	at := m.at
	if res.Kind != nil {
		at = res.Kind
	}
	o := newMapping(at)
	o.set("apiVersion", res.APIVersion)
	o.set("kind", res.Kind)
	if res.Namespace != nil {
		o.set("namespace", res.Namespace)
	} else {
		o.setText("namespace", at, m.namespace)
	}
	o.set("name", res.Name)
	if res.MatchLabels != nil {
		o.set("labels", short(copyOf(res.MatchLabels)))
	}
	return o.Node
}

func (t *translation) checkFilter(r *manifest[receiverSpec], path string, filter *yaml.Node) {
	switch expr := valueOf(filter); {
	case claims.MatchString(expr):
		t.report(r.problem(filter, path, "the token's claims are not known when an object is chosen: demand them in oidcProviders' validations"))
	case valueOf(r.spec.Type) == "gcr" && request.MatchString(expr):
		t.report(r.problem(filter, path, "req is the push of Pub/Sub as it came here, not the message in it: remove what is said of it, "+
			"or write an endpoint and routes of bellhop.dev/v1 over event.type and event.image"))
	}
}
