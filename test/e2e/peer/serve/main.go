// Serve is the program of the pod that package peer describes.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/bellhop-dev/bellhop/test/e2e/peer"
)

func main() {
	listen := flag.String("listen", ":8080", "address")
	delay := flag.Duration("delay", 0, "time that each answer to a delivery takes")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	server := http.Server{Addr: *listen, Handler: peer.NewServer(*delay), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { _ = server.Close() })
	if err := server.ListenAndServe(); ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "peer:", err)
		os.Exit(1)
	}
}
