package app

import (
	"context"
	"fmt"
	"os"
	"strings"

	"github.com/bellhop-dev/bellhop/pkg/admin"
	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/httpsend"
	"github.com/bellhop-dev/bellhop/pkg/kube"
	"github.com/bellhop-dev/bellhop/pkg/notifier"
)

// The reasons of Kubernetes Events.
const (
	reasonReloaded = "ConfigReloaded"   // what serves changed, or is right again
	reasonInvalid  = "ConfigInvalid"    // what serves stays, and why
	reasonMissing  = "KeyMissing"       // a key or a Secret that the configuration names is not there
	reasonUnready  = "ProviderNotReady" // a provider that took deliveries takes none
)

// tellEvents begins to write Kubernetes Events if there is a ConfigMap to write them about.
func (p *process) tellEvents(cluster *kube.Cluster) {
	if p.settings.ConfigMap == "" {
		return
	}
	instance, err := os.Hostname() // in a pod its name
	if err != nil {
		instance = "bellhop"
	}
	p.events = cluster.Events(p.settings.ConfigMap, instance)
	p.onStop("Kubernetes Events", func(context.Context) error {
		p.events.Stop()
		return nil
	})
}

// tellReloaded tells of what serves now. A start that went well is no news.
func (p *process) tellReloaded(before, now *admin.ConfigStatus) {
	starts, mended := before.Checked.IsZero(), !before.Successful
	if starts || before.Hash == now.Hash && !mended {
		return
	}
	p.events.Tell(kube.Event{Reason: reasonReloaded, Action: "Reload",
		Note: fmt.Sprintf("configuration %s serves: %d endpoints, %d providers", now.Hash, now.Endpoints, now.Providers)})
}

// tellBroken tells of every problem of a configuration that is not used; missing keys are told by themselves.
func (p *process) tellBroken(problems bellhop.Problems) {
	var missing, invalid bellhop.Problems
	for _, problem := range problems.Fatal() {
		if problem.MissingKey != "" {
			missing = append(missing, problem)
		} else {
			invalid = append(invalid, problem)
		}
	}
	if len(invalid) > 0 {
		p.events.Tell(kube.Event{Warning: true, Reason: reasonInvalid, Action: "Reload", Note: lines(invalid, kube.MaxNote)})
	}
	if len(missing) > 0 {
		p.events.Tell(kube.Event{Warning: true, Reason: reasonMissing, Action: "Reload", Note: lines(missing, kube.MaxNote)})
	}
}

// unready tells of a provider.
func (p *process) unready(provider string, c notifier.Condition) {
	p.events.Tell(kube.Event{Warning: true, Reason: reasonUnready, Action: "Deliver",
		Note: fmt.Sprintf("provider %s: %s: %s", provider, c.Reason, c.Message)})
}

// lines is the problems one a line, as many as fit in limit bytes, and how many more there are. The first is cut if
// nothing else helps.
func lines(problems bellhop.Problems, limit int) string {
	all := problems.Error()
	if len(all) <= limit {
		return all
	}
	const room = 80 // of the last line
	var b strings.Builder
	for i, problem := range problems {
		line := problem.String()
		if i == 0 {
			line = httpsend.Cut(line, limit-room, httpsend.Bytes)
		}
		if b.Len()+len(line)+room > limit {
			fmt.Fprintf(&b, "\nand %d more: see the log", len(problems)-i)
			break
		}
		if i > 0 {
			b.WriteByte('\n')
		}
		b.WriteString(line)
	}
	return b.String()
}
