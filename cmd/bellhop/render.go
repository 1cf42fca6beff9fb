package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
	"github.com/bellhop-dev/bellhop/pkg/route"
)

func (p *program) render() *cobra.Command {
	var s sender
	var routeName string
	cmd := &cobra.Command{
		Use:   "render PROVIDER",
		Short: "Show what a provider would be sent for a payload, without sending",
		Long: `Render prints the request that a provider of the configuration would be sent: with --endpoint for a payload as
that endpoint would read it, in the words of the route that brings it to the provider; otherwise for the event
that test sends. --route takes the words of that route instead.

Of the URL it prints the host only, and of the headers no credentials: either may be as good as a key. Nothing
is sent, and nothing is asked of anybody. What speaks no HTTP cannot be shown.`,
		Example: "  bellhop render team\n  bellhop render team --endpoint app --event push --file push.json",
		Args:    cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			snapshot, problems, err := p.load(nil)
			if err != nil {
				return err
			}
			provider := snapshot.Provider(args[0])
			if provider == nil {
				var known []string
				for _, p := range snapshot.Providers {
					known = append(known, p.Name)
				}
				return missing("provider", args[0], known, problems)
			}
			requester, ok := provider.Provider.(bellhop.Requester)
			if !ok {
				return fmt.Errorf("%s (%s) speaks no HTTP: there is no request to show", provider.Name, provider.Kind.Name)
			}
			events := []bellhop.Event{*testEvent(time.Now())}
			var plan route.Plan
			if s.endpoint != "" {
				ep, known := endpointOf(snapshot, s.endpoint)
				if ep == nil {
					return missing("endpoint", s.endpoint, known, problems)
				}
				if events, err = s.events(cmd.InOrStdin(), ep); err != nil {
					return err
				}
				plan = ep.Plan
			}
			for i := range events {
				words, err := wordsFor(snapshot, plan, &events[i], provider.Name, routeName)
				if err != nil {
					return err
				}
				e := words.Apply(provider.Message.Apply(&events[i]))
				req, err := requester.Request(cmd.Context(), e)
				if err != nil {
					return fmt.Errorf("making the request of %s (%s): %w", provider.Name, provider.Kind.Name, err)
				}
				if i > 0 {
					_, _ = fmt.Fprintln(cmd.OutOrStdout())
				}
				if req == nil {
					cmd.PrintErrf("bellhop: %q says nothing to %s: it would count as delivered\n", e.Title, provider.Name)
					continue
				}
				if err := printRequest(cmd.OutOrStdout(), req); err != nil {
					return err
				}
			}
			return nil
		},
	}
	f := cmd.Flags()
	f.StringVar(&s.endpoint, "endpoint", "", "endpoint that reads the payload")
	f.StringVar(&s.event, "event", "", "event type, in the header of senders that have one for it")
	f.StringVar(&s.file, "file", "-", "with --endpoint: file of the payload; - for standard input")
	f.StringVar(&s.contentType, "content-type", "application/json", "content type of the payload")
	f.StringArrayVar(&s.headers, "header", nil, "a header of the sender's, name: value")
	f.StringVar(&routeName, "route", "", "route whose words the event is put in")
	p.configFlags(cmd, "installation")
	return cmd
}

// endpointOf finds an endpoint; known are the names of all.
func endpointOf(s *config.Snapshot, name string) (ep *config.Endpoint, known []string) {
	for _, e := range s.Endpoints {
		if e.Name == name {
			return e, nil
		}
		known = append(known, e.Name)
	}
	return nil, known
}

// events are what the endpoint reads out of the payload, unverified. There is at least one.
func (s *sender) events(in io.Reader, ep *config.Endpoint) ([]bellhop.Event, error) {
	body, err := s.payload(in)
	if err != nil {
		return nil, err
	}
	header, err := s.header(ep.Kind)
	if err != nil {
		return nil, err
	}
	events, err := ep.Source.Parse(&bellhop.Request{Header: header, Body: body})
	if err != nil {
		return nil, fmt.Errorf("reading the payload as %s: %w", ep.Kind.Name, err)
	}
	events = slices.DeleteFunc(events, func(e bellhop.Event) bool { return e.Kind == bellhop.KindPing })
	if len(events) == 0 {
		return nil, errors.New("the payload is a ping, or says nothing: nobody would be sent anything")
	}
	headers := map[string]string{}
	for name := range header {
		headers[name] = header.Get(name)
	}
	for i := range events {
		e := &events[i]
		e.ID, e.Time, e.Endpoint, e.Source = ulid.Make().String(), time.Now().UTC(), ep.Name, ep.Kind.Name
		e.Severity = cmp.Or(e.Severity, bellhop.Info)
		e.Headers, e.Raw = headers, body
	}
	return events, nil
}

// wordsFor are those of the named route, else of the one in the plan that brings the event to the provider.
func wordsFor(s *config.Snapshot, plan route.Plan, e *bellhop.Event, provider, named string) (*route.Message, error) {
	if named == "" {
		targets, err := plan.Targets(e)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(targets, func(t bellhop.Target) bool { return t.Provider == provider })
		switch {
		case plan == nil:
			return nil, nil
		case i < 0:
			return nil, fmt.Errorf("no route brings %q to %s: name one with --route, or change its when", e.Title, provider)
		case targets[i].Route == "":
			return nil, nil
		}
		named = targets[i].Route
	}
	var known []string
	for _, r := range s.Routes {
		if r.Name == named {
			return r.Message, nil
		}
		known = append(known, r.Name)
	}
	return nil, missing("route", named, known, nil)
}

// plainHeaders are headers that hold nothing secret.
var plainHeaders = []string{"Accept", "Content-Type", "Gotk-Component", "Idempotency-Key", "User-Agent"}

// printRequest prints what may be seen of a request.
func printRequest(w io.Writer, r *http.Request) error {
	var b strings.Builder
	address := r.URL.Scheme + "://" + r.URL.Host + "/"
	if r.URL.Path != "" && r.URL.Path != "/" || r.URL.RawQuery != "" {
		address += "…"
	}
	fmt.Fprintf(&b, "%s %s\n", r.Method, address)
	for _, name := range slices.Sorted(maps.Keys(r.Header)) {
		value := "…"
		if slices.Contains(plainHeaders, name) {
			value = r.Header.Get(name)
		}
		fmt.Fprintf(&b, "%s: %s\n", name, onScreen(value))
	}
	if r.Body != nil {
		defer func() { _ = r.Body.Close() }()
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return fmt.Errorf("reading the request: %w", err)
		}
		fmt.Fprintf(&b, "\n%s\n", strings.TrimRight(string(body), "\n"))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
