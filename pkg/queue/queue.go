// Package queue opens the queue that a URL names. What every engine promises is bellhop.Queue; that it keeps
// the promise is shown by queuetest, which all engines pass.
//
//	file://DIR             the embedded engine: Pebble in a directory of this process
//	nats://HOST, tls://…   the JetStream engine: streams that many processes share
package queue

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/embedded"
	"github.com/bellhop-dev/bellhop/pkg/queue/jetstream"
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
	// Preserve drops nothing while the queue is open, whatever is beyond the bounds.
	Preserve bool
	// LockWait is how long Open waits for another process to let go of a directory; zero: not at all.
	LockWait time.Duration
	// Logger is nil for none.
	Logger *slog.Logger
}

// Open opens the queue at a URL, creating it where there is none yet.
func Open(ctx context.Context, rawURL string, o Options) (bellhop.Queue, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse repeats the URL, which may hold a password.
		return nil, fmt.Errorf("reading the queue's URL: write it as file:///var/lib/bellhop/queue or nats://nats:4222")
	}
	switch u.Scheme {
	case "file":
		if u.Host != "" && u.Host != "localhost" {
			return nil, fmt.Errorf("queue file://%s%s: the directory must be absolute; write it with three slashes, as file:///var/lib/bellhop/queue", u.Host, u.Path)
		}
		if strings.Trim(u.Path, "/") == "" {
			return nil, fmt.Errorf("queue %s: name a directory, such as file:///var/lib/bellhop/queue", u.Redacted())
		}
		if o.Preserve {
			o.RetentionAge, o.RetentionBytes = -1, -1
		}
		return embedded.Open(ctx, u.Path, embedded.Options{
			RetentionAge:   o.RetentionAge,
			RetentionBytes: o.RetentionBytes,
			LockWait:       o.LockWait,
			Logger:         o.Logger,
		})
	case "nats", "tls":
		q, err := jetstream.Open(ctx, u, jetstream.Options{
			RetentionAge: cmp.Or(o.RetentionAge, DefaultRetentionAge), RetentionBytes: cmp.Or(o.RetentionBytes, DefaultRetentionBytes),
			Preserve: o.Preserve, Logger: o.Logger,
		})
		if err != nil {
			return nil, err
		}
		return q, nil
	case "":
		return nil, fmt.Errorf("queue %q: a scheme is missing; write file:// and an absolute directory, or nats:// and a server", u.Redacted())
	default:
		return nil, fmt.Errorf("queue %s: scheme %q is unknown; write file:// and an absolute directory, or nats:// and a server", u.Redacted(), u.Scheme)
	}
}
