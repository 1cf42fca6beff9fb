package notifier

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
)

const (
	// orphanPeriod is how often it is looked for deliveries whose provider is gone.
	orphanPeriod = time.Minute
	// orphanTake is how long one of them is waited for; what is due later is left to the next look.
	orphanTake = 5 * time.Second
)

// applied is a snapshot while it is the one that runs: ctx ends with it.
type applied struct {
	*config.Snapshot
	ctx context.Context
	end context.CancelFunc
}

// buryOrphans makes what waits for providers that are in no configuration dead after the grace time. That counts from
// when this process saw such a provider first, so that a restart begins it anew: later is safe, sooner is not.
func (n *Notifier) buryOrphans() {
	for sleep(n.running, min(orphanPeriod, n.orphanGrace)) {
		n.mu.Lock()
		now := n.applied
		n.mu.Unlock()
		orphans, err := n.orphans(now)
		if err != nil {
			n.logger.Debug("looking for deliveries without a provider", "error", err) // the queue's health tells why
			continue
		}
		for name, since := range n.missingSince(now, orphans) {
			if time.Since(since) >= n.orphanGrace {
				n.bury(now, name, since)
			}
		}
	}
}

// missingSince takes down which providers are orphans under s, and returns since when.
func (n *Notifier) missingSince(s *applied, orphans []string) map[string]time.Time {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.applied != s {
		return nil // Apply has seen what is back
	}
	missing := make(map[string]time.Time, len(orphans))
	for _, name := range orphans {
		since, known := n.missing[name]
		if !known {
			since = time.Now()
			n.logger.Warn("deliveries wait for a provider that is not configured", "provider", name, "until", since.Add(n.orphanGrace))
		}
		missing[name] = since
	}
	n.missing = missing
	return maps.Clone(missing)
}

// orphans are the providers that something waits for and that s does not have.
func (n *Notifier) orphans(s *applied) ([]string, error) {
	names, err := n.queue.Providers(s.ctx)
	if err != nil {
		return nil, err
	}
	var orphans []string
	for _, name := range names {
		if s.Provider(name) != nil {
			continue
		}
		stats, err := n.queue.Stats(s.ctx, name)
		if err != nil {
			return nil, err
		}
		if stats.Depth > 0 {
			orphans = append(orphans, name)
		}
	}
	return orphans, nil
}

// bury makes what is due to a provider dead, as long as s runs and all replicas agree: one that still has the provider,
// or has it again, delivers.
func (n *Notifier) bury(s *applied, provider string, since time.Time) {
	if !n.agreed(s) {
		return
	}
	reason := bellhop.Permanent(fmt.Errorf("provider %q is in no configuration, seen so since %s: add it again and run bellhop dead retry --provider %s, or bellhop dead drop --provider %s",
		provider, since.UTC().Format(time.RFC3339), provider, provider))
	buried := 0
	defer func() {
		if buried > 0 {
			n.logger.Error("deliveries dead: their provider is not configured", "provider", provider, "deliveries", buried, "since", since)
		}
	}()
	for {
		lease, err := n.takeOrphan(s.ctx, provider)
		if err != nil { // nothing is due, mostly
			return
		}
		verdict := bellhop.ErrStopping
		if n.agreed(s) {
			verdict = reason
		}
		if err := lease.Settle(context.WithoutCancel(s.ctx), verdict, bellhop.Outcome{Started: time.Now()}); err != nil {
			n.logger.Error("settling a delivery", "provider", provider, "delivery", lease.Delivery().ID, "error", err)
			return
		}
		if bellhop.IsStopping(verdict) {
			return
		}
		buried++
	}
}

func (n *Notifier) takeOrphan(ctx context.Context, provider string) (bellhop.Lease, error) {
	ctx, cancel := context.WithTimeout(ctx, orphanTake)
	defer cancel()
	return n.queue.Take(ctx, provider)
}

// agreed reports whether s runs still, here and on all other replicas.
func (n *Notifier) agreed(s *applied) bool {
	replicas, err := n.queue.Replicas(s.ctx)
	if err != nil || len(replicas) == 0 || s.ctx.Err() != nil {
		return false
	}
	return !slices.ContainsFunc(replicas, func(r bellhop.Replica) bool { return r.ConfigHash != s.Hash })
}
