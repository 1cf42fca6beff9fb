package fluxreconcile

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
)

const (
	// atOnce is how many objects of one event are annotated at a time.
	atOnce = 8
	// reads bounds how often an object is looked at that changes while it is annotated.
	reads = 3
)

// target is an object that an event concerns.
type target struct {
	bellhop.Object
	// named: the configuration names it, so it has to be there.
	named bool
}

// trouble is what stands between an event and an object, or a query for some.
type trouble struct {
	what string // GitRepository apps/web
	err  error
}

// Send requests the reconciliation of all objects that the event concerns.
func (p *provider) Send(ctx context.Context, e *bellhop.Event) error {
	switch e.Kind {
	case bellhop.KindGitDelete, bellhop.KindImageDelete, bellhop.KindPing:
		return nil
	}
	targets, troubles, err := p.targets(ctx, e)
	if err != nil {
		return err
	}
	type outcome struct {
		requested bool
		err       error
	}
	outcomes := make([]outcome, len(targets))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, t := range targets {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			outcomes[i].requested, outcomes[i].err = p.request(ctx, t, e.Time)
		})
	}
	wg.Wait()
	var requested []string
	for i, o := range outcomes {
		name := describe(targets[i].ObjectReference)
		if o.err != nil {
			troubles = append(troubles, trouble{name, o.err})
		} else if o.requested {
			requested = append(requested, name)
		}
	}
	if len(requested) > 0 {
		p.logger.DebugContext(ctx, "reconciliation requested", "event", e.ID, "count", len(requested),
			"objects", httpsend.Cut(strings.Join(requested, ", "), maxText, httpsend.Runes))
	}
	return summarize(ctx, troubles)
}

// targets are the objects that the event concerns, each once, in the order of the settings.
func (p *provider) targets(ctx context.Context, e *bellhop.Event) ([]target, []trouble, error) {
	var (
		all      []target
		troubles []trouble
		seen     = map[bellhop.ObjectReference]bool{}
	)
	vars, err := p.variables(e)
	if err != nil {
		return nil, nil, err
	}
	for _, q := range p.queries {
		found, err := p.cluster.Objects(ctx, q)
		if err != nil {
			troubles = append(troubles, trouble{describe(bellhop.ObjectReference{Kind: q.Kind, Namespace: q.Namespace, Name: q.Name}), err})
			continue
		}
		if len(found) == 0 {
			p.logger.InfoContext(ctx, "no object to reconcile", "kind", q.Kind, "namespace", q.Namespace, "labels", q.Labels)
		}
		for _, o := range found {
			id := bellhop.ObjectReference{APIVersion: o.APIVersion, Kind: o.Kind, Namespace: o.Namespace, Name: o.Name}
			if !seen[id] && p.wants(ctx, e, o, vars) {
				all = append(all, target{o, q.Name != ""})
			}
			seen[id] = true
		}
	}
	return all, troubles, nil
}

// variables are what the filter sees of the event, nil if there is no filter.
func (p *provider) variables(e *bellhop.Event) (map[string]any, error) {
	if p.filter == nil {
		return nil, nil
	}
	text, err := e.JSON()
	if err != nil {
		return nil, bellhop.Permanent(fmt.Errorf("writing the event for the filter: %w", err))
	}
	var event map[string]any
	if err := json.Unmarshal(text, &event); err != nil {
		return nil, bellhop.Permanent(fmt.Errorf("reading the event for the filter: %w", err))
	}
	return map[string]any{"event": event, "body": event["body"], "req": event["body"]}, nil
}

// wants reports whether the event concerns the object.
func (p *provider) wants(ctx context.Context, e *bellhop.Event, o bellhop.Object, vars map[string]any) bool {
	if about := e.InvolvedObject; e.Kind == bellhop.KindFlux &&
		about.Kind == o.Kind && about.Namespace == o.Namespace && about.Name == o.Name {
		return false
	}
	if p.match && !concerns(e, o) {
		return false
	}
	if p.filter == nil {
		return true
	}
	vars["object"], vars["res"] = o.Content, o.Content
	ok, err := p.filter.Match(vars)
	if err != nil {
		p.logger.WarnContext(ctx, "the filter has no answer, which counts as false", "event", e.ID, "object", describe(o.ObjectReference), "error", err)
	}
	return ok && err == nil
}

// request annotates an object, unless as much has been requested of it already.
func (p *provider) request(ctx context.Context, t target, received time.Time) (requested bool, err error) {
	for read := 1; ; read++ {
		if requestedSince(annotationOf(t.Content), received, time.Now()) {
			return false, nil
		}
		err := p.cluster.Annotate(ctx, t.ObjectReference, requestedAt, stamp(received))
		if err == nil {
			return true, nil
		}
		if errors.Is(err, bellhop.ErrConflict) && read < reads {
			again, failure := p.cluster.Objects(ctx, bellhop.ObjectQuery{APIVersion: t.APIVersion, Kind: t.Kind, Namespace: t.Namespace, Name: t.Name})
			if len(again) == 1 {
				t.Object = again[0]
				continue
			}
			err = cmp.Or(failure, err)
		}
		if errors.Is(err, bellhop.ErrNotFound) && !t.named {
			return false, nil // deleted since it was listed
		}
		return false, err
	}
}

// describe names an object for people.
func describe(o bellhop.ObjectReference) string {
	name := o.Name
	if name == "" {
		name = "*"
	}
	if o.Namespace != "" {
		name = o.Namespace + "/" + name
	}
	return o.Kind + " " + name
}

// How much of an error is told: so many troubles with their causes, the others by name, in so many characters.
const (
	maxCauses = 3
	maxCause  = 250
	maxText   = 1000
)

// summarize makes one error of many. It is Permanent only if all are, and asks for the longest pause that any
// asks for. It wraps none, so that one object's trouble does not decide for the others.
func summarize(ctx context.Context, troubles []trouble) error {
	if len(troubles) == 0 {
		return nil
	}
	if err := ctx.Err(); errors.Is(err, context.Canceled) {
		return err
	}
	var (
		text      []string
		pause     time.Duration
		paused    bool
		permanent = true
	)
	for i, t := range troubles {
		if i < maxCauses {
			text = append(text, t.what+": "+httpsend.Cut(t.err.Error(), maxCause, httpsend.Runes))
		} else {
			text = append(text, t.what)
		}
		d, asked := bellhop.RetryDelay(t.err)
		pause, paused = max(pause, d), paused || asked
		permanent = permanent && bellhop.IsPermanent(t.err)
	}
	lead := "requesting the reconciliation: "
	if len(troubles) > 1 {
		lead = fmt.Sprintf("requesting the reconciliation, %d left: ", len(troubles))
	}
	err := errors.New(httpsend.Cut(lead+strings.Join(text, "; "), maxText, httpsend.Runes))
	switch {
	case paused:
		return bellhop.RetryAfter(pause, err)
	case permanent:
		return bellhop.Permanent(err)
	}
	return err
}
