// Load sends signed GitHub pushes with distinct delivery ids to one hook URL and prints the rate and the
// latencies. It is bounded by a count and a time, and sends to the loopback interface only.
//
//	go run ./test/load -url http://127.0.0.1:8080/hook/… -key .demo/secrets/github.key -count 10000 -connections 16
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/netip"
	"net/url"
	"os"
	"os/signal"
	"time"

	"github.com/bellhop-dev/bellhop/test/rig"
)

func main() {
	hookURL := flag.String("url", "", "hook URL, as bellhop urls prints it")
	keyFile := flag.String("key", "", "file with the endpoint's key")
	size := flag.Int("size", 8<<10, "bytes of a push")
	first := flag.Int64("first", time.Now().UnixMilli(), "number of the first delivery; ids must not repeat")
	l := rig.Load{}
	flag.Int64Var(&l.Count, "count", 10_000, "pushes to send")
	flag.DurationVar(&l.For, "for", 30*time.Second, "time after which no more are sent")
	flag.IntVar(&l.Connections, "connections", 16, "connections")
	flag.Float64Var(&l.Rate, "rate", 0, "pushes a second; 0: as fast as they are answered")
	flag.BoolVar(&l.Persist, "persist", false, "send again what was not acknowledged")
	flag.Parse()
	l.First = *first % 1e9 * 1000 // leaves room in the twelve digits of a delivery id

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, &l, *hookURL, *keyFile, *size); err != nil {
		fmt.Fprintln(os.Stderr, "load:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, l *rig.Load, hookURL, keyFile string, size int) error {
	u, err := url.Parse(hookURL)
	if err != nil {
		return err
	}
	if ip, err := netip.ParseAddr(u.Hostname()); err != nil || !ip.IsLoopback() {
		return errors.New("-url must name a loopback address, such as http://127.0.0.1:8080/hook/…: this loads one's own machine only")
	}
	key, err := os.ReadFile(keyFile)
	if err != nil {
		return fmt.Errorf("-key: %w", err)
	}
	hook, err := rig.NewHook(hookURL, key, size, 256)
	if err != nil {
		return err
	}
	l.Hooks = []*rig.Hook{hook}
	result, err := l.Run(ctx)
	fmt.Println(result)
	if err == nil && result.Refused() > 0 {
		err = fmt.Errorf("%d pushes were refused", result.Refused())
	}
	return err
}
