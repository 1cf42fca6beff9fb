// Package queue opens the queue that a URL names. What every engine promises is bellhop.Queue; that it keeps
// the promise is shown by queuetest, which all engines pass.
//
//	file://DIR   the embedded engine: Pebble in a directory of this process
package queue

import (
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/embedded"
)

// Defaults of what Options leave out.
const (
	DefaultRetentionAge   = embedded.DefaultRetentionAge
	DefaultRetentionBytes = embedded.DefaultRetentionBytes
)

// Options are what all engines understand. The zero value is usable.
type Options struct {
	// RetentionAge and RetentionBytes bound the history of delivered events; what is undelivered or dead is
	// never dropped by them. Zero means the default, below zero no bound.
	RetentionAge   time.Duration
	RetentionBytes bellhop.Size
	// Logger is nil for none.
	Logger *slog.Logger
	// LockWait is how long Open waits for another process to let go of a directory; zero: not at all.
	LockWait time.Duration
}

// Open opens the queue at a URL, creating it where there is none yet.
func Open(ctx context.Context, rawURL string, o Options) (bellhop.Queue, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse repeats the URL, which may hold a password.
		return nil, fmt.Errorf("reading the queue's URL: write it as file:///var/lib/bellhop/queue")
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("queue file://%s%s: the directory must be absolute; write it with three slashes, as file:///var/lib/bellhop/queue", u.Host, u.Path)
		}
		if strings.Trim(u.Path, "/") == "" {
			return nil, fmt.Errorf("queue %s: name a directory, such as file:///var/lib/bellhop/queue", u.Redacted())
		}
		return embedded.Open(ctx, u.Path, embedded.Options{
			RetentionAge:   o.RetentionAge,
			RetentionBytes: o.RetentionBytes,
			Logger:         o.Logger,
		})
			LockWait:       o.LockWait,
	case "nats", "tls":
		return nil, fmt.Errorf("queue %s: this build has no JetStream engine; write file:// and a directory", u.Redacted())
	case "":
		return nil, fmt.Errorf("queue %q: a scheme is missing; write file:// and an absolute directory", u.Redacted())
	default:
		return nil, fmt.Errorf("queue %s: scheme %q is unknown; write file:// and an absolute directory", u.Redacted(), u.Scheme)
	}
}
