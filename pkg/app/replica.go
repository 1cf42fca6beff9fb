package app

import (
	"context"
	"fmt"
	"os"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
)

// announcePeriod is how often the others are told that this process is there: two of three tries may fail.
const announcePeriod = bellhop.ReplicaLifetime / 3

// announceReplica tells the processes that share the queue of this one: now, again and again, and at every reload.
func (p *process) announceReplica() {
	name := replicaName()
	p.background("announcements", func(ctx context.Context) {
		ticker := time.NewTicker(announcePeriod)
		defer ticker.Stop()
		for {
			c := p.config.Load()
			err := p.queue.Announce(ctx, bellhop.Replica{
				Name: name, Version: p.options.Version, Started: p.started.UTC(), ConfigHash: c.Hash, Loaded: c.Loaded.UTC(),
			})
			if err != nil && ctx.Err() == nil { // why is told by the queue's health
				p.logger.Debug("announcing this replica", "error", err)
			}
			select {
			case <-ticker.C:
			case <-p.reloaded:
			case <-ctx.Done():
				return
			}
		}
	})
}

// replicaName tells the process from others, on the same machine too. In a pod the host is the pod.
func replicaName() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	return fmt.Sprintf("%s/%d", host, os.Getpid())
}
