package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/oklog/ulid/v2"
	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/route"
)

func (p *program) test() *cobra.Command {
	var routeName string
	cmd := &cobra.Command{
		Use:   "test PROVIDER",
		Short: "Send a test event through a configured provider, as serve would",
		Long: `Test sends one event, a push to a branch of no real repository, through a provider of the configuration:
with its address, secrets, proxy, certificates, timeout and words, the same code as in production. --route
adds the words of a route. Exit code 1 if the provider did not take it.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			snapshot, problems, err := p.load(p.logger(cmd))
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
			var words *route.Message
			if routeName != "" {
				i := slices.IndexFunc(snapshot.Routes, func(r *route.Rule) bool { return r.Name == routeName })
				if i < 0 {
					var known []string
					for _, r := range snapshot.Routes {
						known = append(known, r.Name)
					}
					return missing("route", routeName, known, problems)
				}
				words = snapshot.Routes[i].Message
			}
			defer provider.Close()
			ctx, cancel := context.WithTimeout(cmd.Context(), provider.Timeout)
			defer cancel()
			start := time.Now()
			err = provider.Provider.Send(ctx, words.Apply(provider.Message.Apply(testEvent(start))))
			if err != nil {
				return fmt.Errorf("sending to %s (%s): %w; serve would %s", provider.Name, provider.Kind.Name, err, next(err))
			}
			cmd.Printf("%s (%s) took the test event in %v\n", provider.Name, provider.Kind.Name, time.Since(start).Round(time.Millisecond))
			return nil
		},
	}
	cmd.Flags().StringVar(&routeName, "route", "", "route whose words the event is put in")
	p.configFlags(cmd, "installation")
	return cmd
}

// next is what the notifier does after an error.
func next(err error) string {
	if d, ok := bellhop.RetryDelay(err); ok {
		return "pause the provider for " + d.String() + " and try again"
	}
	if bellhop.IsPermanent(err) {
		return "give up at once"
	}
	return "try again later"
}

// testEvent has all that a push has, so that every provider can make something of it; nobody owns the
// repository's domain (RFC 2606).
func testEvent(now time.Time) *bellhop.Event {
	const commit = "0123456789abcdef0123456789abcdef01234567"
	return &bellhop.Event{
		ID: ulid.Make().String(), Time: now.UTC(), Endpoint: "bellhop-test", Source: "github",
		Type: "push", Kind: bellhop.KindGitPush, Severity: bellhop.Info, Reason: "Test",
		Title:   "Test event from Bellhop",
		Message: "If you can read this, the provider works. Nothing was pushed.",
		Actor:   "bellhop",
		Repo: bellhop.Repo{
			Name: "bellhop/test", HTTPURL: "https://git.example.invalid/bellhop/test.git",
			SSHURL: "git@git.example.invalid:bellhop/test.git", WebURL: "https://git.example.invalid/bellhop/test",
		},
		Ref: "refs/heads/test", Branch: "test", Commit: commit,
		Raw: []byte(`{"ref": "refs/heads/test", "after": "` + commit + `"}`),
	}
}
