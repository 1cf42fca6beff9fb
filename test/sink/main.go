// Sink is a destination for deliveries that counts them and misbehaves on request: every n-th can be answered
// with another status, and each can take its time. It prints its counts once a second while they change.
//
//	go run ./test/sink -listen 127.0.0.1:9999 -every 10 -fault 503 -retry-after 2s
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:9999", "address")
	s := rig.Sink{}
	flag.Int64Var(&s.Every, "every", 0, "answer each n-th request with -fault; 0: none")
	flag.IntVar(&s.Fault, "fault", http.StatusServiceUnavailable, "status of those answers")
	flag.DurationVar(&s.RetryAfter, "retry-after", 0, "their Retry-After")
	flag.DurationVar(&s.Delay, "delay", 0, "time that each answer takes")
	show := flag.Bool("show", false, "print each body")
	flag.Parse()
	if *show {
		s.Received = func(body []byte) { fmt.Printf("%s\n", body) }
	}

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *listen, &s); err != nil {
		fmt.Fprintln(os.Stderr, "sink:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, listen string, s *rig.Sink) error {
	server := http.Server{Addr: listen, Handler: s, ReadHeaderTimeout: 10 * time.Second}
	failed := make(chan error, 1)
	go func() { failed <- server.ListenAndServe() }()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	var shown int64
	for {
		select {
		case <-tick.C:
			if n := s.Requests(); n != shown {
				shown = n
				fmt.Printf("%d requests: %d accepted, %d answered with %d\n", n, s.Accepted(), s.Faults(), s.Fault)
			}
		case err := <-failed:
			return err
		case <-ctx.Done():
			return errors.Join(server.Close(), s.Err())
		}
	}
}
