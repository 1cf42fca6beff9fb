package main

import (
	"context"
	"errors"
	"net/url"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

func (p *program) dead() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "List, retry and drop deliveries that were given up",
		Args:  cobra.NoArgs,
	}
	a := p.apiFlags(cmd)
	list := p.deadList(a)
	cmd.RunE = list.RunE
	cmd.Flags().AddFlagSet(list.Flags())
	cmd.AddCommand(list,
		p.deadChange(a, "retry", "retried", "Try dead deliveries again, with a fresh count of attempts"),
		p.deadChange(a, "drop", "dropped", "Forget dead deliveries for good"))
	return cmd
}

func (p *program) deadList(a *api) *cobra.Command {
	var (
		provider string
		page     *pages
		form     *format
	)
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead deliveries, newest event first",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := page.query()
			if provider != "" {
				q.Set("provider", provider)
			}
			var l list[*bellhop.Delivery]
			if err := a.get(cmd.Context(), "/api/v1/dead", q, &l); err != nil {
				return err
			}
			return printList(cmd, *form, l, []string{"ID", "PROVIDER", "ATTEMPTS", "TIME", "ERROR"}, func(d *bellhop.Delivery) []string {
				return []string{d.ID, d.Provider, strconv.Itoa(d.Attempts), when(d.Time), cutAt(120, d.Error)}
			})
		},
	}
	cmd.Flags().StringVar(&provider, "provider", "", "only those to this provider")
	page, form = pageFlags(cmd), outputFlag(cmd, "table")
	return cmd
}

// deadChange is retry or drop: of the named ones, of a provider's, or of all.
func (p *program) deadChange(a *api, verb, done, short string) *cobra.Command {
	var (
		all      bool
		provider string
	)
	cmd := &cobra.Command{
		Use:   verb + " [ID…]",
		Short: short,
		Args: func(_ *cobra.Command, args []string) error {
			chosen := 0
			for _, c := range []bool{len(args) > 0, all, provider != ""} {
				if c {
					chosen++
				}
			}
			if chosen != 1 {
				return errors.New("name the deliveries, or say --provider NAME or --all")
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			var n int
			var err error
			if provider != "" {
				n, err = a.changeOf(cmd.Context(), verb, provider)
			} else {
				n, err = a.change(cmd.Context(), verb, args)
			}
			if err != nil {
				return err
			}
			cmd.Printf("%s %s\n", done, plural(n, "delivery"))
			return nil
		},
	}
	cmd.Flags().BoolVar(&all, "all", false, "all that are dead")
	cmd.Flags().StringVar(&provider, "provider", "", "all that are dead of this provider")
	return cmd
}

// change retries or drops the deliveries, all dead ones if none is named.
func (a *api) change(ctx context.Context, verb string, ids []string) (int, error) {
	body := struct {
		IDs []string `json:"ids,omitempty"`
		All bool     `json:"all,omitempty"`
	}{ids, len(ids) == 0}
	var answer struct {
		Done int `json:"done"`
	}
	err := a.post(ctx, "/api/v1/dead/"+verb, body, &answer)
	return answer.Done, err
}

// changeOf retries or drops what is dead of one provider when it begins.
func (a *api) changeOf(ctx context.Context, verb, provider string) (int, error) {
	total, q := 0, url.Values{"provider": {provider}, "limit": {"1000"}}
	for {
		var l list[*bellhop.Delivery]
		if err := a.get(ctx, "/api/v1/dead", q, &l); err != nil {
			return total, err
		}
		ids := make([]string, len(l.Items))
		for i, d := range l.Items {
			ids[i] = d.ID
		}
		if len(ids) > 0 {
			n, err := a.change(ctx, verb, ids)
			if total += n; err != nil {
				return total, err
			}
		}
		if l.Next == "" {
			return total, nil
		}
		q.Set("cursor", l.Next)
	}
}
