// Package fluxreconcile has Flux v2 reconcile objects at once instead of at their next interval: a push
// fetches the GitRepository, an image scans the ImageRepository. It does what a Receiver of Flux's
// notification-controller does, from behind a queue.
//
// # Setting it up
//
//	providers:
//	- name: sources
//	  type: flux-reconcile
//	  match: true                # only objects whose repository or image is the event's
//	  objects:
//	  - kind: GitRepository
//	    namespace: flux-system   # Bellhop's own if left out
//	    name: "*"                # or the name of one
//	    labels: {team: web}      # of *, all if left out
//
// apiVersion may be left out for Flux's own kinds; it is then the one that current Flux serves: v1 for
// GitRepository, OCIRepository, Bucket, HelmRepository, HelmChart, Kustomization, ImageRepository, ImagePolicy
// and ImageUpdateAutomation, v2 for HelmRelease, v1beta1 for ArtifactGenerator. For an older Flux, or for any
// other kind that heeds the annotation, write it.
//
// Bellhop's service account needs get, list and patch on the kinds, in each namespace:
//
//	apiVersion: rbac.authorization.k8s.io/v1
//	kind: Role
//	metadata: {name: bellhop, namespace: flux-system}
//	rules:
//	- apiGroups: [source.toolkit.fluxcd.io]
//	  resources: [gitrepositories]
//	  verbs: [get, list, patch]
//
// list is for * alone, get for names and for objects that change while they are annotated.
//
// # Which objects
//
// match compares addresses and not their spelling: the scheme, the user, the port, the case, a .git at the end,
// the hosts under which vendors serve SSH, and the several addresses of Azure DevOps and Bitbucket Data Center
// make no difference to a repository, Docker Hub's names none to an image. A GitRepository's branch or tag must
// be the event's too, as far as both are known; one that follows a semver range takes every tag. The same goes
// for the tag of an OCIRepository. A HelmRepository matches with an oci:// address, at which or below which the
// chart was pushed. Other kinds have nothing to compare and are refused beside match: put them into a provider
// of their own, and choose with routes.
//
// filter is a CEL expression over event, body (the decoded payload) and object (the whole object), also under
// Flux's names req (body) and res (object). Without an answer for an object, such as for a key that is not
// there, it counts as false, and the log says so.
//
// Deleted branches, tags and images request nothing. Nor does an event of Flux about the object itself, which
// would go round in circles. * that finds nothing has nothing to request, and counts as delivered.
//
// # What is sent
//
// The annotation reconcile.fluxcd.io/requestedAt, set to the time at which the event was received: by a JSON
// merge patch that touches nothing else. An object that has this value or a later one is left alone, so a
// retry reaches only what is left, and an event that is delivered twice reconciles once. Replaying an old
// event therefore requests nothing where a later one already did.
// https://fluxcd.io/flux/components/source/gitrepositories/#triggering-a-reconcile
//
// One object's trouble does not stop the others: all are tried, then the delivery is tried again for what is
// left. An object that is named but not there is trouble: it may be about to be applied.
package fluxreconcile

