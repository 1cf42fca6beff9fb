package main

import (
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func (p *program) deliveries() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "deliveries",
		Short: "List and show events on their way to providers",
		Args:  cobra.NoArgs,
	}
	a := p.apiFlags(cmd)
	list := p.deliveriesList(a)
	cmd.RunE = list.RunE
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list, p.deliveriesShow(a))
	return cmd
}

func (p *program) deliveriesList(a *api) *cobra.Command {
	var (
		event, provider, state string
		page                   *pages
		form                   *format
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List deliveries, newest event first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := page.query()
			for name, value := range map[string]string{"event": event, "provider": provider, "state": state} {
				if value != "" {
					q.Set(name, value)
				}
			}
			var l list[*bellhop.Delivery]
			if err := a.get(cmd.Context(), "/api/v1/deliveries", q, &l); err != nil {
				return err
			}
			return printList(cmd, *form, l, deliveryHeads, deliveryRow)
		},
	}
	cmd.Flags().StringVar(&event, "event", "", "only those of the event with this id")
	cmd.Flags().StringVar(&provider, "provider", "", "only those to this provider")
	cmd.Flags().StringVar(&state, "state", "", "only those waiting, delivered or dead")
	page, form = pageFlags(cmd), outputFlag(cmd, "table")
	return cmd
}

func (p *program) deliveriesShow(a *api) *cobra.Command {
	var form *format
	cmd := &cobra.Command{
		Use:   "show ID",
		Short: "Show one delivery with its last attempts",
		Args:  cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			event, provider, ok := strings.Cut(args[0], ".")
			if !ok {
				return fmt.Errorf("delivery %q: an id is the event's, a dot, and the provider's name", args[0])
			}
			var l list[*bellhop.Delivery]
			if err := a.get(cmd.Context(), "/api/v1/deliveries", url.Values{"event": {event}, "provider": {provider}}, &l); err != nil {
				return err
			}
			if len(l.Items) == 0 {
				return fmt.Errorf("delivery %q: not found", args[0])
			}
			d := l.Items[0]
			if *form == asJSON {
				return printJSON(cmd.OutOrStdout(), d)
			}
			if err := facts(cmd.OutOrStdout(),
				bellhop.Field{Name: "id", Value: d.ID},
				bellhop.Field{Name: "event", Value: d.Event},
				bellhop.Field{Name: "provider", Value: d.Provider},
				bellhop.Field{Name: "route", Value: d.Route},
				bellhop.Field{Name: "state", Value: string(d.State)},
				bellhop.Field{Name: "accepted", Value: when(d.Accepted)},
				bellhop.Field{Name: "due", Value: when(d.Due)},
				bellhop.Field{Name: "attempts", Value: strconv.Itoa(d.Attempts)},
				bellhop.Field{Name: "error", Value: d.Error},
				bellhop.Field{Name: "note", Value: d.Note},
				bellhop.Field{Name: "time", Value: when(d.Time)},
			); err != nil {
				return err
			}
			if len(d.Log) == 0 {
				return nil
			}
			cmd.Println()
			t := newTable(cmd.OutOrStdout(), "ATTEMPT", "TOOK", "ERROR")
			for _, at := range d.Log {
				outcome := at.Error
				if outcome == "" {
					outcome = "-"
				}
				t.row(when(at.Time), at.Took.Round(time.Millisecond).String(), outcome)
			}
			return t.flush()
		},
	}
	form = outputFlag(cmd, "table")
	return cmd
}
