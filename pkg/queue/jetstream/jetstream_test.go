package jetstream

import (
	"net/url"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest/natstest"
)

// brisk is timing for tests.
var brisk = timing{
	ackWait: 2 * time.Second, pinned: 3 * time.Second, pull: 250 * time.Millisecond, quiet: 100 * time.Millisecond,
	idle: 5 * time.Second, gone: time.Second, patience: 5 * time.Second,
	look: 100 * time.Millisecond, sweep: time.Hour, start: 5 * time.Second,
}

func mustParse(t testing.TB, raw string) *url.URL {
	t.Helper()
	u, err := url.Parse(raw)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

func open(t testing.TB, rawURL string, o Options) *Queue {
	t.Helper()
	if o.timing == (timing{}) {
		o.timing = brisk
	}
	q, err := Open(t.Context(), mustParse(t, rawURL), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := q.Close(); err != nil {
			t.Errorf("closing: %v", err)
		}
	})
	return q
}

// engine is a server of its own, whose retention has a clock that can be put forward.
type engine struct {
	url    string
	offset time.Duration
}

func (e *engine) Open(t testing.TB) bellhop.Queue {
	t.Helper()
	return open(t, e.url, Options{RetentionAge: 72 * time.Hour, now: func() time.Time { return time.Now().Add(e.offset) }})
}

func (e *engine) Expire(t testing.TB, q bellhop.Queue) {
	t.Helper()
	e.offset = 100 * time.Hour
	defer func() { e.offset = 0 }()
	if err := q.(*Queue).sweep(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestConformance(t *testing.T) {
	t.Parallel()
	queuetest.Run(t, func(t *testing.T) queuetest.Engine { return &engine{url: natstest.Serve(t).ClientURL()} })
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