import (
	"fmt"
	"log/slog"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Settings of a provider.
type Settings struct {
	Objects []Selection `yaml:"objects" doc:"what to reconcile, at least one"`
	Match   bool        `yaml:"match" doc:"only objects whose repository or image is the event's"`
	Filter  string      `yaml:"filter" doc:"CEL over event, body and object; only objects for which it holds"`
}

// Selection is one object, or those of a kind in a namespace.
type Selection struct {
	APIVersion string            `yaml:"apiVersion" doc:"may be left out for Flux's kinds"`
	Kind       string            `yaml:"kind" doc:"such as GitRepository"`
	Namespace  string            `yaml:"namespace" doc:"Bellhop's own if left out"`
	Name       string            `yaml:"name" doc:"an object's name, or * for all"`
	Labels     map[string]string `yaml:"labels" doc:"which of *"`
}

// Kind annotates objects of Flux.
var Kind = bellhop.Define("flux-reconcile", "Flux v2: reconcile objects now", Settings{}, build)

// apiVersions are those of Flux 2.7 and later.
var apiVersions = map[string]string{
	"ArtifactGenerator":     "source.extensions.fluxcd.io/v1beta1",
	"Bucket":                "source.toolkit.fluxcd.io/v1",
	"GitRepository":         "source.toolkit.fluxcd.io/v1",
	"HelmChart":             "source.toolkit.fluxcd.io/v1",
	"HelmRelease":           "helm.toolkit.fluxcd.io/v2",
	"HelmRepository":        "source.toolkit.fluxcd.io/v1",
	"ImagePolicy":           "image.toolkit.fluxcd.io/v1",
	"ImageRepository":       "image.toolkit.fluxcd.io/v1",
	"ImageUpdateAutomation": "image.toolkit.fluxcd.io/v1",
	"Kustomization":         "kustomize.toolkit.fluxcd.io/v1",
	"OCIRepository":         "source.toolkit.fluxcd.io/v1",
}

type provider struct {
	cluster bellhop.Cluster
	logger  *slog.Logger
	queries []bellhop.ObjectQuery
	match   bool
	filter  bellhop.Expression // nil for none
}

func build(setup bellhop.Setup, s Settings) (bellhop.Provider, error) {
	p := &provider{cluster: setup.Cluster, logger: setup.Logger, match: s.Match}
	var problems bellhop.Problems
	if len(s.Objects) == 0 {
		problems = append(problems, bellhop.Wrong("objects", "names no object: write such as [{kind: GitRepository, name: app}]"))
	}
	for i, o := range s.Objects {
		q, ps := o.query(s.Match)
		for _, problem := range ps {
			problem.Path = strings.TrimSuffix(fmt.Sprintf("objects[%d].%s", i, problem.Path), ".")
			problems = append(problems, problem)
		}
		p.queries = append(p.queries, q)
	}
	if s.Filter != "" {
		var err error
		p.filter, err = setup.Expression(s.Filter, "event", "body", "object", "req", "res")
		for _, problem := range bellhop.AsProblems(err) {
			problem.Path = "filter"
			problems = append(problems, problem)
		}
	}
	if problems.Err() != nil {
		return nil, problems
	}
	return p, nil
}

var (
	objectName = regexp.MustCompile(`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`)
	namespace  = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`)
)

// query checks a selection. The problems' paths are relative to it.
func (s Selection) query(match bool) (bellhop.ObjectQuery, bellhop.Problems) {
	var problems bellhop.Problems
	wrong := func(path, format string, args ...any) {
		problems = append(problems, bellhop.Wrong(path, format, args...))
	}
	q := bellhop.ObjectQuery{APIVersion: s.APIVersion, Kind: s.Kind, Namespace: s.Namespace, Name: s.Name, Labels: s.Labels}
	known := slices.Sorted(maps.Keys(apiVersions))
	switch {
	case s.Kind == "":
		wrong("kind", "says no kind: write such as GitRepository")
	case s.APIVersion == "" && apiVersions[s.Kind] == "":
		hint := "write its apiVersion too, such as example.com/v1"
		if near, ok := bellhop.Nearest(s.Kind, known); ok {
			hint = fmt.Sprintf("did you mean %s?", near)
		}
		wrong("kind", "%q is no kind of Flux that is known here: %s", s.Kind, hint)
	case match && !slices.Contains(matchable, s.Kind):
		wrong("kind", "match compares %s only, a %s has no address: put it into a provider of its own, without match",
			strings.Join(matchable, ", "), s.Kind)
	}
	if q.APIVersion == "" {
		q.APIVersion = apiVersions[s.Kind]
	}
	if strings.Count(s.APIVersion, "/") > 1 {
		wrong("apiVersion", "%q is no apiVersion: write a group and a version, such as source.toolkit.fluxcd.io/v1", s.APIVersion)
	}
	if s.Namespace != "" && !namespace.MatchString(s.Namespace) {
		wrong("namespace", "%q is no namespace: write the name of one", s.Namespace)
	}
	switch {
	case s.Name == "*":
		q.Name = ""
	case s.Name == "":
		wrong("name", `says no name: write an object's name, or "*" for all`)
	case !objectName.MatchString(s.Name):
		wrong("name", `%q is no object's name: write one, or "*" for all, which labels can narrow down`, s.Name)
	case len(s.Labels) > 0:
		wrong("labels", `a name says which object is meant: leave the labels out, or write "*" for the name`)
	}
	return q, problems
}
