package app

import (
	"context"
	"slices"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/config"
)

// watch reloads whenever the files may have changed.
func (p *process) watch() {
	o := config.WatchOptions{Paths: p.watched, Logger: p.logger}
	if p.secrets != nil {
		o.Changed = p.secrets.Changed()
	}
	p.background("watcher", func(ctx context.Context) { config.Watch(ctx, o, p.changed) })
}

func (p *process) changed() {
	p.reload()
	for _, pair := range p.keyPairs() {
		changed, err := pair.reload()
		switch {
		case err != nil:
			p.logger.Error("TLS: the old certificate serves on", "listener", pair.listener, "error", err)
		case changed:
			p.observeCertificate(pair)
		}
	}
	if err := p.readToken(); err != nil {
		p.logger.Error("the old token serves on", "error", err)
	}
}

// reload takes the configuration on disk if nothing is wrong with it; otherwise the last good one serves on.
// All that can fail is done before anything live is touched.
func (p *process) reload() {
	p.reloading.Lock()
	defer p.reloading.Unlock()
	if p.loader.Installation() == "" {
		return // what is built now would call itself otherwise later; see awaitInstallation
	}
	start := time.Now()
	before := p.config.Load()
	snapshot, problems := p.loader.Load()
	next := *before
	next.Checked = start
	next.Problems = nil
	for _, problem := range problems {
		next.Problems = append(next.Problems, problem.String())
	}
	fatal := problems.Fatal()
	if next.Successful = len(fatal) == 0; !next.Successful {
		for _, problem := range problems {
			p.logProblem(problem)
		}
		p.logger.Error("the configuration is not used", "problems", len(fatal), "serving", before.Hash)
		p.metrics.ReloadSuccessful.Set(0)
		p.config.Store(&next)
		p.tellBroken(problems)
		return
	}
	p.metrics.ReloadSuccessful.Set(1)
	p.metrics.ReloadSuccessTime.SetToCurrentTime()
	if snapshot.Hash == before.Hash {
		p.config.Store(&next)
		p.tellReloaded(before, &next)
		return
	}
	for _, problem := range problems {
		p.logProblem(problem)
	}
	last := p.receiver.Snapshot()
	// Providers first: what the receiver accepts next finds them running.
	p.notifier.Apply(snapshot)
	p.receiver.Apply(snapshot)
	next.Hash, next.Loaded = snapshot.Hash, time.Now()
	next.Endpoints, next.Providers = len(snapshot.Endpoints), len(snapshot.Providers)
	p.config.Store(&next)
	select {
	case p.reloaded <- struct{}{}:
	default: // it is told already
	}
	p.metrics.ConfigInfo.Reset()
	p.metrics.ConfigInfo.WithLabelValues(snapshot.Hash).Set(1)
	p.announce(last, snapshot)
	p.tellReloaded(before, &next)
	p.logger.Info("configuration ready", "hash", snapshot.Hash, "endpoints", next.Endpoints, "providers", next.Providers,
		"routes", len(snapshot.Routes), "took", time.Since(start))
}

// awaitInstallation loads the configuration once the queue says what this installation is called, which a queue
// elsewhere cannot before it is reached for the first time.
func (p *process) awaitInstallation() {
	if p.loader.Installation() != "" {
		return
	}
	p.background("waiting for the queue", func(ctx context.Context) {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for p.loader.Installation() == "" {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		p.reload()
	})
}

// announce logs the endpoints that a reload brought. This line and `bellhop urls` are the places that show paths.
func (p *process) announce(last, now *config.Snapshot) {
	for _, ep := range now.Endpoints {
		for _, f := range ep.Fingerprints {
			if last != nil {
				if known := last.Lookup(f); known != nil && known.Name == ep.Name {
					continue
				}
			}
			p.logger.Info("endpoint ready", "name", ep.Name, "source", ep.Kind.Name, "path", "/hook/"+f)
		}
	}
}

func (p *process) logProblem(problem bellhop.Problem) {
	attrs := []any{"problem", problem.String()}
	if problem.Severity == bellhop.Warning {
		p.logger.Warn("configuration", attrs...)
		return
	}
	p.logger.Error("configuration", attrs...)
}

// keyPairs are the certificates of all listeners that have one.
func (p *process) keyPairs() []*keyPair {
	return slices.DeleteFunc([]*keyPair{p.tls, p.admissionTLS}, func(pair *keyPair) bool { return pair == nil })
}

func (p *process) observeCertificate(pair *keyPair) {
	p.metrics.TLSNotAfter.WithLabelValues(pair.listener).Set(float64(pair.notAfter().Unix()))
	p.logger.Info("certificate ready", "listener", pair.listener, "notAfter", pair.notAfter())
}
