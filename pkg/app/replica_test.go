package app_test

import (
	"testing"

	"github.com/bellhop-dev/bellhop/pkg/admin"
)

// TestReplicaIsAnnounced: at the start, and again at each reload.
func TestReplicaIsAnnounced(t *testing.T) {
	t.Parallel()
	p := start(t, map[string]string{"config/c.yaml": native(githubEndpoint("app"), ""), "secrets/app.key": key})
	first := p.announced("")
	files(t, p.dir, map[string]string{"config/c.yaml": native(githubEndpoint("app"), "- {name: out, type: log}\n")})
	second := p.announced(first.ConfigHash)
	if second.Name != first.Name || !second.Loaded.After(first.Loaded) || !second.Started.Equal(first.Started) || second.Version != "test" || second.Lagging {
		t.Errorf("announced %+v, then %+v", first, second)
	}
}

// announced waits until the process has announced itself with the configuration that serves, another than before.
func (p *process) announced(before string) admin.ReplicaStatus {
	p.t.Helper()
	for p.t.Context().Err() == nil {
		var s admin.Status
		p.get("/api/v1/status", &s)
		if len(s.Replicas) == 1 && s.Replicas[0].ConfigHash == s.Config.Hash && s.Config.Hash != before {
			return s.Replicas[0]
		}
	}
	p.t.Fatal("not announced in time")
	return admin.ReplicaStatus{}
}
