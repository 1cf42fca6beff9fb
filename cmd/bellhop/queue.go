package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"os"
	"slices"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue"
)

func (p *program) queue() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "queue",
		Short: "Move the queue to another place",
	}
	cmd.AddCommand(p.queueMove())
	return cmd
}

func (p *program) queueMove() *cobra.Command {
	var from, to string
	cmd := &cobra.Command{
		Use:   "move --from URL --to URL",
		Short: "Copy all that a queue holds to another, and count it there",
		Long: `Move copies events with their deliveries, waiting, dead and delivered, to a queue of any kind; with them
pauses, the memory of what was sent, what a webhook is recognised by when its sender repeats it, and the
queue's own name, by which commit statuses are told from other installations'. Then it counts what has
arrived. The queue that it was moved from is left as it is; remove it once bellhop serves from the other.

Stop bellhop serve first. Move refuses a queue that somebody serves from, and one to move to that has had
events of its own. Interrupted, it goes on where it was when it is run again.

A webhook that its sender repeats after the move is a duplicate, as it would have been before. From NATS, one
is delivered once more if its event has left the history for want of room, or was not received entirely.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if p.environment != nil {
				return p.environment
			}
			counts, err := p.move(cmd.Context(), from, to)
			if err != nil {
				return err
			}
			t := newTable(cmd.OutOrStdout(), "PROVIDER", "WAITING", "DEAD", "DELIVERED")
			for _, provider := range slices.Sorted(maps.Keys(counts.Deliveries)) {
				n := counts.Deliveries[provider]
				t.row(provider, strconv.Itoa(n[bellhop.Waiting]), strconv.Itoa(n[bellhop.Dead]), strconv.Itoa(n[bellhop.Delivered]))
			}
			if err := t.flush(); err != nil {
				return err
			}
			cmd.Printf("moved %s\n", plural(counts.Events, "event"))
			return nil
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the queue that bellhop served from, such as file:///var/lib/bellhop/queue")
	cmd.Flags().StringVar(&to, "to", "", "the queue that it is to serve from, such as nats://nats:4222?replicas=3")
	for _, name := range []string{"from", "to"} {
		if err := cmd.MarkFlagRequired(name); err != nil {
			panic(err) // there is no such flag
		}
	}
	p.settingFlags(cmd, "retention-age")
	return cmd
}

func (p *program) move(ctx context.Context, from, to string) (counts queue.Counts, err error) {
	// Opening makes what is not there.
	if u, err := url.Parse(from); err == nil && u.Scheme == "file" {
		if _, err := os.Stat(u.Path); err != nil {
			return counts, fmt.Errorf("the queue to move from: %w", err)
		}
	}
	source, err := p.openToMove(ctx, from)
	if err != nil {
		return counts, err
	}
	defer func() { err = errors.Join(err, source.Close()) }()
	target, err := p.openToMove(ctx, to)
	if err != nil {
		return counts, err
	}
	defer func() { err = errors.Join(err, target.Close()) }()
	return queue.Move(ctx, source, target)
}

func (p *program) openToMove(ctx context.Context, rawURL string) (bellhop.Queue, error) {
	return queue.Open(ctx, rawURL, queue.Options{RetentionAge: p.settings.RetentionAge, Preserve: true})
}
