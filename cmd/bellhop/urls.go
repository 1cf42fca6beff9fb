package main

import (
	"cmp"
	"strings"

	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/config"
)

func (p *program) urls() *cobra.Command {
	var (
		base string
		form *format
	)
	cmd := &cobra.Command{
		Use:   "urls",
		Short: "Print the hook URLs to give to the senders, one line an endpoint",
		Long: `Urls prints one line an endpoint: its name, its source, its hook URL (one a key, separated by spaces, in
the order of the keys) and the event types that it lists, * for all.

Of a configuration with problems it prints the endpoints that are whole, then the problems.

Whoever knows the URL of an endpoint without signatures is believed: treat these lines like keys.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			snapshot, problems, err := p.load(nil)
			if err != nil {
				return err
			}
			base := cmp.Or(base, p.settings.PublicURL)
			if base == "" {
				cmd.PrintErrln("bellhop: these are paths; --base or BELLHOP_PUBLIC_URL makes them URLs")
			}
			if *form == asJSON {
				views := []endpointView{}
				for _, ep := range snapshot.Endpoints {
					views = append(views, endpointView{ep.Name, ep.Kind.Name, hookURLs(base, ep), ep.Events})
				}
				err = printJSON(cmd.OutOrStdout(), views)
			} else {
				t := newTable(cmd.OutOrStdout())
				for _, ep := range snapshot.Endpoints {
					t.row(ep.Name, ep.Kind.Name, strings.Join(hookURLs(base, ep), " "), cmp.Or(strings.Join(ep.Events, ","), "*"))
				}
				err = t.flush()
			}
			if err != nil {
				return err
			}
			for _, problem := range problems.Fatal() {
				cmd.PrintErrln(problem.String())
			}
			if problems.Err() != nil {
				return errTold
			}
			return nil
		},
	}
	p.configFlags(cmd, "public-url")
	cmd.Flags().StringVar(&base, "base", "", "what the URLs begin with, such as https://hooks.example.com; wins over --public-url")
	form = outputFlag(cmd, "table")
	return cmd
}

type endpointView struct {
	Name   string   `json:"name"`
	Source string   `json:"source"`
	URLs   []string `json:"urls"`
	Events []string `json:"events,omitempty"`
}

// hookURLs are the endpoint's URLs, paths if there is no base.
func hookURLs(base string, ep *config.Endpoint) []string {
	urls := make([]string, len(ep.Fingerprints))
	for i, f := range ep.Fingerprints {
		urls[i] = strings.TrimRight(base, "/") + "/hook/" + f
	}
	return urls
}
