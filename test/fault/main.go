// Fault runs three replicas of the real program on a JetStream cluster of three servers, all as processes on
// this machine's loopback interface, under a steady load of signed pushes to one endpoint whose events go to
// three providers. In each scenario something fails in the middle of it, and afterwards what was acknowledged
// is held against what was delivered:
//
//	steady       nothing fails
//	rolling      all Bellhops are restarted, one after the other, as by an upgrade
//	kill         each Bellhop in turn is killed and started again
//	leader       the server that leads the stream of events is killed and started again
//	frozen       the same server is frozen: its connections stay open and are silent
//	quorum       two of three servers are stopped and brought back
//	partition    one Bellhop is cut off from all servers: first by silence, then by resets
//	disk         the disk of the server that leads the stream of events is full; needs root
//	retry-after  one provider answers 429 with Retry-After, and meanwhile each Bellhop is killed
//	upgrade      all servers are restarted, one after the other, as by the StatefulSet of the NATS Helm chart
//	stepdown     the leaders of both streams and of all consumers step down on request, each several times
//	latency      one Bellhop's way to NATS takes 30 to 60 ms, there and back each
//
// In the last three, which are ordinary operation as well, a provider takes 5 to 20 seconds over one request of 500, which
// is longer than NATS waits for a sign of life.
//
// It exits with 1 if an event was lost, if one came twice in ordinary operation, if a request was sent within
// the time that Retry-After asked for, or if the rate limit of a provider did not hold. `make fault` runs it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/bellhop-dev/bellhop/test/natsrig"
)

func main() {
	o := options{Settle: 15 * time.Second}
	flag.StringVar(&o.Program, "bellhop", "bin/bellhop", "the program")
	flag.DurationVar(&o.For, "for", 2*time.Minute, "time of the load of each scenario")
	flag.Float64Var(&o.Rate, "rate", 150, "events a second")
	flag.DurationVar(&o.Drain, "drain", time.Minute, "longest time without a delivery at the end")
	flag.BoolVar(&o.Embedded, "embedded", false, "one Bellhop with the embedded engine, for comparison; what needs NATS is left out")
	only := flag.String("only", "", "scenarios to run, such as kill,leader; all if empty")
	dir := flag.String("dir", os.TempDir(), "where the servers' and the program's files are made")
	verbose := flag.Bool("v", false, "show the logs of all processes")
	flag.Parse()
	o.Log = io.Discard
	if *verbose {
		o.Log = os.Stderr
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, o, *dir, *only); err != nil {
		fmt.Fprintln(os.Stderr, "fault:", err)
		os.Exit(1)
	}
}

// run runs the scenarios one after the other, and all of them whatever becomes of one.
func run(ctx context.Context, o options, dir, only string) (err error) {
	wanted, err := choose(only, o.Embedded)
	if err != nil {
		return err
	}
	if o.Dir, err = os.MkdirTemp(dir, "bellhop-fault-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	if !o.Embedded {
		if o.Server, err = natsrig.Build(ctx, o.Dir); err != nil {
			return err
		}
	}
	var problems error
	table := []string{columns}
	for _, s := range wanted {
		o := o
		o.Dir = filepath.Join(o.Dir, s.name)
		r, err := play(ctx, o, s)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if errors.Is(err, natsrig.ErrMount) {
			fmt.Printf("%s: skipped: %v\n", s.name, err)
			continue
		}
		if err == nil {
			err = r.verdict()
		}
		if err != nil {
			problems = errors.Join(problems, fmt.Errorf("%s: %w", s.name, err))
		}
		fmt.Printf("%s: %v\n", s.name, r)
		table = append(table, s.name+"\t"+r.row())
	}
	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	if _, err := io.WriteString(w, strings.Join(table, "\n")+"\n"); err != nil {
		return err
	}
	return errors.Join(problems, w.Flush())
}

// choose are the scenarios of these names, in their own order.
func choose(only string, embedded bool) ([]scenario, error) {
	var names []string
	var wanted []scenario
	asked := strings.Split(only, ",")
	for _, s := range scenarios {
		if embedded && s.nats {
			continue
		}
		names = append(names, s.name)
		if only == "" || slices.Contains(asked, s.name) {
			wanted = append(wanted, s)
		}
	}
	if only != "" && len(wanted) != len(asked) {
		return nil, fmt.Errorf("-only %s: write some of %s, each once", only, strings.Join(names, ","))
	}
	return wanted, nil
}
