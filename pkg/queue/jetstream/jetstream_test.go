package jetstream

import (
	"net/url"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"go.uber.org/goleak"

	"github.com/bellhop-dev/bellhop/pkg/bellhop"
	"github.com/bellhop-dev/bellhop/pkg/queue/queuetest"
)

// brisk is timing for tests.
var brisk = timing{
	ackWait: 2 * time.Second, pinned: 3 * time.Second, pull: 250 * time.Millisecond,
	idle: 5 * time.Second, gone: time.Second, patience: 5 * time.Second,
	look: 100 * time.Millisecond, sweep: time.Hour, start: 5 * time.Second,
}

// serve starts a server in this process.
func serve(t testing.TB, change func(*server.Options)) *server.Server {
	t.Helper()
	o := &server.Options{Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true}
	if change != nil {
		change(o)
	}
	s, err := server.NewServer(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() {
		s.Shutdown()
		s.WaitForShutdown()
	})
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server does not start")
	}
	return s
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
	queuetest.Run(t, func(t *testing.T) queuetest.Engine { return &engine{url: serve(t, nil).ClientURL()} })
}

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }
