package main

import (
	"encoding/json"
	"fmt"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func (p *program) events() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "events",
		Short: "List, show and replay the events that a running process keeps",
		Args:  cobra.NoArgs,
	}
	a := p.apiFlags(cmd)
	list := p.eventsList(a)
	cmd.RunE = list.RunE
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, p.eventsShow(a), p.eventsReplay(a))
	return cmd
}

func (p *program) eventsList(a *api) *cobra.Command {
	var (
		page *pages
		form *format
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List events, newest first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if *form == asJSON { // as the server has it, fields of a later version included
				var l list[json.RawMessage]
				if err := a.get(cmd.Context(), "/api/v1/events", page.query(), &l); err != nil {
					return err
				}
				return printJSON(cmd.OutOrStdout(), l)
			}
			var l list[bellhop.Event]
			if err := a.get(cmd.Context(), "/api/v1/events", page.query(), &l); err != nil {
				return err
			}
			return printList(cmd, *form, l, []string{"ID", "TIME", "ENDPOINT", "KIND", "TITLE"}, func(e bellhop.Event) []string {
				return []string{e.ID, when(e.Time), e.Endpoint, string(e.Kind), cutAt(100, e.Title)}
			})
		},
	}
	page, form = pageFlags(cmd), outputFlag(cmd, "table")
	return cmd
}

func (p *program) eventsShow(a *api) *cobra.Command {
	var form *format
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one event and its deliveries; -o json shows its payload, too",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var raw json.RawMessage
			if err := a.get(cmd.Context(), "/api/v1/events/"+url.PathEscape(args[0]), nil, &raw); err != nil {
				return err
			}
			if *form == asJSON {
				return printJSON(cmd.OutOrStdout(), raw)
			}
			var e bellhop.Event
			if err := json.Unmarshal(raw, &e); err != nil {
				return fmt.Errorf("reading the event: %w", err)
			}
			known := []bellhop.Field{
				{Name: "id", Value: e.ID},
				{Name: "time", Value: when(e.Time)},
				{Name: "endpoint", Value: e.Endpoint},
				{Name: "source", Value: e.Source},
				{Name: "type", Value: e.Type},
				{Name: "action", Value: e.Action},
				{Name: "delivery", Value: e.DeliveryID},
				{Name: "kind", Value: string(e.Kind)},
				{Name: "severity", Value: string(e.Severity)},
				{Name: "title", Value: e.Title},
				{Name: "link", Value: e.Link},
			}
			if err := facts(cmd.OutOrStdout(), append(known, e.Facts()...)...); err != nil {
				return err
			}
			var l list[*bellhop.Delivery]
			if err := a.get(cmd.Context(), "/api/v1/deliveries", url.Values{"event": {e.ID}, "limit": {"1000"}}, &l); err != nil {
				return err
			}
			cmd.Println()
			return printList(cmd, *form, l, deliveryHeads, deliveryRow)
		},
	}
	form = outputFlag(cmd, "table")
	return cmd
}

func (p *program) eventsReplay(a *api) *cobra.Command {
	var to []string
	cmd := &cobra.Command{
		Use:   "replay ID",
		Short: "Deliver an event again, and print the deliveries' ids",
		Long: `Replay delivers a stored event again, whatever became of it before: to the providers that today's routes
give it, or to those that are named.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			body := struct {
				Providers []string `json:"providers,omitempty"`
			}{to}
			var answer struct {
				Deliveries []string `json:"deliveries"`
			}
			if err := a.post(cmd.Context(), "/api/v1/events/"+url.PathEscape(args[0])+"/replay", body, &answer); err != nil {
				return err
			}
			for _, id := range answer.Deliveries {
				cmd.Println(onScreen(id))
			}
			return nil
		},
	}
	cmd.Flags().StringSliceVar(&to, "to", nil, "providers to deliver to")
	return cmd
}
