package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config/strict"
	"github.com/bellhop-dev/bellhop/pkg/route"
)

// routeSettings are the keys of a route.
type routeSettings struct {
	Name  string   `yaml:"name" doc:"what the route is called"`
	From  []string `yaml:"from" doc:"endpoints, names or globs; all if left out"`
	When  string   `yaml:"when" doc:"CEL over event, body and headers: which events"`
	To    []string `yaml:"to" doc:"providers"`
	words `doc:"in these words"`
	// CommitStatus may be empty: then the providers choose all of it.
	CommitStatus *commitStatusSettings `yaml:"commitStatus" doc:"asks those of the providers that can for a status of the event's commit"`
	Suspend      bool                  `yaml:"suspend" doc:"true: the route takes no events"`
}

// commitStatusSettings are templates over the event; what is left out is up to the provider.
type commitStatusSettings struct {
	State       string `yaml:"state" doc:"template of pending, success, failure or error; by the event's severity if left out"`
	Context     string `yaml:"context" doc:"template of what tells the status from others of the commit, such as ci/build"`
	Description string `yaml:"description" doc:"template of one line of plain text"`
}

// routeSpec is a route as it is written.
type routeSpec struct {
	place
	routeSettings
}

func (l *load) readRoute(at place) *routeSpec {
	spec := &routeSpec{place: at}
	l.report(strict.Decode(at.file, at.path, at.node, nil, &spec.routeSettings)...)
	return spec
}

// rule is a route that is built, or one that nobody had to write.
type rule struct {
	// Rule is as it is written.
	*route.Rule
	// active is what events are held against: without the providers that are suspended, nil if nothing is left.
	active *route.Rule
	// spec is nil for the implied ones.
	spec *routeSpec
	// endpoints are those that it names, by name or glob.
	endpoints []string
	// flux limits an implied rule to the endpoints of its flux-recv files.
	flux *providerSpec
}

// buildRules makes the routes that are written, and those that are implied: each flux-recv endpoint to its
// Flux; and where no route is written at all, every endpoint to every provider that is.
func (l *load) buildRules() []rule {
	var rules []rule
	var written []string
	for _, p := range l.model.providers {
		if p.fluxAPI != "" {
			rules = append(rules, l.newRule(&route.Rule{To: []string{p.Name}}, rule{flux: p}))
		} else {
			written = append(written, p.Name)
		}
	}
	if len(l.model.routes) == 0 && len(written) > 0 {
		return append(rules, l.newRule(&route.Rule{To: written}, rule{}))
	}
	taken := map[string]place{}
	for _, spec := range l.model.routes {
		l.claimName(taken, spec.place, spec.Name, "pushes")
		r := &route.Rule{Name: spec.Name, From: spec.From, To: spec.To}
		r.When = l.condition(spec.place, spec.When)
		r.Message = l.message(spec.place, spec.words, spec.CommitStatus)
		from := l.readFrom(spec)
		if len(spec.To) == 0 {
			l.report(spec.problem("to", "leads nowhere: write the names of providers"))
		}
		for i, name := range spec.To {
			if _, ok := l.providers[name]; !ok {
				l.report(spec.problem(fmt.Sprintf("to[%d]", i), "no provider is called %q: %s", name, meant(name, sortedKeys(l.providers))))
			}
		}
		rules = append(rules, l.newRule(r, rule{spec: spec, endpoints: from}))
	}
	return rules
}

// newRule completes r with the route and what is active of it.
func (l *load) newRule(written *route.Rule, r rule) rule {
	r.Rule = written
	if r.spec != nil && r.spec.Suspend {
		return r
	}
	active := *written
	active.To = slices.DeleteFunc(slices.Clone(written.To), func(name string) bool { return l.suspended[name] })
	if len(active.To) > 0 {
		r.active = &active
	}
	return r
}

// readFrom finds the endpoints that a route names, none for all. It refuses names of no endpoint and doubts
// globs that match none.
func (l *load) readFrom(spec *routeSpec) (names []string) {
	if spec.From != nil && len(spec.From) == 0 {
		l.report(spec.problem("from", "the list is empty: name endpoints, or leave from out for all"))
	}
	for i, from := range spec.From {
		at := fmt.Sprintf("from[%d]", i)
		if err := route.CheckGlob(from); err != nil {
			l.report(spec.problem(at, "%v", err))
			continue
		}
		matching := l.matching(from)
		switch {
		case matching != nil:
			names = append(names, matching...)
		case isGlob(from):
			l.report(spec.warning(at, "%q matches no endpoint: the route is idle until one does", from))
		default:
			l.report(spec.problem(at, "no endpoint is called %q: %s", from, meant(from, l.names)))
		}
	}
	return names
}

