// Bench measures the real program, as a process of its own on this machine's loopback interface, and prints
// each figure beside what it should be. `make bench` runs all of it; -only picks parts:
//
//	accept     8 kB signed GitHub pushes over HTTP, on disk before the answer, against a reference server that
//	           reads, checks the HMAC and appends to a hand-written group-commit log
//	many       the same with 10,000 endpoints and 1,000 providers, against one of each
//	deliver    deliveries to a local sink, and the time from acceptance to delivery at a steady rate
//	memory     resident memory, idle and with a backlog of a million events
//	reload     a new endpoint among 1,000: from the swap of the files to its first accepted request
//	jetstream  accepting and delivering with a cluster of three local NATS servers as the queue, against a bare
//	           loop that publishes the same bodies to it, and against the reference server that does
//
// Where two servers are compared, rounds alternate in the same run, and the median of the rounds' ratios
// counts: what else the machine does meets both alike.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// bench is one run.
type bench struct {
	program     string
	dir         string
	rounds      int
	round       time.Duration
	connections int
	backlog     int64
	log         io.Writer

	delivery int64 // number of the next delivery: no id is used twice
	figures  []figure
}

// figure is a line of the result.
type figure struct {
	what, value, goal string
	met               bool
}

func (b *bench) report(what string, met bool, goal, format string, args ...any) {
	f := figure{what, fmt.Sprintf(format, args...), goal, met}
	b.figures = append(b.figures, f)
	fmt.Printf("%s: %s (goal: %s)\n", f.what, f.value, f.goal)
}

// none is the goal of what is told for comparison.
const none = "none"

// tell reports what has no goal.
func (b *bench) tell(what, format string, args ...any) {
	b.report(what, true, none, format, args...)
}

// deliveries reserves n delivery numbers.
func (b *bench) deliveries(n int64) (first int64) {
	first = b.delivery
	b.delivery += n
	return first
}

func main() {
	if len(os.Args) > 1 && os.Args[1] == "reference" {
		exit(serveReference(os.Args[2:]))
	}
	b := &bench{}
	flag.StringVar(&b.program, "bellhop", "bin/bellhop", "the program")
	flag.StringVar(&b.dir, "dir", os.TempDir(), "where queues are made: a disk like the one that matters")
	flag.IntVar(&b.rounds, "rounds", 5, "rounds of a comparison")
	flag.DurationVar(&b.round, "round", 3*time.Second, "time of a round; on JetStream at least 10s")
	flag.IntVar(&b.connections, "connections", 64, "connections that send")
	flag.Int64Var(&b.backlog, "backlog", 1_000_000, "events of the backlog; a million takes about 10 GB of disk")
	only := flag.String("only", "", "parts to run, such as accept,reload; all if empty")
	verbose := flag.Bool("v", false, "show the program's log")
	flag.Parse()
	b.log = io.Discard
	if *verbose {
		b.log = os.Stderr
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	exit(b.run(ctx, *only))
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func (b *bench) run(ctx context.Context, only string) (err error) {
	parts := []struct {
		name string
		run  func(context.Context) error
	}{
		{"accept", b.accept}, {"many", b.many}, {"deliver", b.deliver}, {"memory", b.memory}, {"reload", b.reload},
		{"jetstream", b.jetstream},
	}
	var names, wanted []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	wanted = names
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	for _, w := range wanted {
		if !slices.Contains(names, w) {
			return fmt.Errorf("-only %s: write some of %s", w, strings.Join(names, ","))
		}
	}
	if b.dir, err = os.MkdirTemp(b.dir, "bellhop-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(b.dir)) }()

	fmt.Printf("%s, %d processors, GOMAXPROCS %d\n", runtime.Version(), runtime.NumCPU(), runtime.GOMAXPROCS(0))
	for _, p := range parts {
		if !slices.Contains(wanted, p.name) {
			continue
		}
		fmt.Printf("\n== %s\n", p.name)
		start := time.Now()
		if err := p.run(ctx); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
		fmt.Printf("took %v\n", time.Since(start).Round(time.Second))
	}

	fmt.Println()
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 3, ' ', 0)
	table := []string{"WHAT\tMEASURED\tGOAL\t"}
	for _, f := range b.figures {
		met := "met"
		switch {
		case !f.met:
			met = "MISSED"
		case f.goal == none:
			met = ""
		}
		table = append(table, fmt.Sprintf("%s\t%s\t%s\t%s", f.what, f.value, f.goal, met))
	}
	if _, err := io.WriteString(w, strings.Join(table, "\n")+"\n"); err != nil {
		return err
	}
	return w.Flush()
}
