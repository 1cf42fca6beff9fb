package jetstream

import (
	"testing"
	"time"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest/natstest"
)

// hasty is timing with which a provider goes from one replica to another whenever nobody takes its deliveries.
var hasty = func() timing {
	t := brisk
	t.idle, t.gone, t.pull, t.quiet = 50*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond, 5*time.Millisecond
	return t
}()

// shared is a server that several replicas share.
type shared struct{ url string }

func (s *shared) Open(t testing.TB) bellhop.Queue {
	t.Helper()
	return open(t, s.url, Options{timing: hasty})
}

func (s *shared) Kill(_ testing.TB, q bellhop.Queue) { q.(*Queue).nc.Close() }

// TestWalk lets several replicas do at random whatever replicas do.
func TestWalk(t *testing.T) {
	t.Parallel()
	queuetest.RunReplicas(t, func(t *testing.T) queuetest.Engine { return &shared{natstest.Serve(t).ClientURL()} })
}
