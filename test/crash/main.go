// Crash kills the real program under load with SIGKILL, again and again, and counts afterwards: what was
// acknowledged must have been delivered. It exits with 1 if anything was lost. `make crash` runs it.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
)

func main() {
	o := options{Log: os.Stderr}
	flag.StringVar(&o.Program, "bellhop", "bin/bellhop", "the program")
	flag.IntVar(&o.Rounds, "rounds", 50, "times to kill it")
	flag.IntVar(&o.Connections, "connections", 16, "connections of the load")
	flag.IntVar(&o.Each, "each", 1000, "acknowledgements between two kills, at most")
	flag.DurationVar(&o.Drain, "drain", 2*time.Minute, "longest time without a delivery at the end")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	dir, err := os.MkdirTemp("", "bellhop-crash-")
	if err == nil {
		o.Dir = dir
		var r report
		if r, err = crash(ctx, o); err == nil {
			fmt.Println(r)
			err = r.verdict()
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "crash: %v\nthe queue is kept in %s\n", err, dir)
		os.Exit(1)
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, "crash:", err)
	}
}
