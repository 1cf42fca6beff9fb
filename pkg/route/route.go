// Package route decides which event goes where and in which words. Expressions and templates are compiled
// once, when the configuration is loaded; what can be wrong with them is said there.
//
// # Conditions
//
// A condition (`when`) is a CEL expression (https://cel.dev) that yields true or false, over
//
//	event    the event, fields as in the admin API's JSON, each with its type: event.branch is a string,
//	         event.time a timestamp, event.repo.name a string. A misspelt field is an error at load.
//	body     the payload, decoded; a string if it is not JSON. It costs nothing where it is not mentioned.
//	headers  the sender's headers without credentials, looked up whatever their case.
//
// event.body and event.headers are the same two. A field of event that does not apply is empty, never an
// error; what is missing in body or headers is one, unless asked for with has(body.x), "x" in headers or
// body.?x.orValue(""). The functions are CEL's own, matches (RE2) included, and those of its string, set and
// optional extensions.
//
// # Messages
//
// A message's parts (`title`, `message`, `link`, the values of `fields` and `metadata`, and those of
// `commitStatus`) are Go text/template templates over the same names: {{ .title }}, {{ .event.title }} and
// {{ event.title }} are one, and so for body and headers. They make text: CommonMark for message, plain for
// all others; encoding is each provider's business. See CompileMessage.
package route

import (
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Rule is a route: events that match When go to the providers of To, in Message's words.
type Rule struct {
	Name string
	// From are the endpoint names and globs as configured, nil for all.
	From []string
	// When is nil if there is none.
	When *Condition
	// To are provider names.
	To []string
	// Message is nil if the route overrides nothing.
	Message *Message
}

// Covers reports whether events of the endpoint are held against the rule at all.
func (r *Rule) Covers(endpoint string) bool { return r.From == nil || MatchName(r.From, endpoint) }

// CheckGlob says what is wrong with a name or glob of Rule.From.
func CheckGlob(glob string) error {
	if glob == "" {
		return errors.New("the name is empty: write an endpoint's name or a glob such as team-*")
	}
	if _, err := path.Match(glob, ""); err != nil {
		return fmt.Errorf("glob %q is malformed: write *, ? and [a-z], each [ closed by a ]", glob)
	}
	return nil
}

// MatchName reports whether one of the globs (path.Match) is the name's. A malformed glob matches nothing.
func MatchName(globs []string, name string) bool {
	for _, g := range globs {
		if g == name {
			return true
		}
		if strings.ContainsAny(g, `*?[\`) {
			if ok, err := path.Match(g, name); err == nil && ok {
				return true
			}
		}
	}
	return false
}

// Plan is the rules that one endpoint's events are held against, picked out when the configuration is
// loaded, so that an event's cost does not grow with the routes of others.
type Plan []*Rule

// PlanFor picks out the endpoint's rules, in their order.
func PlanFor(endpoint string, rules []*Rule) Plan {
	var p Plan
	for _, r := range rules {
		if r.Covers(endpoint) {
			p = append(p, r)
		}
	}
	return p
}

// Targets are the providers that want the event, each once: the first rule that names a provider gives the
// words. Rules whose condition fails at run time count as not matching; err tells of them beside the targets.
func (p Plan) Targets(e *bellhop.Event) ([]bellhop.Target, error) {
	var (
		targets []bellhop.Target
		seen    map[string]bool // of targets, once a scan would cost more
		errs    []error
	)
	for _, r := range p {
		ok, err := r.When.Match(e)
		if err != nil {
			errs = append(errs, fmt.Errorf("route %q: %w", r.Name, err))
		}
		if !ok {
			continue
		}
		if targets == nil {
			targets = make([]bellhop.Target, 0, len(r.To))
		}
		for _, provider := range r.To {
			if seen[provider] || seen == nil && named(targets, provider) {
				continue
			}
			targets = append(targets, bellhop.Target{Provider: provider, Route: r.Name})
			if seen != nil {
				seen[provider] = true
			} else if len(targets) == scanned {
				seen = make(map[string]bool, len(r.To))
				for _, t := range targets {
					seen[t.Provider] = true
				}
			}
		}
	}
	return targets, errors.Join(errs...)
}

// scanned is how many targets are looked through one by one; an event usually goes to a handful of providers.
const scanned = 32

func named(targets []bellhop.Target, provider string) bool {
	for i := range targets {
		if targets[i].Provider == provider {
			return true
		}
	}
	return false
}
