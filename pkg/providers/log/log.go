// Package log prints events to Bellhop's own log, for demonstrations and for finding out what a route would
// send before it sends it anywhere.
//
//	providers:
//	- name: console
//	  type: log
//	  body: true   # the sender's payload too; it may hold what should not be in a log
//
// An event of severity error is logged as a warning: the error is the sender's, not Bellhop's.
package log

import (
	"context"
	"log/slog"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// Settings of a provider.
type Settings struct {
	Body bool `yaml:"body" doc:"log the sender's payload too"`
}

// Kind prints to the log.
var Kind = bellhop.Define("log", "Bellhop's own log, for demonstrations", Settings{},
	func(setup bellhop.Setup, s Settings) (bellhop.Provider, error) {
		return provider{setup.Logger, s.Body}, nil
	})

type provider struct {
	logger *slog.Logger
	body   bool
}

func (p provider) Send(ctx context.Context, e *bellhop.Event) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	attrs := []slog.Attr{
		slog.String("id", e.ID), slog.String("endpoint", e.Endpoint), slog.String("kind", string(e.Kind)),
		slog.String("title", e.Title),
	}
	if e.Message != "" {
		attrs = append(attrs, slog.String("message", e.Message))
	}
	if e.Link != "" {
		attrs = append(attrs, slog.String("link", e.Link))
	}
	var facts []slog.Attr
	for _, f := range e.Facts() {
		facts = append(facts, slog.String(f.Name, f.Value))
	}
	if facts != nil {
		attrs = append(attrs, slog.GroupAttrs("facts", facts...))
	}
	if p.body {
		attrs = append(attrs, slog.String("body", string(e.Payload())))
	}
	level := slog.LevelInfo
	if e.Severity == bellhop.Error {
		level = slog.LevelWarn
	}
	p.logger.LogAttrs(ctx, level, "event", attrs...)
	return nil
}
