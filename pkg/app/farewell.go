package app

import (
	"context"
	"net"
	"net/http"
	"sync/atomic"
	"time"
)

// farewellTime is how long clients that keep their connections have for the request that they are told in. What does
// not ask for so long is closed.
const farewellTime = 2 * time.Second

// farewell is a handler whose clients leave before the server closes their connections. Without it a request that is
// on its way when its idle connection is closed fails, and that of a sender which does not repeat is lost.
type farewell struct {
	http.Handler
	said *atomic.Bool
	open atomic.Int64 // connections
}

func (f *farewell) connState(_ net.Conn, s http.ConnState) {
	switch s {
	case http.StateNew:
		f.open.Add(1)
	case http.StateClosed, http.StateHijacked:
		f.open.Add(-1)
	}
}

// ServeHTTP ends the connection with the answer once the farewell is said; HTTP/2 sends GOAWAY for the same header.
func (f *farewell) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if f.said.Load() {
		w.Header().Set("Connection", "close")
	}
	f.Handler.ServeHTTP(w, r)
}

// wait returns once all connections are gone, or at the deadline.
func (f *farewell) wait(ctx context.Context, deadline time.Time) {
	ctx, cancel := context.WithDeadline(ctx, deadline)
	defer cancel()
	tick := time.NewTicker(farewellTime / 100)
	defer tick.Stop()
	for f.open.Load() > 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return
		}
	}
}