// globbing are the characters that make a name a glob of path.Match.
const globbing = `*?[\`

func isGlob(name string) bool { return strings.ContainsAny(name, globbing) }

// matching are the endpoints that a name or a glob means. Only those that share the glob's first letters are
// tried.
func (l *load) matching(glob string) []string {
	if _, ok := l.endpoints[glob]; ok {
		return []string{glob}
	}
	i := strings.IndexAny(glob, globbing)
	if i < 0 {
		return nil
	}
	var names []string
	prefix := glob[:i]
	first, _ := slices.BinarySearch(l.names, prefix)
	for _, name := range l.names[first:] {
		if !strings.HasPrefix(name, prefix) {
			break
		}
		if route.MatchName([]string{glob}, name) {
			names = append(names, name)
		}
	}
	return names
}

// plans picks out each endpoint's rules, in their order. Rules that name their endpoints cost the others
// nothing, and endpoints that none names share one plan.
func (l *load) plans(rules []rule) func(*endpointSpec) route.Plan {
	named := map[string][]int{} // by endpoint, the rules that name it
	fluxes := map[*providerSpec]int{}
	var all []int
	var shared route.Plan
	for i, r := range rules {
		switch {
		case r.active == nil:
			continue
		case r.flux != nil:
			fluxes[r.flux] = i
		case r.From == nil:
			all, shared = append(all, i), append(shared, r.active)
		}
		for _, name := range r.endpoints {
			if n := named[name]; len(n) == 0 || n[len(n)-1] != i {
				named[name] = append(n, i)
			}
		}
	}
	return func(spec *endpointSpec) route.Plan {
		own := named[spec.Name]
		if i, ok := fluxes[spec.flux]; ok {
			own = append([]int{i}, own...)
		}
		if len(own) == 0 {
			return shared
		}
		indexes := slices.Concat(own, all)
		slices.Sort(indexes)
		plan := make(route.Plan, len(indexes))
		for i, index := range indexes {
			plan[i] = rules[index].active
		}
		return plan
	}
}

// checkUse warns of what is configured and does nothing, once nothing else is wrong. What is suspended is
// meant to do nothing.
func (l *load) checkUse(rules []rule, plan func(*endpointSpec) route.Plan) {
	if len(l.problems.Fatal()) > 0 {
		return
	}
	if len(l.model.endpoints) == 0 {
		l.report(bellhop.Problem{File: l.Config, Severity: bellhop.Warning, Message: "no endpoints: nothing can be received until there is one"})
	}
	if len(l.model.providers) == 0 {
		l.report(bellhop.Problem{File: l.Config, Severity: bellhop.Warning, Message: "no providers: what is received goes nowhere until there is one"})
	}
	if len(l.model.routes) == 0 {
		return
	}
	used := map[string]bool{}
	for _, r := range rules {
		for _, to := range r.To {
			used[to] = true
		}
	}
	for _, p := range l.model.providers {
		if !used[p.Name] {
			l.report(p.warning("name", "no route leads to the provider %q: add it to the to of one", p.Name))
		}
	}
	suspended := slices.ContainsFunc(rules, func(r rule) bool { return r.active == nil })
	for _, ep := range l.model.endpoints {
		if len(plan(ep)) == 0 && !suspended {
			l.report(ep.warning("name", "no route takes events from the endpoint %q: they are answered \"filtered\"", ep.Name))
		}
	}
}

// checkStatuses warns of routes that ask for a commit's status where nobody sets any, once nothing else is wrong.
func (l *load) checkStatuses(rules []rule, providers []*Provider) {
	if len(l.problems.Fatal()) > 0 {
		return
	}
	sets := map[string]bool{}
	for _, p := range providers {
		_, sets[p.Name] = p.Provider.(bellhop.Stateful)
	}
	for _, r := range rules {
		if r.spec == nil || r.spec.CommitStatus == nil {
			continue
		}
		if !slices.ContainsFunc(r.To, func(name string) bool { return sets[name] }) {
			l.report(r.spec.warning("commitStatus", "none of the providers %s sets the status of a commit: add one to the route, such as of type github", strings.Join(r.To, ", ")))
		}
	}
}
